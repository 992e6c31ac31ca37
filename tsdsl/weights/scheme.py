"""A key map: the names of the modules of a family of networks in another code base, as pairs of
patterns.

A pattern is the path of a module with fields in braces. ``{block}`` stands for a number that is the
same on both sides, unless the scheme has a table for the field: a pair (theirs, ours) for each
value. The last segment of a key (weight, bias, running_mean ...) is the same on both sides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from tsdsl.record import Record

Pairs = tuple[tuple[str, str], ...]
_FIELD = re.compile(r"\{(\w+)\}")


class Scheme(Record):
    """The names of one family of networks in one code base."""

    #: Name of the scheme on the command line.
    name: str
    #: A key that every state dict of this scheme has, and no other one.
    signature: str
    #: Patterns of modules: (theirs, ours).
    modules: Pairs
    #: Field -> its values: (theirs, ours).
    fields: Mapping[str, Pairs]
    #: Normalisations, with their convolutions, that the code base leaves out where the convolution
    #: keeps the width. Both are our names.
    unnormalised: Pairs = ()

    def ours(self, key: str) -> str | None:
        """Our key for one of theirs, or None."""
        return _translated(key, _forth(self))

    def theirs(self, key: str) -> str | None:
        """Their key for one of ours, or None."""
        return _translated(key, _back(self))

    def unnormalised_among(self, names: Iterable[str]) -> list[tuple[str, str]]:
        """Pairs of normalisation and convolution, among our names, for which the code base may lack
        the normalisation."""
        modules = dict.fromkeys(name.rpartition(".")[0] for name in names)
        lines = [_line(norm, conv, {}, 0) for norm, conv in self.unnormalised]
        found = ((module, _moved(module, lines)) for module in modules)
        return [(norm, conv) for norm, conv in found if conv is not None]


def within(theirs: str, ours: str, parts: Pairs) -> Pairs:
    """Put the paths of a parent module before those of its parts."""
    return tuple((f"{theirs}.{a}", f"{ours}.{b}") for a, b in parts)


def recognised(names: Iterable[str], schemes: Sequence[Scheme]) -> Scheme | None:
    """The scheme of names, or None."""
    given = set(names)
    return next((scheme for scheme in schemes if scheme.signature in given), None)


class _Line(Record):
    """A pair of patterns, in one direction."""

    source: re.Pattern[str]
    target: str
    #: Field -> its value on this side -> its value on the other side.
    tables: dict[str, dict[str, str]]


@cache
def _forth(scheme: Scheme) -> list[_Line]:
    return [_line(theirs, ours, scheme.fields, 0) for theirs, ours in scheme.modules]


@cache
def _back(scheme: Scheme) -> list[_Line]:
    return [_line(ours, theirs, scheme.fields, 1) for theirs, ours in scheme.modules]


def _line(source: str, target: str, fields: Mapping[str, Pairs], side: int) -> _Line:
    parts = _FIELD.split(source)
    for at in range(1, len(parts), 2):
        values = "|".join(re.escape(pair[side]) for pair in fields.get(parts[at], ()))
        parts[at] = rf"(?P<{parts[at]}>{values or '0|[1-9][0-9]*'})"
    parts[::2] = [re.escape(text) for text in parts[::2]]
    tables = {name: {p[side]: p[1 - side] for p in pairs} for name, pairs in fields.items()}
    return _Line(re.compile("".join(parts)), target, tables)


def _moved(module: str, lines: Iterable[_Line]) -> str | None:
    for line in lines:
        if match := line.source.fullmatch(module):
            path = line.target
            for name, value in match.groupdict().items():
                path = path.replace(f"{{{name}}}", line.tables.get(name, {}).get(value, value))
            return path
    return None


def _translated(key: str, lines: Iterable[_Line]) -> str | None:
    module, _, leaf = key.rpartition(".")
    moved = _moved(module, lines)
    return None if moved is None else f"{moved}.{leaf}"
