"""Text to tokens, with one regular expression that is made from the terminals of the grammar."""

from __future__ import annotations

import re
from functools import cache

from tsdsl.diagnostics import Collector, Diagnostic, Source, Span
from tsdsl.record import Record
from tsdsl.syntax.ast import Comment
from tsdsl.syntax.tables import Tables, load

#: After this many lexical errors the rest of a text is not read.
MAX_ERRORS = 50


class Token(Record, eq=True):
    """A token, and the half-open range of characters that it covers. ``kind`` is its terminal."""

    kind: int
    text: str
    start: int
    end: int


class Tokens(Record, eq=True):
    """A text as tokens and comments."""

    items: list[Token]
    comments: list[Comment]
    #: Start of a token -> the documentation comment before it.
    docs: dict[int, str]
    #: Starts of tokens that replace characters which are no token, or that follow such ones. If
    #: these do not fit, that is no second finding.
    doubtful: set[int]
    #: False where reading ended after `MAX_ERRORS` errors.
    complete: bool = True


@cache
def _scanner() -> tuple[re.Pattern[str], dict[str, int], dict[str, int]]:
    tables = load()
    groups = [f"(?P<t{terminal}>{regexp})" for terminal, regexp in tables.patterns]
    marks = sorted(tables.punctuation, key=len, reverse=True)
    groups.append("(?P<mark>" + "|".join(map(re.escape, marks)) + ")")
    pattern = re.compile(r"[ \t\r\n\f]*(?:(?P<comment>//[^\n]*)|" + "|".join(groups) + ")")
    return pattern, tables.keywords, tables.punctuation


def lex(source: Source, findings: Collector) -> Tokens:
    """The tokens of a text. Characters that are no token are reported, and replaced by the token
    that they most likely mean."""
    tables: Tables = load()
    pattern, keywords, punctuation = _scanner()
    text = source.text
    name = tables.terminals.index("NAME")
    kinds = {f"t{terminal}": terminal for terminal, _ in tables.patterns}
    items: list[Token] = []
    comments: list[Comment] = []
    docs: dict[int, str] = {}
    pending: list[str] = []
    at, end, errors = 0, len(text), 0
    doubtful: set[int] = set()
    suspect = False
    match = pattern.match
    while True:
        found_token = match(text, at)
        if found_token is None:
            at = _skip_blank(text, at)
            if at >= end:
                break
            errors += 1
            if errors > MAX_ERRORS:
                return Tokens(items, comments, docs, doubtful, complete=False)
            start = at
            terminal, value, at = _report(source, at, findings)
            suspect = True
            if terminal:
                doubtful.add(start)
                items.append(Token(tables.terminals.index(terminal), value, start, at))
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
        if suspect:
            doubtful.add(start)
            suspect = False
        if pending:
            docs[start] = "\n".join(pending)
            pending = []
        items.append(Token(kind, value, start, at))
    return Tokens(items, comments, docs, doubtful)


_BLANK = re.compile(r"[ \t\r\n\f]*")
_WORD = re.compile(r"[\w.]+")
_QUOTED = re.compile(r"'[^'\n]*'")
_DIMS = re.compile(r"\d+(x\d+)+")
#: Signs of other languages -> a hint, and the terminal and text that most likely are meant.
_SIGNS = {
    "#": ("comments begin with //", "", ""),
    "'": ('text is written in double quotes: "..."', "", ""),
    "&": ("write 'and'", "AND", "and"),
    "|": ("write 'or'", "OR", "or"),
    "!": ("write 'not'", "NOT", "not"),
    ";": ("statements need no separator", "", ""),
}


def _skip_blank(text: str, at: int) -> int:
    blank = _BLANK.match(text, at)
    return blank.end() if blank else at


def _report(source: Source, at: int, findings: Collector) -> tuple[str, str, int]:
    """Report the characters at an offset, which begin no token.

    Returns the terminal and the text of the token that the parser gets instead (no terminal where
    it gets none), and the end of the characters.
    """
    text = source.text
    if text[at] == '"':
        stop = text.find("\n", at)
        stop = len(text) if stop < 0 else stop
        findings.add(
            Diagnostic(
                "E0102",
                "this text is not closed",
                Span(source, at, stop),
                help='end it with " on the same line',
            )
        )
        return "STRING", '""', stop
    word = _WORD.match(text, at)
    if word and text[at].isdigit():
        kind, value = "NUMBER", "1"
        hint = (
            "a number is written as 24, 0.25, 1e-5, 25%, 1.4G (suffixes k M G T %, and ns us ms s)"
        )
        if _DIMS.match(word.group()):
            kind, value = "DIMS", "1x1x1"
            hint = "sizes are time x height x width, as in 1x3x3"
        message = f"'{word.group()[:40]}' is not a number"
        findings.add(Diagnostic("E0103", message, Span(source, at, word.end()), help=hint))
        return kind, value, word.end()
    if word and text[at].isidentifier():
        name = word.group().partition(".")[0]
        findings.add(
            Diagnostic(
                "E0101",
                f"'{name[:40]}' cannot be a name",
                Span(source, at, at + len(name)),
                help="names are made of the letters a to z and A to Z, digits and _",
            )
        )
        return "NAME", name, at + len(name)
    quoted = _QUOTED.match(text, at)
    if quoted:
        message = 'a text is written in double quotes: "..."'
        findings.add(Diagnostic("E0101", message, Span(source, at, quoted.end())))
        return "STRING", '""', quoted.end()
    stop = at + 1
    while stop < len(text) and text[stop] == text[at]:
        stop += 1
    shown = text[at] if text[at].isprintable() else f"U+{ord(text[at]):04X}"
    message = f"'{shown}' has no meaning here"
    hint, kind, value = _SIGNS.get(text[at], ("", "", ""))
    findings.add(Diagnostic("E0101", message, Span(source, at, stop), help=hint or None))
    if text[at] == "#":
        line_end = text.find("\n", at)
        stop = len(text) if line_end < 0 else line_end
    return kind, value, stop
