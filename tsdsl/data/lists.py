"""Lists of videos: a CSV as Kinetics has them, a folder per class.

A line is ``path label``, with blanks, commas or tabs between; which of them, each line says by
itself. A path with blanks stands in double quotes (a doubled quote is one), or is followed by a
comma or tab. Lines that are empty or start with ``#`` are none, and the first line may be a header
(``path,label``). A path is relative to the folder of the list, or to ``root``.

Labels are integers from 0 on, or names of classes; a list has one of both. Names get numbers in the
order of the alphabet, so that lists of the same classes agree.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping, Sequence

from tsdsl.data.images import IMAGES
from tsdsl.diagnostics import Diagnostic, DiagnosticError, FileError, did_you_mean
from tsdsl.files import PathLike, read_text
from tsdsl.record import Record

#: Bytes of the largest list: some five million videos.
MAX_LIST = 1 << 29
#: Endings of the files of a folder that are videos.
VIDEOS = frozenset(
    {".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".ts", ".ogv", ".wmv",
     ".flv", ".3gp", ".gif"}
)  # fmt: skip
_INTEGER = re.compile(r"[+-]?[0-9]+")
_LARGEST_LABEL = 10**6
_HEADERS = {("path", "label"), ("video", "label"), ("filename", "label"), ("path", "class")}
#: Findings of a list that are shown, at most.
_SHOWN = 100


class ListError(DiagnosticError, ValueError):
    """Something is wrong in a list of videos."""


class Video(Record, eq=True):
    """One video: a file or a folder of frames."""

    path: str
    label: int
    #: The path as the list writes it.
    name: str
    #: Line in the list, from 1 on; 0 without a list.
    line: int = 0


class VideoList(Record):
    """Videos with labels in ``range(len(classes))``."""

    videos: tuple[Video, ...]
    classes: tuple[str, ...]
    source: str

    def __len__(self) -> int:
        return len(self.videos)

    def counts(self) -> list[int]:
        """Number of videos of each class."""
        found = [0] * len(self.classes)
        for video in self.videos:
            found[video.label] += 1
        return found


def read_list(
    path: PathLike, root: PathLike | None = None, classes: Sequence[str] | None = None
) -> VideoList:
    """The videos of a CSV or of a folder with a folder per class.

    ``classes`` gives names their numbers: those of the list that a network was trained with.
    Raises `FileError`, and `ListError` with a finding for every line that is wrong.
    """
    name = os.fspath(path)
    if os.path.isdir(name):
        if root is not None:
            raise ListError(
                [_finding(name, "a folder of classes has no root", "leave the root out")]
            )
        return _folders(name, classes)
    return _csv(name, os.fspath(root) if root is not None else os.path.dirname(name), classes)


def _csv(source: str, root: str, classes: Sequence[str] | None) -> VideoList:
    text = read_text(source, limit=MAX_LIST, what="list")
    rows: list[tuple[int, str, str]] = []
    wrong: list[Diagnostic] = []
    for number, line in enumerate(re.split("\r\n|\n|\r", text), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        try:
            path, label = _split(line)
        except ValueError as bad:
            wrong.append(_finding(source, f"line {number}: {bad}", _FORM))
            continue
        if not rows and (path.lower(), label.lower()) in _HEADERS:
            continue
        rows.append((number, path, label))
    numbers, found = _numbers(source, rows, classes, wrong)
    if wrong:
        more = len(wrong) - _SHOWN
        rest = [_finding(source, f"{more} more lines are wrong", _FORM)] if more > 0 else []
        raise ListError(wrong[:_SHOWN] + rest)
    if not rows:
        raise ListError([_finding(source, "this list has no video", _FORM)])
    return VideoList(
        tuple(
            Video(os.path.join(root, path), numbers[label], path, line)
            for line, path, label in rows
        ),
        found,
        source,
    )


_FORM = "a line is a path and a label, as in 'swim/a.mp4 3'; quote a path that has blanks"


def _split(line: str) -> tuple[str, str]:
    """Path and label of a line. Raises `ValueError` with what is wrong."""
    separator = next((s for s in "\t," if s in _unquoted(line)), " ")
    if line.count('"') % 2:
        raise ValueError("a quote is not closed")
    try:
        fields = next(csv.reader([line], delimiter=separator, skipinitialspace=True))
    except csv.Error:
        raise ValueError("a field is too long") from None
    fields = [field.strip() for field in fields]
    if separator == " ":
        fields = [field for field in fields if field]
    if len(fields) != 2:
        raise ValueError(f"{len(fields)} field{'s' * (len(fields) != 1)} where 2 are expected")
    path, label = fields
    if not path or not label:
        raise ValueError("no path" if not path else "no label")
    return path, label


def _unquoted(line: str) -> str:
    return re.sub(r'"[^"]*"', "", line)


def _numbers(
    source: str,
    rows: Sequence[tuple[int, str, str]],
    classes: Sequence[str] | None,
    wrong: list[Diagnostic],
) -> tuple[Mapping[str, int], tuple[str, ...]]:
    """Label as it is written -> its number, and the names of the classes. Adds to ``wrong``."""
    integers = {label for _, _, label in rows if _INTEGER.fullmatch(label)}
    known = {name: number for number, name in enumerate(classes or ())}
    if len(known) < len(classes or ()):
        raise ListError([_finding(source, "a class is given twice", None)])
    if integers and not integers & set(known):
        return _integers(source, rows, classes, wrong)
    names = tuple(classes) if classes is not None else tuple(sorted({row[2] for row in rows}))
    numbers = {name: number for number, name in enumerate(names)}
    for line, _, label in rows:
        if label not in numbers:
            message = f"line {line}: there is no class '{label}'"
            wrong.append(_finding(source, message, _class_hint(label, numbers, wrong)))
    return numbers, names


def _class_hint(name: str, classes: Mapping[str, int], wrong: Sequence[Diagnostic]) -> str | None:
    """The class that was meant; None for findings that are only counted."""
    return did_you_mean(name, classes) if len(wrong) < _SHOWN else None


def _integers(
    source: str,
    rows: Sequence[tuple[int, str, str]],
    classes: Sequence[str] | None,
    wrong: list[Diagnostic],
) -> tuple[Mapping[str, int], tuple[str, ...]]:
    limit = len(classes) if classes is not None else _LARGEST_LABEL
    numbers: dict[str, int] = {}
    for line, _, label in rows:
        if not _INTEGER.fullmatch(label):
            message = (
                f"line {line}: the label '{label}' is a name, those of other lines are numbers"
            )
            wrong.append(_finding(source, message, "use one of both"))
        elif len(label) > 12 or not 0 <= int(label) < limit:
            message = f"line {line}: the label {label[:12]} is not in 0..{limit - 1}"
            wrong.append(_finding(source, message, "labels count from 0"))
        else:
            numbers[label] = int(label)
    count = max(numbers.values(), default=-1) + 1
    return numbers, tuple(classes) if classes is not None else tuple(map(str, range(count)))


def _folders(source: str, classes: Sequence[str] | None) -> VideoList:
    """A folder for each class, with video files and folders of frames in it."""
    names = [n for n in _names(source) if os.path.isdir(os.path.join(source, n))]
    if not names:
        raise ListError(
            [_finding(source, "this folder has no folder in it", "make one for each class")]
        )
    wrong: list[Diagnostic] = []
    rows = [(0, name, name) for name in names]
    known = tuple(classes) if classes is not None else tuple(names)
    numbers = {name: number for number, name in enumerate(known)}
    videos = []
    for _, name, _ in rows:
        if name not in numbers:
            message = f"there is no class '{name}'"
            wrong.append(_finding(source, message, _class_hint(name, numbers, wrong)))
            continue
        for file in _names(os.path.join(source, name)):
            path = os.path.join(source, name, file)
            ending = os.path.splitext(file)[1].lower()
            if ending in VIDEOS or os.path.isdir(path):
                videos.append(Video(path, numbers[name], os.path.join(name, file)))
    if not videos and not wrong:
        detail = "its folders hold images; a video is a folder of them inside of a class's folder"
        images = any(
            os.path.splitext(n)[1].lower() in IMAGES
            for name in names
            for n in _names(os.path.join(source, name))
        )
        message = "no video in the folders of this folder"
        wrong.append(_finding(source, message, detail if images else None))
    if wrong:
        raise ListError(wrong)
    return VideoList(tuple(videos), known, source)


def _names(folder: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        message = f"this folder cannot be read: {(error.strerror or '').lower()}"
        raise FileError([Diagnostic("E0803", message, file=folder)]) from None


def _finding(source: str, message: str, help_line: str | None) -> Diagnostic:
    return Diagnostic("E0811", message, file=source, help=help_line)
