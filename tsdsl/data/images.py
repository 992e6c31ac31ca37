"""A folder of frames as a video: images in the order of the numbers in their names."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import av
import numpy as np
from numpy.typing import NDArray

from tsdsl.data.problems import BadVideo

#: Endings of the files of a folder that are its frames.
IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm"})


def frame_files(folder: str) -> list[str]:
    """The images of a folder: frame2 before frame10. Hidden files are none of them.

    Raises `BadVideo`: the folder is missing, unreadable, or has no image.
    """
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        raise BadVideo(folder, "missing") from None
    except OSError as error:
        raise BadVideo(folder, "unreadable", error.strerror or "") from None
    found = [n for n in names if os.path.splitext(n)[1].lower() in IMAGES and not n.startswith(".")]
    if not found:
        raise BadVideo(folder, "no-frames", "no image in this folder")
    return [os.path.join(folder, name) for name in sorted(found, key=_natural)]


def _natural(name: str) -> tuple[list[tuple[int, str]], str]:
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [(int(p), "") if p[0] in "0123456789" else (-1, p) for p in parts], name


def read_images(folder: str, files: Sequence[str], indices: Sequence[int]) -> NDArray[np.uint8]:
    """clip_CTHW, RGB, of some frames; each is read once. Transparency is left out.

    Raises `BadVideo` with the image's name.
    """
    images = {i: _read(folder, files[i]) for i in sorted(set(indices))}
    sizes = {image.shape for image in images.values()}
    if len(sizes) > 1:
        raise BadVideo(folder, "corrupt", "frames of several sizes")
    clip_THWC = np.stack([images[i] for i in indices])
    return clip_THWC.transpose(3, 0, 1, 2)


def _read(folder: str, path: str) -> NDArray[np.uint8]:
    name = os.path.basename(path)
    try:
        if os.path.getsize(path) == 0:
            raise BadVideo(folder, "empty", name)
        with av.open(f"file:{path}") as container:
            container.streams.video[0].codec_context.options = {"err_detect": "explode"}
            for frame in container.decode(video=0):
                if frame.is_corrupt or not _ends(path):
                    break
                return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    except FileNotFoundError:
        raise BadVideo(folder, "missing", name) from None
    except PermissionError:
        raise BadVideo(folder, "unreadable", name) from None
    except (av.FFmpegError, OSError, IndexError, ValueError):
        raise BadVideo(folder, "corrupt", f"{name} is no image that can be decoded") from None
    raise BadVideo(folder, "corrupt", f"{name} has no whole image in it")


def _ends(path: str) -> bool:
    """Whether a JPEG file has its end: without the last bytes, decoders make some up."""
    with open(path, "rb") as file:
        data = file.read()
    return not data.startswith(b"\xff\xd8") or b"\xff\xd9" in data
