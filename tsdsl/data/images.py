"""A folder of frames as a video: images in the order of the numbers in their names.

A folder holds one *series*: names that differ in one number. Tools for optical flow write three of
them into a folder (``img_00001.jpg``, ``flow_x_00001.jpg``, ``flow_y_00001.jpg``), and mixing them
would give a clip that nobody filmed. Which one is meant, a pattern says in place of the folder:
``folder/img_%d.jpg``, where ``%d`` stands for digits and ``*`` for anything.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import av
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from tsdsl.data.orientation import exif_orientation, shown
from tsdsl.data.safe_open import decoder_options, open_container
from tsdsl.data.video_problems import BadVideo

#: Extensions of frames in a folder.
IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm"})
_WILD = re.compile(r"%0?[0-9]*d|\*")
#: Number of series that a message lists.
_LISTED = 6


def is_frame_folder(path: str) -> bool:
    """Whether a path is a folder, or a pattern for files in one."""
    return os.path.isdir(path) or _pattern(path) is not None


def _pattern(path: str) -> re.Pattern[str] | None:
    """The pattern that the names of a folder's files have to match, or None if the path is no
    pattern."""
    folder, name = os.path.split(path)
    if not _WILD.search(name) or os.path.lexists(path) or not os.path.isdir(folder or "."):
        return None
    text = ""
    for literal, wild in zip(_WILD.split(name), [*_WILD.findall(name), ""], strict=True):
        text += re.escape(literal) + {"": "", "*": ".*"}.get(wild, "[0-9]+")
    return re.compile(text)


def frame_files(folder: str) -> list[str]:
    """Paths of the images of a folder, or of a pattern, in natural order (frame2 before frame10)
    and without hidden files.

    Raises `BadVideo` if the folder is missing or unreadable, has no image, or has several series.
    """
    pattern = None
    path = folder
    if not os.path.isdir(folder):
        pattern = _pattern(folder)
        path = os.path.dirname(folder) or "." if pattern else folder
    try:
        names = os.listdir(path)
    except FileNotFoundError:
        raise BadVideo(folder, "missing") from None
    except OSError as error:
        raise BadVideo(folder, "unreadable", error.strerror or "") from None
    found = [n for n in names if is_image(n) and (pattern is None or pattern.fullmatch(n))]
    if not found:
        what = "no image in this folder" if pattern is None else "no image has such a name"
        raise BadVideo(folder, "no-frames", what)
    if pattern is None and len(several := series_of(found)) > 1:
        raise BadVideo(folder, "several-series", _listed(folder, several))
    return [os.path.join(path, name) for name in sorted(found, key=_natural)]


def is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGES and not name.startswith(".")


def series_of(names: Sequence[str]) -> dict[str, list[str]]:
    """Group file names into series; returns pattern -> names.

    The text before the first number separates series. So do the other parts of a name, where names
    with the same beginning have the same numbers. Names without a number are one series, in
    alphabetical order.
    """
    if not any(re.search("[0-9]", name) for name in names):
        return {"*": list(names)}
    by_prefix: dict[str, list[str]] = {}
    for name in names:
        by_prefix.setdefault(re.split("[0-9]", name, maxsplit=1)[0], []).append(name)
    found: dict[str, list[str]] = {}
    for prefix, group in by_prefix.items():
        parts = {name: _parts(name) for name in group}
        alike = len({texts for texts, _ in parts.values()}) == 1
        if alike:
            columns = list(zip(*(numbers for _, numbers in parts.values()), strict=True))
            # The frame number is the column with the most distinct values; of several, the last
            # one.
            frame = max(range(len(columns)), key=lambda c: (len(set(columns[c])), c), default=0)
        else:
            frame = 0
        numbers = [numbers[frame] for _, numbers in parts.values() if numbers]
        unique = len(set(map(int, numbers))) == len(numbers) == len(group)
        for name, (texts, own) in parts.items():
            if unique and not alike:
                key = f"{prefix}*"
            else:
                shown = (*("%d" if i == frame or (unique and len(set(columns[i])) > 1) else number
                           for i, number in enumerate(own)), "")  # fmt: skip
                key = "".join(part for pair in zip(texts, shown, strict=True) for part in pair)
            found.setdefault(key, []).append(name)
    return found


def _parts(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The texts of a name and the numbers between them. There is one text more than numbers."""
    return tuple(re.split("[0-9]+", name)), tuple(re.findall("[0-9]+", name))


def _listed(folder: str, several: dict[str, list[str]]) -> str:
    counts = sorted(several.items(), key=lambda item: (-len(item[1]), item[0]))
    more = [f"{len(counts) - _LISTED} more"] if len(counts) > _LISTED else []
    text = ", ".join([f"{pattern} ({len(names)})" for pattern, names in counts[:_LISTED]] + more)
    name = os.path.basename(os.path.normpath(folder))
    first = os.path.join(name, counts[0][0])
    return f"{text}; name one in the list: {first}, or {os.path.join(name, '*')} for all"


def _natural(name: str) -> tuple[list[tuple[int, str]], str]:
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [(int(p), "") if p[0] in "0123456789" else (-1, p) for p in parts], name


def read_images(folder: str, files: Sequence[str], indices: Sequence[int]) -> NDArray[np.uint8]:
    """Read frames as clip_CTHW in RGB. Each file is read once; transparency is dropped. Raises
    `BadVideo` with the name of the image."""
    images = {i: _read(folder, files[i]) for i in sorted(set(indices))}
    sizes = {image.shape for image in images.values()}
    if len(sizes) > 1:
        raise BadVideo(folder, "corrupt", "frames of several sizes")
    clip_THWC = np.stack([images[i] for i in indices])
    return clip_THWC.transpose(3, 0, 1, 2)


def _read(folder: str, path: str) -> NDArray[np.uint8]:
    """Read an image as image_HWC, in the orientation in which it is to be shown. Raises
    `BadVideo`."""
    name = os.path.basename(path)
    try:
        with open_container(path) as container:
            image = _first_image(container)
        with open(path, "rb") as file:
            data = file.read()
    except BadVideo as bad:
        _, kind, detail = bad.problem
        if kind == "not-a-video":
            raise BadVideo(folder, "corrupt", f"{name} cannot be decoded as an image") from None
        raise BadVideo(folder, kind, f"{name}: {detail}" if detail else name) from None
    except (_NoImage, av.FFmpegError, OSError):
        raise BadVideo(folder, "corrupt", f"{name} cannot be decoded as an image") from None
    if image is None or not _ends(data):
        raise BadVideo(folder, "corrupt", f"{name} has no complete image")
    return shown(image, exif_orientation(data))


class _NoImage(Exception):
    """A file without an image that can be converted to RGB."""


def _first_image(container: InputContainer) -> NDArray[np.uint8] | None:
    """The first frame as image_HWC, without orientation. None if it is damaged or missing. Raises
    `_NoImage`, `av.FFmpegError`."""
    if not container.streams.video:
        raise _NoImage
    container.streams.video[0].codec_context.options = decoder_options()
    frame = next(container.decode(video=0), None)
    if frame is None or frame.is_corrupt:
        return None
    try:
        return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    except ValueError as bad:
        # swscale cannot convert this pixel format.
        raise _NoImage from bad


def _ends(data: bytes) -> bool:
    """Whether a JPEG file is complete. Decoders invent the missing part of an incomplete one."""
    return not data.startswith(b"\xff\xd8") or b"\xff\xd9" in data
