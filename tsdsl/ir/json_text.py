"""Reading untrusted JSON: any fault is one finding, with its place in the text."""

from __future__ import annotations

import json
from collections.abc import Callable
from json import JSONDecodeError, JSONDecoder
from typing import Any

from tsdsl.diagnostics import Diagnostic, DiagnosticError, Source, Span


def read_json(source: Source, error: type[DiagnosticError]) -> Any:
    """Parse a JSON text. Raises ``error`` for a text that is not JSON, and also for a key that
    occurs twice in an object, a number that is not finite or has more digits than `int` reads, half
    of a surrogate pair, and nesting deeper than Python's recursion limit."""

    def failure(
        code: str, message: str, span: Span | None = None, help_line: str | None = None
    ) -> DiagnosticError:
        return error([Diagnostic(code, message, span, help=help_line, file=source.name)])

    try:
        content = _loads(source.text)
        # Half of a surrogate pair is JSON, but cannot be written as UTF-8 again.
        if "\\u" in source.text and not _is_utf8(json.dumps(content, ensure_ascii=False)):
            raise failure("E0701", "a string holds half of a surrogate pair")
        return content
    except JSONDecodeError as bad:
        span = Span(source, bad.pos, min(bad.pos + 1, len(source.text)))
        headline = bad.msg[:1].lower() + bad.msg[1:]
        help_line = None if source.text.strip() else "the file is empty"
        raise failure("E0701", f"not JSON: {headline}", span, help_line) from None
    except _Duplicate as twice:
        key = str(twice)
        place = key_span(source, key, last=True)
        raise failure("E0704", f"'{key[:60]}' is given twice", place) from None
    except _NotFinite as number:
        text = str(number)
        at = source.text.find(text)
        found = Span(source, at, at + len(text)) if at >= 0 else None
        raise failure("E0705", f"{text[:40]} is not a finite number", found) from None
    except _TooLong:
        raise failure("E0705", "a number of this file has too many digits") from None
    except RecursionError:
        raise failure("E0706", "this file is nested too deeply") from None


def _loads(text: str) -> Any:
    def loads(read_int: Callable[[str], int] | None) -> Any:
        return json.loads(
            text,
            object_pairs_hook=_pairs,
            parse_constant=_not_finite,
            parse_float=_float,
            parse_int=read_int,
        )

    try:
        return loads(None)
    except JSONDecodeError:
        raise
    except ValueError:
        # Probably an integer that is too long. The second reading, which is slower, says so for
        # certain; any other error is raised again.
        return loads(_int)


def kind(value: Any) -> str:
    """The JSON type of a value, in words for messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return "a string" if isinstance(value, str) else "a number"


def key_span(source: Source, key: str, *, last: bool = False) -> Span | None:
    """The place of the first (or last) string ``key`` in the text; None if it is not found."""
    for written in (json.dumps(key, ensure_ascii=False), json.dumps(key)):
        at = source.text.rfind(written) if last else source.text.find(written)
        if at >= 0:
            return Span(source, at, at + len(written))
    return None


def value_span(source: Source, path: tuple[str | int, ...]) -> Span | None:
    """The place of the value at a path. If there is no such value, the place of the innermost
    object or list on the path that exists. The text must be JSON."""
    text, decode = source.text, JSONDecoder().raw_decode
    start = _blank(text, 0)
    for part in path:
        opened = text[start : start + 1]
        if opened != ("{" if isinstance(part, str) else "["):
            break
        at, number, inner = _blank(text, start + 1), 0, -1
        while text[at] not in "}]":
            key: Any = number
            if opened == "{":
                key, at = decode(text, at)
                at = _blank(text, _blank(text, at) + 1)
            if key == part:
                inner = at
                break
            at = _blank(text, decode(text, at)[1])
            if text[at] == ",":
                at = _blank(text, at + 1)
            number += 1
        if inner < 0:
            break
        start = inner
    return Span(source, start, decode(text, start)[1])


def _blank(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


class _Duplicate(Exception):
    """A key occurs twice in one object."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Duplicate(key)
            seen.add(key)
    return found


class _NotFinite(Exception):
    """A number is infinite or not a number."""


def _not_finite(text: str) -> float:
    raise _NotFinite(text)


class _TooLong(Exception):
    """An integer has more digits than `int` reads (`sys.get_int_max_str_digits`)."""


def _int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise _TooLong from None


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _float(text: str) -> float:
    value = float(text)
    return value if value - value == 0 else _not_finite(text)
