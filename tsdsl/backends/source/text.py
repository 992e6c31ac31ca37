"""Python source: literals, and calls that are broken over lines as a formatter does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tsdsl.backends.source.quoting import WIDTH, quoted


@dataclass(frozen=True, slots=True)
class Brackets:
    """A bracketed list of ``items``, pairs of prefix and content: ``("stride=", "(1, 2, 2)")``.

    A call is written on one line if it fits, or with all items on the next line, or with one item
    per line. A ``tuple`` or ``dict`` has one item per line as soon as it is broken. The items of a
    ``generator`` are clauses without commas.
    """

    opening: str
    items: tuple[tuple[str, Doc], ...]
    closing: str = ")"
    kind: str = "call"


Doc = str | Brackets


def call(function: str, *args: Doc, **kwargs: Doc) -> Brackets:
    named = tuple((f"{name}=", value) for name, value in kwargs.items())
    return Brackets(f"{function}(", (*(("", arg) for arg in args), *named))


def flat(doc: Doc) -> str:
    """The document on one line."""
    if isinstance(doc, str):
        return doc
    separator = " " if doc.kind == "generator" else ", "
    inside = separator.join(prefix + flat(item) for prefix, item in doc.items)
    if doc.kind == "tuple" and len(doc.items) == 1:
        inside += ","
    return f"{doc.opening}{inside}{doc.closing}"


def layout(
    prefix: str, doc: Doc, suffix: str = "", indent: int = 0, width: int = WIDTH
) -> Iterator[str]:
    """The lines of ``prefix doc suffix`` at an indentation in columns."""
    pad = " " * indent
    line = f"{pad}{prefix}{flat(doc)}{suffix}"
    if isinstance(doc, str) or not doc.items or (len(line) <= width):
        yield line
        return
    yield f"{pad}{prefix}{doc.opening}"
    joined = ", ".join(p + flat(item) for p, item in doc.items)
    if doc.kind == "call" and len(joined) + indent + 4 <= width:
        yield f"{pad}    {joined}"
    else:
        lone = len(doc.items) == 1 and doc.kind == "call" and not isinstance(doc.items[0][1], str)
        comma = "" if doc.kind == "generator" or lone else ","
        for item_prefix, item in doc.items:
            yield from layout(item_prefix, item, comma, indent + 4, width)
    yield f"{pad}{doc.closing}{suffix}"


def literal(value: Any) -> str:
    """A plain value as source. Strings are in double quotes."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, tuple | list):
        items: list[Any] = list(value)  # pyright: ignore[reportUnknownArgumentType]
        inside = ", ".join(map(literal, items))
        return f"({inside},)" if len(items) == 1 else f"({inside})"
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    raise TypeError(f"{type(value).__name__} cannot be written as source")
