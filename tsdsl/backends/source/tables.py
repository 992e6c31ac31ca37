"""Tables as Python source, and calls whose arguments are long tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tsdsl.backends.source.quoting import WIDTH
from tsdsl.backends.source.text import literal


def tuple_text(items: Sequence[str]) -> str:
    return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"


def value_text(value: Any) -> str:
    if isinstance(value, tuple | list):
        return tuple_text([value_text(item) for item in value])
    return literal(value)


def escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def long_call(head: str, *arguments: str) -> Iterator[str]:
    """The lines of a call. An argument that is too long for a line is broken between its items."""
    line = f"{head}{', '.join(arguments)})"
    if len(line) <= WIDTH:
        yield line
        return
    yield head
    pad = " " * (len(head) - len(head.lstrip()) + 4)
    for argument in arguments:
        yield from _broken(argument + ",", pad)
    yield f"{pad[4:]})"


def _broken(text: str, pad: str) -> Iterator[str]:
    rest = text
    while len(pad) + len(rest) > WIDTH:
        cut = _cut(rest, WIDTH - len(pad))
        if cut is None:
            break
        yield pad + rest[:cut].rstrip()
        rest = rest[cut:].lstrip()
    yield pad + rest


def _cut(text: str, room: int) -> int | None:
    """Index behind the last comma within ``room`` that is outside of strings, or else behind the
    first one."""
    quote = ""
    found = None
    at = 0
    while at < len(text):
        character = text[at]
        if quote:
            if character == "\\":
                at += 1
            elif character == quote:
                quote = ""
        elif character in "'\"":
            quote = character
        elif character == "," and at + 1 < len(text):
            if at >= room and found is not None:
                return found
            found = at + 1
            if at >= room:
                return found
        at += 1
    return found
