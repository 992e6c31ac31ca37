"""Files of the scores of each video.

| suffix | contents |
|---|---|
| ``.jsonl`` | a JSON object per line: video, class, the five most probable classes |
| ``.csv`` | the same as a table |
| ``.npz`` | all probabilities, as numpy arrays: `read_scores` returns equal `Scores` |

In the first two, videos are in the order of the list, missing ones included.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import zipfile
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from tsdsl.data.video_problems import KINDS, Problem
from tsdsl.diagnostics import Diagnostic, DiagnosticError
from tsdsl.files import PathLike, os_failure, read_text, write_atomic
from tsdsl.record import Record
from tsdsl.training.scores import MissingVideo, Scores

SUFFIXES = (".jsonl", ".csv", ".npz")
#: Largest number of classes in a row.
BEST = 5
#: Bytes of the largest file of rows that is read, which has some four million videos.
_MOST = 1 << 31
_VERSION = 1
_HEAD = ("path", "label", "class", "predicted", "predicted_class", "problem")


class ScoresError(DiagnosticError, ValueError):
    """A file does not contain scores."""


class ScoreRow(Record, eq=True):
    """A video in a file of scores. For a missing video, ``best`` is empty and ``problem`` is one of
    `KINDS`."""

    path: str
    label: int
    #: The most probable classes with their probabilities, in descending order.
    best: tuple[tuple[int, float], ...]
    problem: str | None = None

    @property
    def predicted(self) -> int | None:
        return self.best[0][0] if self.best else None


def rows_of(scores: Scores) -> Iterator[ScoreRow]:
    """The rows of all videos, in the order of the list."""
    best_N5 = scores.best(BEST)
    shares_N5 = np.take_along_axis(scores.probabilities_NK, best_N5, axis=1)
    missing = {video.index: video for video in scores.missing}
    place = {index: at for at, index in enumerate(scores.indices_N.tolist())}
    for index in sorted([*missing, *place]):
        if index in missing:
            video = missing[index]
            yield ScoreRow(video.path, video.label, (), video.problem.kind)
            continue
        at = place[index]
        best = tuple(zip(best_N5[at].tolist(), shares_N5[at].tolist(), strict=True))
        yield ScoreRow(scores.paths[at], int(scores.labels_N[at]), best)


def write(scores: Scores, path: PathLike) -> None:
    """Write scores in the format of the file's suffix (`SUFFIXES`). Raises `FileError`."""
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    assert suffix in SUFFIXES, path
    if suffix == ".npz":
        write_atomic(path, _npz(scores))
    elif suffix == ".csv":
        # Paths may contain bytes that are not valid UTF-8.
        write_atomic(path, _csv(scores).encode("utf-8", "surrogateescape"))
    else:
        write_atomic(
            path, (json.dumps(_json(row, scores.classes)) + "\n" for row in rows_of(scores))
        )


def read_rows(path: PathLike) -> list[ScoreRow]:
    """Read the rows of a ``.jsonl`` or ``.csv`` file. Raises `FileError` and `ScoresError`."""
    name = os.fspath(path)
    text = read_text(path, limit=_MOST, what="file of scores")
    if os.path.splitext(name)[1].lower() == ".csv":
        return _read_csv(text, name)
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            row = json.loads(line)
            path, label, problem = str(row["path"]), int(row["label"]), row["problem"]
            best = tuple((int(b["label"]), float(b["probability"])) for b in row["best"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise _no_scores(name, f"line {number} is not a video with its scores") from None
        found.append(ScoreRow(path, label, best, problem))
    return found


def read_scores(path: PathLike) -> Scores:
    """Read the scores in a ``.npz`` file. Raises `FileError` and `ScoresError`."""
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            _check_sizes(file)
            with np.load(file, allow_pickle=False) as held:
                return _scores(held)
    except OSError as error:
        if error.errno is None:
            raise _no_scores(name, "it is not a file of numpy") from None
        code = "E0801" if isinstance(error, FileNotFoundError) else "E0803"
        code = "E0802" if isinstance(error, IsADirectoryError) else code
        raise os_failure(code, "these scores cannot be read", error, name) from None
    except (
        *(ValueError, KeyError, TypeError, EOFError, AttributeError),
        *(zipfile.BadZipFile, NotImplementedError, RecursionError),
    ) as bad:
        raise _no_scores(name, str(bad).split("\n")[0][:120] or "it is damaged") from None


# ---------------------------------------------------------------- the three forms


def _json(row: ScoreRow, classes: tuple[str, ...]) -> dict[str, Any]:
    return {
        "path": row.path,
        "label": row.label,
        "class": classes[row.label],
        "predicted": row.predicted,
        "best": [{"label": k, "class": classes[k], "probability": p} for k, p in row.best],
        "problem": row.problem,
    }


def _csv(scores: Scores) -> str:
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\n")
    places = range(1, min(BEST, len(scores.classes)) + 1)
    writer.writerow([*_HEAD, *(f"{what}_{k}" for k in places for what in ("label", "probability"))])
    for row in rows_of(scores):
        predicted = row.predicted
        writer.writerow(
            [
                row.path,
                row.label,
                scores.classes[row.label],
                "" if predicted is None else predicted,
                "" if predicted is None else scores.classes[predicted],
                row.problem or "",
                *(cell for k, p in row.best for cell in (k, repr(p))),
            ]
        )
    return made.getvalue()


def _read_csv(text: str, name: str) -> list[ScoreRow]:
    lines = list(csv.reader(io.StringIO(text, newline="")))
    if not lines or tuple(lines[0][: len(_HEAD)]) != _HEAD:
        raise _no_scores(name, f"its first line does not begin with {','.join(_HEAD)}")
    found = []
    for number, cells in enumerate(lines[1:], 2):
        try:
            path, label, problem = cells[0], int(cells[1]), cells[5] or None
            rest = [cell for cell in cells[len(_HEAD) :] if cell]
            best = tuple((int(k), float(p)) for k, p in zip(rest[::2], rest[1::2], strict=True))
        except (ValueError, IndexError):
            raise _no_scores(name, f"row {number} is not a video with its scores") from None
        found.append(ScoreRow(path, label, best, problem))
    return found


def _npz(scores: Scores) -> bytes:
    missing = [[m.index, m.path, m.label, *m.problem] for m in scores.missing]
    made = io.BytesIO()
    np.savez(
        made,
        format_version=np.int64(_VERSION),
        probabilities=scores.probabilities_NK,
        labels=scores.labels_N,
        indices=scores.indices_N,
        # As JSON, since each string of a numpy array takes the length of the longest one.
        paths=np.array(json.dumps(scores.paths)),
        classes=np.array(json.dumps(scores.classes)),
        views=np.int64(scores.views),
        missing=np.array(json.dumps(missing)),
    )
    return made.getvalue()


def _check_sizes(file: BinaryIO) -> None:
    """Raise `ValueError` if an array claims more elements than the file has. numpy would allocate
    the claimed size before it reads."""
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED:
                raise ValueError("it has compressed parts, which are not written")
            with archive.open(entry) as held:
                if np.lib.format.read_magic(held) != (1, 0):
                    raise ValueError("it is of another version of numpy's format")
                shape, _, kind = np.lib.format.read_array_header_1_0(held)
                if math.prod(shape) * kind.itemsize > entry.file_size:
                    raise ValueError("it claims more elements than the file has")
    file.seek(0)


def _scores(held: Any) -> Scores:
    if int(held["format_version"]) != _VERSION:
        raise ValueError(f"format_version {int(held['format_version'])} is not {_VERSION}")
    paths, classes, missing = (
        json.loads(str(held[name])) for name in ("paths", "classes", "missing")
    )
    found = Scores(
        held["probabilities"],
        held["labels"],
        held["indices"],
        tuple(paths),
        tuple(classes),
        int(held["views"]),
        tuple(
            MissingVideo(index, path, label, Problem(*problem))
            for index, path, label, *problem in missing
        ),
    )
    n, k = found.probabilities_NK.shape
    if not (found.labels_N.shape == found.indices_N.shape == (n,)) or len(paths) != n:
        raise ValueError("its arrays are not of the same videos")
    if len(classes) != k or (n and not 0 <= found.labels_N.min() <= found.labels_N.max() < k):
        raise ValueError("its labels are not those of its classes")
    if not all(video.problem.kind in KINDS for video in found.missing):
        raise ValueError("a video is missing for no known reason")
    return found


def _no_scores(name: str, why: str) -> ScoresError:
    return ScoresError([Diagnostic("E0826", f"this file holds no scores: {why}", file=name)])
