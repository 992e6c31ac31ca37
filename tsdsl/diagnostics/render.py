"""A diagnostic as text: what, where, the source with the place underlined, and what to do.

    error[E0204]: no block 'mbconv' in 'v'
      --> my.tsnet:12:9
       |
     3 | import "std/video" as v
       |                       - imported here
      ...
    12 |     use v.mbconv(width)
       |           ^^^^^^
       = help: did you mean 'mbconv3d'?

Excerpts are safe to print: tabs become blanks, and control and bidirectional characters are spelled
out. Wide characters count as two columns, and long lines are cut around the place. Formats for
programs are in `tsdsl.diagnostics.export`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from unicodedata import category, combining, east_asian_width

from tsdsl.diagnostics.diagnostic import Diagnostic
from tsdsl.diagnostics.source import Source, Span

#: Columns of source in a line of an excerpt, at most.
WIDTH = 100
#: Characters before the place that are kept of a line that is cut.
LEAD = 30
#: Characters of a message that are shown, at most.
MAX_MESSAGE = 2000
TAB = 4
ELLIPSIS = "..."

_COLOURS = {"error": "1;31", "warning": "1;33", "note": "1;36", "frame": "1;34", "bold": "1"}
_UNPRINTABLE = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


def visible(text: str) -> str:
    """The text on one line, with every character that does not print spelled out (``\\x1b``)."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_spelled, text))


def render_text(diagnostic: Diagnostic, *, colour: bool = False) -> str:
    """A diagnostic as several lines, without a line end after the last one."""
    paint = _paint if colour else _plain
    kind = diagnostic.severity
    lines = _wrapped(diagnostic.message)
    head = paint(f"{kind}[{diagnostic.code}]", kind) + paint(": " + lines[0], "bold")
    out = [head, *(f"  {line}" for line in lines[1:])]
    marks = _marks(diagnostic)
    sources = list(dict.fromkeys(mark.span.source for mark in marks))
    gutter = max((len(str(_last_line(mark))) for mark in marks), default=1)
    bar = paint(" " * gutter + " |", "frame")
    if diagnostic.span is None and diagnostic.file:
        out.append(paint(" " * gutter + "--> ", "frame") + visible(diagnostic.file))
    for at, source in enumerate(sources):
        mine = [mark for mark in marks if mark.span.source is source]
        arrow = "--> " if at == 0 else "::: "
        out.append(paint(" " * gutter + arrow, "frame") + _place(mine[0].span))
        out.append(bar)
        out += _excerpt(source, mine, gutter, colour, kind)
    if diagnostic.help:
        first, *rest = _wrapped(diagnostic.help)
        out.append(paint(" " * gutter + " = ", "frame") + paint("help", "bold") + ": " + first)
        out += [" " * (gutter + 9) + line for line in rest]
    return "\n".join(out)


def render_all(diagnostics: Iterable[Diagnostic], *, colour: bool = False) -> str:
    """Diagnostics with an empty line after each."""
    return "".join(render_text(d, colour=colour) + "\n\n" for d in diagnostics)


def summary(diagnostics: Iterable[Diagnostic]) -> str:
    """The number of findings: ``2 errors, 1 warning``. Empty without findings."""
    count = {"error": 0, "warning": 0, "note": 0}
    for diagnostic in diagnostics:
        count[diagnostic.severity] += 1
    return ", ".join(f"{n} {kind}{'s' if n > 1 else ''}" for kind, n in count.items() if n)


# ------------------------------------------------------------------ excerpts


@dataclass(frozen=True, slots=True)
class _Mark:
    span: Span
    message: str
    primary: bool


@dataclass(frozen=True, slots=True)
class _Underline:
    """A part of one line that is underlined: a half-open range of its characters."""

    line: int
    start: int
    end: int
    message: str
    primary: bool


def _marks(diagnostic: Diagnostic) -> list[_Mark]:
    marks = [_Mark(_trimmed(diagnostic.span), "", True)] if diagnostic.span else []
    marks += [_Mark(_trimmed(label.span), label.message, False) for label in diagnostic.labels]
    return marks


def _trimmed(span: Span) -> Span:
    """A span cut to the text, and without blanks at its end, which an underline would only point
    at."""
    size = len(span.source.text)
    start = min(max(span.start, 0), size)
    end = min(max(span.end, start), size)
    tail = span.source.text[start:end]
    return Span(span.source, start, start + max(len(tail.rstrip()), min(1, len(tail))))


def _place(span: Span) -> str:
    line, column = span.source.position(span.start)
    return f"{visible(span.source.name)}:{line}:{column}"


def _last_line(mark: _Mark) -> int:
    return mark.span.source.position(max(mark.span.start, mark.span.end - 1))[0]


def _underlines(mark: _Mark) -> list[_Underline]:
    """An underline for each line that is shown of a span: its first and its last line."""
    source, span = mark.span.source, mark.span
    first, column = source.position(span.start)
    last = _last_line(mark)
    start = column - 1
    if first == last:
        end = start + max(1, span.end - span.start)
        return [_Underline(first, start, end, mark.message, mark.primary)]
    text = source.line(last)
    indent = len(text) - len(text.lstrip())
    end = source.position(span.end - 1)[1]
    return [
        _Underline(first, start, max(start + 1, len(source.line(first))), "", mark.primary),
        _Underline(last, min(indent, end - 1), end, mark.message, mark.primary),
    ]


def _excerpt(source: Source, marks: list[_Mark], gutter: int, colour: bool, kind: str) -> list[str]:
    paint = _paint if colour else _plain
    bar = paint(" " * gutter + " |", "frame")
    shown: dict[int, list[_Underline]] = {}
    for mark in marks:
        for underline in _underlines(mark):
            shown.setdefault(underline.line, []).append(underline)
    out: list[str] = []
    previous = 0
    for number in sorted(shown):
        if previous and number == previous + 2:
            out.append(_numbered(source, previous + 1, gutter, paint))
        elif previous and number > previous + 2:
            out.append(paint(" " * max(0, gutter - 2) + ELLIPSIS, "frame"))
        previous = number
        here = shown[number]
        focus = next((u for u in here if u.primary), here[0])
        cells, offset = _cut(source.line(number), focus)
        out.append(paint(f"{number:>{gutter}} |", "frame") + (" " + "".join(cells)).rstrip())
        for underline in sorted(here, key=lambda u: not u.primary):
            sign = "^" if underline.primary else "-"
            before, under = _columns(cells, underline.start - offset, underline.end - offset)
            note = f" {_wrapped(underline.message)[0]}" if underline.message else ""
            style = kind if underline.primary else "frame"
            out.append(f"{bar} {' ' * before}" + paint(sign * under + note, style))
    return out


def _numbered(source: Source, number: int, gutter: int, paint: _Painter) -> str:
    cells, _ = _cut(source.line(number), _Underline(number, 0, 1, "", False))
    return paint(f"{number:>{gutter}} |", "frame") + (" " + "".join(cells)).rstrip()


def _cut(line: str, focus: _Underline) -> tuple[list[str], int]:
    """The part of a line that is shown, as one cell for each character, and the offset of the first
    one. A cell may be several columns wide; an ellipsis takes the place of a character."""
    begin = 0
    if len(line) > WIDTH and focus.end > WIDTH - LEAD:
        begin = max(0, focus.start - LEAD)
    cells: list[str] = [ELLIPSIS] if begin else []
    used = sum(map(len, cells))
    at = begin + len(cells)
    while at < len(line):
        cell = " " * (TAB - used % TAB) if line[at] == "\t" else _spelled(line[at])
        used += _width(cell)
        if used > WIDTH:
            cells.append(ELLIPSIS)
            break
        cells.append(cell)
        at += 1
    return cells, begin


def _columns(cells: list[str], start: int, end: int) -> tuple[int, int]:
    """The number of columns before the characters ``[start, end)``, and the number that they take.
    Characters that were cut off count as the ellipsis."""
    start, end = max(0, start), max(1, end)
    before = sum(map(_width, cells[:start]))
    under = sum(map(_width, cells[start:end]))
    return before, max(1, under)


def _spelled(character: str) -> str:
    if character.isprintable() or category(character) not in _UNPRINTABLE:
        return character
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _width(cell: str) -> int:
    if cell.isascii():
        return len(cell)
    return sum(
        0 if combining(c) or category(c) in ("Mn", "Me") else 1 + (east_asian_width(c) in "WF")
        for c in cell
    )


def _wrapped(message: str) -> list[str]:
    """The printable lines of a message. The middle of a very long message is left out."""
    if len(message) > MAX_MESSAGE:
        half = MAX_MESSAGE // 2
        message = f"{message[:half]} {ELLIPSIS} {message[-half:]}"
    return [visible(line) for line in message.split("\n")]


# ------------------------------------------------------------------ colour


class _Painter:
    """Adds the escape sequences of a style to a piece of text, or does not."""

    def __init__(self, colour: bool) -> None:
        self.colour = colour

    def __call__(self, text: str, style: str) -> str:
        return f"\x1b[{_COLOURS[style]}m{text}\x1b[0m" if self.colour else text


_paint = _Painter(True)
_plain = _Painter(False)
