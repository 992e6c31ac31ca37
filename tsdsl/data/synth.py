"""A data set to begin with: clips of `tsdsl.data.glyphs` as MP4 files, and their lists.

A class is a glyph and a motion: one frame tells the first, many tell the second, the label needs
both. In the folder: ``train.csv`` and ``val.csv`` (path, name of the class), the videos in
``train/CLASS`` and ``val/CLASS``, ``synth.json`` with the options.

``synth.json`` is written last. Until then ``synth.unfinished`` is there, so that a run that was
interrupted is known as one, and done again from its beginning. Nothing is ever deleted but videos
under the names that are given here.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from typing import Any

import av

from tsdsl.data.glyphs import GLYPHS, MOTIONS, Clip, class_name, render
from tsdsl.diagnostics import Diagnostic, FileError
from tsdsl.files import PathLike, folder_failure, read_text, write_atomic
from tsdsl.record import Record

#: Version of the data set's form and of what `render` draws, in ``synth.json``.
FORMAT = "tsdsl-glyphs/1"
SPLITS = ("train", "val")
#: Frames per second.
RATE = 30
DONE, UNFINISHED = "synth.json", "synth.unfinished"
#: Encoders in order of preference, with options that keep stripes sharp. With B-frames or its
#: macroblock tree, libx264 is not deterministic: with the tree, 108 of 2,100 clips differed after
#: other clips had been decoded.
_ENCODERS = (
    ("libx264", {"crf": "17", "preset": "veryfast", "bf": "0", "mbtree": "0"}),
    ("mpeg4", {"qmin": "2", "qmax": "3"}),
)
#: A video of the set, or a temporary file of `write_atomic` that a killed process left.
_VIDEO = re.compile(r"[0-9]{5,}\.mp4|\.[0-9]{5,}\.mp4\.[0-9a-f]+-[0-9a-f]{8}\.tmp")
_CLASSES = frozenset(class_name(g, m) for g in range(len(GLYPHS)) for m in range(len(MOTIONS)))


class UnfitOptions(ValueError):
    """Options of a synthetic data set that do not fit."""


class SynthOptions(Record, eq=True):
    """The parameters of a data set.

    ``clips`` is the number of clips of all classes together, evenly distributed; ``val`` is the
    share of each class in ``val.csv``. ``size`` is the height and width in pixels; for
    ``difficulty`` see `Clip`.
    """

    clips: int = 1536
    glyphs: int = 8
    motions: int = 4
    difficulty: float = 0.2
    size: int = 64
    frames: int = 16
    val: float = 0.25
    seed: int = 0

    def check(self) -> None:
        """Raise `UnfitOptions` with the first option that is invalid."""
        for name, low, high in (
            ("clips", 1, 10**6),
            ("glyphs", 1, len(GLYPHS)),
            ("motions", 1, len(MOTIONS)),
            ("difficulty", 0, 1),
            ("size", 32, 256),
            ("frames", 8, 256),
            ("seed", 0, 2**63 - 1),
        ):
            if not low <= getattr(self, name) <= high:
                raise UnfitOptions(f"{name} is {getattr(self, name)}, not in {low}..{high}")
        if not 0 < self.val < 1:
            raise UnfitOptions(f"val is {self.val}, not between 0 and 1")
        if self.size % 2:
            raise UnfitOptions(f"size is {self.size}; videos need an even one")
        classes = self.glyphs * self.motions
        if classes < 2:
            raise UnfitOptions("one class is nothing to tell apart: give 2 glyphs or motions")
        if self.clips < 2 * classes:
            raise UnfitOptions(
                f"{self.clips} clips are too few: {classes} classes need {2 * classes},"
                " one each to train and one to validate"
            )


class Synthesised(Record):
    """A data set in a folder. ``encoder`` is the encoder of its videos; ``rendered`` is the number
    of videos that were made, 0 if the folder had the whole set."""

    train: str
    val: str
    classes: tuple[str, ...]
    counts: dict[str, int]
    encoder: str
    rendered: int


def synthesise(
    folder: PathLike,
    options: SynthOptions | None = None,
    *,
    workers: int = 0,
    force: bool = False,
    step: Callable[[], object] = lambda: None,
) -> Synthesised:
    """Render a data set into a folder, which is created.

    Nothing is done if the folder has this very set. The remains of an interrupted run are replaced.
    A folder with anything else in it is refused; with ``force``, an earlier set in it is replaced,
    and other files stay. ``workers`` 0 renders in this process; ``step`` is called after each
    video. Frames do not depend on the number of workers; encoded files may differ between versions
    of the encoder.

    Raises `UnfitOptions`, `FileError`.
    """
    options = options or SynthOptions()
    options.check()
    name = os.fspath(folder)
    about = {"format": FORMAT} | {f: getattr(options, f) for f in SynthOptions.__match_args__}
    files = dict(_files(options))
    found = _present(name)
    done = _description(name) if DONE in found else None
    if done is not None and {key: done.get(key) for key in about} == about and not force:
        if all(_has_bytes(os.path.join(name, path)) for path in (*files, *_lists())):
            return _result(name, options, files, str(done.get("encoder")), 0)
    elif found and UNFINISHED not in found and not force:
        message = "this folder has another data set" if done else "this folder is not empty"
        hint = "--force replaces it" if done else "name another folder, or one that does not exist"
        raise FileError([Diagnostic("E0808", message, file=name, help=hint)])
    _begin(name)
    for inside in dict.fromkeys(os.path.dirname(os.path.join(name, path)) for path in files):
        try:
            os.makedirs(inside, exist_ok=True)
        except OSError as error:
            raise folder_failure(error, inside) from None
    encoder, settings = _encoder()
    jobs = [(clip, encoder, settings) for clip in files.values()]
    for path, video in zip(files, _encoded(jobs, workers), strict=True):
        write_atomic(os.path.join(name, path), video)
        step()
    for split, list_name in zip(SPLITS, _lists(), strict=True):
        lines = (
            f"{p} {os.path.basename(os.path.dirname(p))}\n" for p in files if p.startswith(split)
        )
        write_atomic(os.path.join(name, list_name), lines)
    text = json.dumps({**about, "encoder": encoder, "rate": RATE}, indent=2) + "\n"
    write_atomic(os.path.join(name, DONE), text, sync=True)
    _unlink(os.path.join(name, UNFINISHED))
    return _result(name, options, files, encoder, len(files))


def _files(options: SynthOptions) -> Iterator[tuple[str, Clip]]:
    """Path in the folder -> clip. A clip depends on the seed, its class, and its number within the
    class and split. It does not depend on the number of clips."""
    classes = [(g, m) for g in range(options.glyphs) for m in range(options.motions)]
    for split_at, split in enumerate(SPLITS):
        for at, (glyph, motion) in enumerate(classes):
            count = options.clips // len(classes) + (at < options.clips % len(classes))
            val = min(max(round(options.val * count), 1), count - 1)
            for number in range(val if split == "val" else count - val):
                seed = (options.seed, split_at, glyph, motion, number)
                clip = Clip(glyph, motion, seed, options.frames, options.size, options.difficulty)
                yield f"{split}/{class_name(glyph, motion)}/{number:05}.mp4", clip


def _lists() -> tuple[str, ...]:
    return tuple(f"{split}.csv" for split in SPLITS)


def _result(
    folder: str, options: SynthOptions, files: dict[str, Clip], encoder: str, rendered: int
) -> Synthesised:
    train, val = (os.path.join(folder, name) for name in _lists())
    classes = sorted({class_name(clip.glyph, clip.motion) for clip in files.values()})
    counts = {split: sum(path.startswith(split) for path in files) for split in SPLITS}
    return Synthesised(train, val, tuple(classes), counts, encoder, rendered)


# ---------------------------------------------------------------------------------------- encoding


def _encoder() -> tuple[str, dict[str, str]]:
    found = av.codecs_available
    return next(((name, dict(o)) for name, o in _ENCODERS if name in found), ("mpeg4", {}))


def _encoded(jobs: list[tuple[Clip, str, dict[str, str]]], workers: int) -> Iterator[bytes]:
    if not workers:
        yield from map(encode, jobs)
        return
    # Spawned rather than forked, since the process may have threads (a progress bar).
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        try:
            yield from pool.map(encode, jobs, chunksize=4)
        finally:
            pool.shutdown(cancel_futures=True)


def encode(job: tuple[Clip, str, dict[str, str]]) -> bytes:
    """Encode a clip as an MP4 file. The job has the clip, the encoder's name and its options."""
    clip, encoder, settings = job
    memory = io.BytesIO()
    with av.open(memory, "w", format="mp4") as out:
        stream = out.add_stream(encoder, rate=RATE, options={"g": "12", **settings})
        assert isinstance(stream, av.VideoStream)
        stream.width = stream.height = clip.size
        stream.pix_fmt = "yuv420p"
        # Parallelism is left to the worker processes.
        stream.codec_context.thread_count = 1
        for image_HWC in render(clip):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image_HWC, format="rgb24")))
        out.mux(stream.encode())
    return memory.getvalue()


# ------------------------------------------------------------------------------------------ folder


def _present(folder: str) -> list[str]:
    """Names in a folder; none if it does not exist."""
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise folder_failure(error, folder) from None


def _description(folder: str) -> dict[str, Any] | None:
    """The content of ``synth.json`` if it describes a data set of this module, else None."""
    try:
        found = json.loads(read_text(os.path.join(folder, DONE)))
    except (FileError, ValueError, RecursionError):
        return None
    ours = isinstance(found, dict) and str(found.get("format")).startswith("tsdsl-glyphs/")
    return found if ours else None


def _begin(folder: str) -> None:
    """Mark the folder as unfinished, and delete the videos of an earlier set."""
    try:
        os.makedirs(folder, exist_ok=True)
        write_atomic(os.path.join(folder, UNFINISHED), "tsdsl data synth has not finished here\n")
        for name in (DONE, *_lists()):
            _unlink(os.path.join(folder, name))
        for split in SPLITS:
            for name in _CLASSES & set(_present(os.path.join(folder, split))):
                inside = os.path.join(folder, split, name)
                for file in filter(_VIDEO.fullmatch, _present(inside)):
                    _unlink(os.path.join(inside, file))
                with suppress(OSError):
                    os.rmdir(inside)
    except OSError as error:
        raise folder_failure(error, folder) from None


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise folder_failure(error, path) from None


def _has_bytes(path: str) -> bool:
    try:
        return os.path.getsize(path) > 0
    except OSError:
        return False
