"""Lists of videos: a CSV as Kinetics has them, a folder per class.

A line is ``path label``, with blanks, commas or tabs between; which of them, each line says by
itself. A path with blanks stands in double quotes (a doubled quote is one), or is followed by a
comma or tab. Lines that are empty or start with ``#`` are none, and the first line may be a header
(``path,label``); other words are taken as one with a warning. A path is relative to the folder of
the list, or to ``root``.

Labels are integers from 0 on (also written ``2.0``), or names of classes; a list has one of both.
Names get numbers in the order of the alphabet, so that lists of the same classes agree.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping, Sequence

from tsdsl.data.images import IMAGES
from tsdsl.data.pixel_limit import max_pixels
from tsdsl.diagnostics import Diagnostic, DiagnosticError, FileError, did_you_mean
from tsdsl.files import PathLike, read_text
from tsdsl.record import Record

#: Bytes of the largest list, which has some five million videos.
MAX_LIST = 1 << 29
#: Extensions of videos in a folder.
VIDEOS = frozenset(
    {".mp4", ".m4v", ".mov", ".qt", ".webm", ".mkv", ".avi", ".divx", ".mpg", ".mpeg", ".mpe",
     ".m1v", ".m2v", ".mpv", ".vob", ".ts", ".mts", ".m2ts", ".m2t", ".ogv", ".ogm", ".wmv", ".asf",
     ".flv", ".f4v", ".3gp", ".3g2", ".gif", ".mxf", ".dv", ".rm", ".rmvb", ".y4m", ".mjpg",
     ".mjpeg", ".h264", ".264", ".h265", ".hevc", ".265"}
)  # fmt: skip
_LARGEST_LABEL = 10**6
#: A whole number as a label, also with zero decimals as in ``2.0``.
_WHOLE = re.compile(r"([+-]?[0-9]+)(\.0*)?")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
#: Words for the path in a first line that names columns.
_PATH_WORDS = {"path", "video", "filename", "file", "video_path", "file_path", "filepath"}
_LABEL_WORDS = {"label", "class", "category", "target"}
#: Extensions of files that may be in the folder of a class and are clearly no videos.
_OTHER = {
    "",
    ".txt",
    ".csv",
    ".json",
    ".md",
    ".xml",
    ".yaml",
    ".yml",
    ".srt",
    ".db",
    ".ini",
} | IMAGES
_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing", "eval"}
#: Number of names that a message lists.
_NAMED = 5
#: Largest number of findings that are shown for a list.
_SHOWN = 100


class ListError(DiagnosticError, ValueError):
    """A list of videos has errors."""


class Video(Record, eq=True):
    """A video of a list: a file or a folder of frames."""

    path: str
    label: int
    #: The path as written in the list.
    name: str
    #: Line in the list, from 1 on; 0 for a folder per class.
    line: int = 0


class VideoList(Record):
    """Videos with labels in ``range(len(classes))``."""

    videos: tuple[Video, ...]
    classes: tuple[str, ...]
    source: str
    #: Findings about lines whose meaning is doubtful.
    warnings: tuple[Diagnostic, ...] = ()

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
    """Read a CSV file, or a folder with one folder per class.

    ``classes`` are the class names of the list that a network was trained with, in order; a class
    gets the same number. Raises `FileError`, and `ListError` with a finding for each line that is
    wrong.
    """
    max_pixels()
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
        except _BadLine as bad:
            wrong.append(_finding(source, f"line {number}: {bad}", _FORM))
            continue
        if not rows and path.lower() in _PATH_WORDS and label.lower() in _LABEL_WORDS:
            continue
        rows.append((number, path, label))
    warnings: list[Diagnostic] = []
    if _is_header(root, rows, classes):
        number, path, label = rows.pop(0)
        message = f"line {number}: '{path}' and '{label}' are taken as the names of columns"
        hint = "no such file, and no other line has this label; '#' before it makes it a comment"
        warnings.append(_warning(source, message, hint))
    numbers, found = _numbers(source, rows, classes, wrong)
    if wrong:
        more = len(wrong) - _SHOWN
        rest = [_finding(source, f"{more} more lines are wrong", _FORM)] if more > 0 else []
        raise ListError(wrong[:_SHOWN] + rest)
    if not rows:
        raise ListError([_finding(source, "this list has no video", _FORM)])
    videos = tuple(
        Video(os.path.join(root, path), numbers[label], path, line) for line, path, label in rows
    )
    by_number = any(label not in found and _WHOLE.fullmatch(label) for _, _, label in rows)
    by_number |= found == tuple(map(str, range(len(found))))
    warnings += _unused(source, videos, found, classes is None, by_number)
    return VideoList(videos, found, source, (*warnings, *_contradictions(source, videos)))


def _is_header(
    root: str, rows: Sequence[tuple[int, str, str]], classes: Sequence[str] | None
) -> bool:
    """Whether the first row is a header: a path that has no extension and does not exist, and a
    label that no other row has, while the other paths have extensions."""
    if len(rows) < 2:
        return False
    _, path, label = rows[0]
    return (
        not os.path.splitext(path)[1]
        and "/" not in path
        and label not in (classes or ())
        and not _DECIMAL.fullmatch(label)
        and all(label != other for _, _, other in rows[1:])
        and all(os.path.splitext(other)[1] or "/" in other for _, other, _ in rows[1:])
        and not os.path.lexists(os.path.join(root, path))
    )


def _unused(
    source: str,
    videos: Sequence[Video],
    classes: Sequence[str],
    learned: bool,
    by_number: bool,
) -> list[Diagnostic]:
    """Warnings about classes without videos. ``learned``: the classes come from this list. A list
    with given classes may leave some out, but if labels are numbers it hardly leaves out class 0.
    """
    used = {video.label for video in videos}
    none = [number for number in range(len(classes)) if number not in used]
    if by_number and none and none[0] == 0 and (learned or len(none) == 1):
        message = f"no video has the label 0; the labels are {min(used)}..{max(used)}"
        return [_warning(source, message, "labels count from 0: subtract 1 if these count from 1")]
    if not none or not learned:
        return []
    names = ", ".join(f"'{classes[number]}'" for number in none[:_NAMED])
    more = f" and {len(none) - _NAMED} more" if len(none) > _NAMED else ""
    message = f"{len(none)} of {len(classes)} classes have no video: {names}{more}"
    return [_warning(source, message, None)]


def _contradictions(source: str, videos: Sequence[Video]) -> list[Diagnostic]:
    """A warning about videos that are listed with several labels. Videos that are repeated with the
    same label may be meant to be seen more often."""
    first: dict[str, Video] = {}
    other = [v for v in videos if first.setdefault(v.path, v).label != v.label]
    if not other:
        return []
    lines = f"lines {first[other[0].path].line} and {other[0].line}"
    what = "video has" if len(other) == 1 else "videos have"
    message = f"{len(other)} {what} another label before: '{other[0].name}', {lines}"
    return [Diagnostic("W0984", message, file=source, severity="warning")]


def in_both(train: VideoList, val: VideoList) -> list[Diagnostic]:
    """A warning about videos that are used for both training and evaluation. Links are resolved."""
    places: dict[str, str] = {}

    def real(video: Video) -> str:
        folder, name = os.path.split(video.path)
        if folder not in places:
            places[folder] = os.path.realpath(folder)
        path = os.path.join(places[folder], name)
        return os.path.realpath(path) if os.path.islink(path) else path

    known = {real(video) for video in train.videos}
    both = [video for video in val.videos if real(video) in known]
    if not both:
        return []
    message = f"{len(both)} of {len(val)} videos are in {train.source} as well: '{both[0].name}'"
    hint = "scores on training videos say little about other videos"
    return [Diagnostic("W0984", message, file=val.source, help=hint, severity="warning")]


_FORM = "a line is a path and a label, as in 'swim/a.mp4 3'; quote a path that has spaces"


class _BadLine(Exception):
    """A line of a list is not a path and a label; the message says why."""


def _split(line: str) -> tuple[str, str]:
    """Path and label of a line. Raises `_BadLine`."""
    separator = next((s for s in "\t," if s in _unquoted(line)), " ")
    if line.count('"') % 2:
        raise _BadLine("a quote is not closed")
    try:
        fields = next(csv.reader([line], delimiter=separator, skipinitialspace=True))
    except csv.Error:
        raise _BadLine("a field is too long") from None
    fields = [field.strip() for field in fields]
    if separator == " ":
        fields = [field for field in fields if field]
    if len(fields) != 2:
        raise _BadLine(f"{len(fields)} field{'s' * (len(fields) != 1)} where 2 are expected")
    path, label = fields
    if not path or not label:
        raise _BadLine("no path" if not path else "no label")
    return path, label


def _unquoted(line: str) -> str:
    return re.sub(r'"[^"]*"', "", line)


def _numbers(
    source: str,
    rows: Sequence[tuple[int, str, str]],
    classes: Sequence[str] | None,
    wrong: list[Diagnostic],
) -> tuple[Mapping[str, int], tuple[str, ...]]:
    """Map each label as written to its number; returns the map and the class names. Errors are
    added to ``wrong``."""
    integers = {label for _, _, label in rows if _DECIMAL.fullmatch(label)}
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
    """The class that was probably meant; None after a number of findings, which are only
    counted."""
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
        whole = _WHOLE.fullmatch(label)
        if whole is None and _DECIMAL.fullmatch(label):
            message = f"line {line}: the label {label[:12]} is not a whole number"
            wrong.append(_finding(source, message, "labels are 0, 1, 2, ..., or names"))
        elif whole is None:
            message = (
                f"line {line}: the label '{label}' is a name, those of other lines are numbers"
            )
            wrong.append(_finding(source, message, "use one of both"))
        elif len(whole[1]) > 12 or not 0 <= int(whole[1]) < limit:
            message = f"line {line}: the label {label[:12]} is not in 0..{limit - 1}"
            wrong.append(_finding(source, message, "labels count from 0"))
        else:
            numbers[label] = int(whole[1])
    count = max(numbers.values(), default=-1) + 1
    return numbers, tuple(classes) if classes is not None else tuple(map(str, range(count)))


def _folders(source: str, classes: Sequence[str] | None) -> VideoList:
    """Read a folder per class, with video files and folders of frames in it."""
    names = [n for n in _names(source) if os.path.isdir(os.path.join(source, n))]
    if not names:
        raise ListError(
            [_finding(source, "this folder has no folder in it", "make one for each class")]
        )
    wrong: list[Diagnostic] = []
    rows = [(0, name, name) for name in names]
    known = tuple(classes) if classes is not None else tuple(names)
    numbers = {name: number for number, name in enumerate(known)}
    _not_nested(source, names)
    videos = []
    skipped: dict[str, int] = {}
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
            elif ending not in _OTHER:
                skipped[ending] = skipped.get(ending, 0) + 1
    if not videos and not wrong:
        detail = "its folders hold images; a video is a folder of them inside of a class's folder"
        images = any(
            os.path.splitext(n)[1].lower() in IMAGES
            for name in names
            for n in _names(os.path.join(source, name))
        )
        message = "the folders in this folder have no video"
        wrong.append(_finding(source, message, detail if images else None))
    if wrong:
        raise ListError(wrong)
    warnings = _unused(source, videos, known, classes is None, False)
    if skipped:
        endings = ", ".join(f"{ending} ({count})" for ending, count in sorted(skipped.items()))
        message = f"files that are not read as videos, by extension: {endings}"
        hint = (
            "what a file is, its content says: give it the ending of a video, or list it in a CSV"
        )
        warnings.append(_warning(source, message, hint))
    return VideoList(tuple(videos), known, source, tuple(warnings))


def _not_nested(source: str, names: Sequence[str]) -> None:
    """Raise `ListError` if the folders of a class contain videos instead of frames: the given
    folder then is one level too high, as one with ``train`` and ``val`` is. Only the first folder
    of each class is checked."""
    for name in names:
        inside = os.path.join(source, name)
        first = next((n for n in _names(inside) if os.path.isdir(os.path.join(inside, n))), None)
        if first is None:
            continue
        deeper = _names(os.path.join(inside, first))
        endings = [os.path.splitext(n)[1].lower() for n in deeper]
        if any(ending in IMAGES for ending in endings):
            continue
        if any(
            ending in VIDEOS or os.path.isdir(os.path.join(inside, first, n))
            for ending, n in zip(endings, deeper, strict=True)
        ):
            message = f"'{name}' holds folders of videos, not the videos of a class"
            splits = [n for n in names if n.lower() in _SPLITS]
            hint = "each class has one folder, with its videos in it"
            if splits:
                hint = "name one of them: " + " or ".join(os.path.join(source, n) for n in splits)
            raise ListError([_finding(source, message, hint)])


def _names(folder: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        message = f"this folder cannot be read: {(error.strerror or '').lower()}"
        raise FileError([Diagnostic("E0803", message, file=folder)]) from None


def _finding(source: str, message: str, help_line: str | None) -> Diagnostic:
    return Diagnostic("E0811", message, file=source, help=help_line)


def _warning(source: str, message: str, help_line: str | None) -> Diagnostic:
    return Diagnostic("W0982", message, file=source, help=help_line, severity="warning")
