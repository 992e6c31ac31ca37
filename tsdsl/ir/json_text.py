"""Reading JSON that anyone may have written: one finding, with its place, for whatever is wrong."""

from __future__ import annotations

import json
from json import JSONDecodeError, JSONDecoder
from typing import Any

from tsdsl.diagnostics import Diagnostic, DiagnosticError, Source, Span


def read_json(source: Source, error: type[DiagnosticError]) -> Any:
    """What a text holds. Keys that stand twice, numbers that are not finite or too long, half
    surrogates and what is nested too deep are refused. Raises ``error``."""

    def failure(
        code: str, message: str, span: Span | None = None, help_line: str | None = None
    ) -> DiagnosticError:
        return error([Diagnostic(code, message, span, help=help_line, file=source.name)])

    try:
        content = json.loads(
            source.text,
            object_pairs_hook=_pairs,
            parse_constant=_not_finite,
            parse_float=_float,
        )
        if "\\u" in source.text:
            # Half of a surrogate pair is JSON, but no text that can be written again.
            json.dumps(content, ensure_ascii=False).encode()
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
    except UnicodeEncodeError:
        raise failure("E0701", "a string holds half of a surrogate pair") from None
    except RecursionError:
        raise failure("E0706", "this file is nested too deeply") from None
    except ValueError:
        raise failure("E0705", "a number of this file has too many digits") from None


def kind(value: Any) -> str:
    """What a value of JSON is, for messages."""
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
    """Where a key stands in the text, if it can be found."""
    for written in (json.dumps(key, ensure_ascii=False), json.dumps(key)):
        at = source.text.rfind(written) if last else source.text.find(written)
        if at >= 0:
            return Span(source, at, at + len(written))
    return None


def value_span(source: Source, path: tuple[str | int, ...]) -> Span | None:
    """Where the value at a path stands; of one that is not there, what should hold it. The text
    is JSON."""
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
    """A key stands twice in one object."""


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
    """A number that JSON does not have."""


def _not_finite(text: str) -> float:
    raise _NotFinite(text)


def _float(text: str) -> float:
    value = float(text)
    return value if value - value == 0 else _not_finite(text)
