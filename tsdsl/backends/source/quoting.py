"""Text of a user in emitted source: as a string, in a comment, in a docstring.

Names, documentation comments, messages and file names may hold anything that a file or a command
line can. Everything that is not a character to look at is written as its escape here, and nowhere
else: quotes and backslashes cannot end a string, line separators cannot end a comment, and
bidirectional controls cannot show code in another order than it runs in.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

WIDTH = 100

#: Quotes that would end a docstring: three in a row.
_THREE = re.compile(r'"{3,}')
#: In a docstring of one line, a last quote would end it, too: the closing ones follow at once.
_THREE_OR_LAST = re.compile(r'"{3,}|"\Z')


def quoted(text: str) -> str:
    """The text as a string literal in double quotes."""
    return '"' + _escaped(text).replace('"', '\\"') + '"'


def comment(text: str) -> str:
    """The text as the rest of a comment: characters that would end the line or are not printable
    are escaped."""
    return _escaped(text, backslash="\\")


def docstring(text: str, indent: int = 0) -> Iterator[str]:
    """The lines of a docstring whose value is the text up to white space: long paragraphs are
    wrapped, tabs become spaces, and trailing spaces are removed."""
    pad = " " * indent
    lines = [_escaped(line.replace("\t", " ").rstrip()) for line in text.strip().split("\n")]
    wrapped: list[str] = []
    for paragraph in _paragraphs(lines):
        room = WIDTH - indent
        first = "" if wrapped else "   "
        if all(len(first + line) <= room for line in paragraph):
            wrapped += paragraph
            continue
        whole = " ".join(paragraph)
        lead = " " * (len(whole) - len(whole.lstrip()))
        filled = textwrap.wrap(
            whole,
            room,
            initial_indent=first,
            subsequent_indent=lead,
            break_long_words=False,
            break_on_hyphens=False,
        )
        wrapped += [filled[0].removeprefix(first), *filled[1:]]
    ending = _THREE_OR_LAST if len(wrapped) == 1 else _THREE
    wrapped = [ending.sub(lambda run: '\\"' * len(run[0]), line) for line in wrapped]
    if len(wrapped) == 1 and len(wrapped[0]) + indent + 6 <= WIDTH:
        yield f'{pad}"""{wrapped[0]}"""'
        return
    yield f'{pad}"""{wrapped[0]}'
    yield from ((pad + line).rstrip() for line in wrapped[1:])
    yield f'{pad}"""'


def _paragraphs(lines: list[str]) -> Iterator[list[str]]:
    """Runs of lines that may be wrapped. An indented or empty line is a run of its own."""
    run: list[str] = []
    for line in lines:
        if line and not line[0].isspace():
            run.append(line)
            continue
        if run:
            yield run
        yield [line]
        run = []
    if run:
        yield run


def _escaped(text: str, backslash: str = "\\\\") -> str:
    text = text.replace("\\", backslash)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
