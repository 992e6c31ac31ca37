"""Text to tokens, with one regular expression made from the grammar's terminals."""

from __future__ import annotations

import re
from functools import cache

from tsdsl.diagnostics import Collector, Diagnostic, Source, Span
from tsdsl.record import Record
from tsdsl.syntax.ast import Comment
from tsdsl.syntax.tables import Tables, load


class Token(Record, eq=True):
    kind: int
    text: str
    start: int
    end: int


class Tokens(Record, eq=True):
    items: list[Token]
    comments: list[Comment]
    #: Start of a token -> the documentation comment in front of it.
    docs: dict[int, str]


@cache
def _scanner() -> tuple[re.Pattern[str], dict[str, int], dict[str, int]]:
    tables = load()
    groups = [f"(?P<t{terminal}>{regexp})" for terminal, regexp in tables.patterns]
    marks = sorted(tables.punctuation, key=len, reverse=True)
    groups.append("(?P<mark>" + "|".join(map(re.escape, marks)) + ")")
    pattern = re.compile(r"[ \t\r\n\f]*(?:(?P<comment>//[^\n]*)|" + "|".join(groups) + ")")
    return pattern, tables.keywords, tables.punctuation


def lex(source: Source, found: Collector) -> Tokens:
    """All tokens of a text. What is no token is reported and left out."""
    tables: Tables = load()
    pattern, keywords, punctuation = _scanner()
    text = source.text
    name = tables.terminals.index("NAME")
    kinds = {f"t{terminal}": terminal for terminal, _ in tables.patterns}
    items: list[Token] = []
    comments: list[Comment] = []
    docs: dict[int, str] = {}
    pending: list[str] = []
    at, end = 0, len(text)
    match = pattern.match
    while True:
        found_token = match(text, at)
        if found_token is None:
            at = _skip_blank(text, at)
            if at >= end:
                break
            at = _report(source, at, found)
            continue
        group = found_token.lastgroup
        assert group is not None
        start, at = found_token.span(group)
        value = text[start:at]
        if group == "comment":
            doc = value.startswith("///") and not value.startswith("////")
            comments.append(Comment(value, Span(source, start, at), doc))
            if doc:
                pending.append(value[3:].removeprefix(" ").rstrip())
            continue
        if group == "mark":
            kind = punctuation[value]
        else:
            kind = kinds[group]
            if kind == name:
                kind = keywords.get(value, kind)
        if pending:
            docs[start] = "\n".join(pending)
            pending = []
        items.append(Token(kind, value, start, at))
    return Tokens(items, comments, docs)


_BLANK = re.compile(r"[ \t\r\n\f]*")
_WORD = re.compile(r"[\w.]+")
_DIMS = re.compile(r"\d+(x\d+)+")


def _skip_blank(text: str, at: int) -> int:
    blank = _BLANK.match(text, at)
    return blank.end() if blank else at


def _report(source: Source, at: int, found: Collector) -> int:
    """Say what is wrong with the text at an offset that begins no token; where to go on."""
    text = source.text
    if text[at] == '"':
        stop = text.find("\n", at)
        stop = len(text) if stop < 0 else stop
        found.add(
            Diagnostic(
                "E0102",
                "this text is not closed",
                Span(source, at, stop),
                help='end it with " on the same line',
            )
        )
        return stop
    word = _WORD.match(text, at)
    if word and text[at].isdigit():
        help_line = "a number is written as 24, 0.25, 1e-5, 25%, 1.4G (suffixes k M G T %)"
        if _DIMS.match(word.group()):
            help_line = "sizes are time x height x width, as in 1x3x3"
        found.add(
            Diagnostic(
                "E0103",
                f"'{word.group()[:40]}' is not a number",
                Span(source, at, word.end()),
                help=help_line,
            )
        )
        return word.end()
    stop = at + 1
    while stop < len(text) and text[stop] == text[at]:
        stop += 1
    shown = text[at] if text[at].isprintable() else f"U+{ord(text[at]):04X}"
    hint = {
        "#": "comments begin with //",
        "'": 'text is written in double quotes: "..."',
        "&": "write 'and'",
        "|": "write 'or'",
        "!": "write 'not'",
        ";": "statements need no separator",
    }.get(text[at])
    found.add(
        Diagnostic("E0101", f"'{shown}' has no meaning here", Span(source, at, stop), help=hint)
    )
    return text.find("\n", at) if text[at] == "#" and "\n" in text[at:] else stop
