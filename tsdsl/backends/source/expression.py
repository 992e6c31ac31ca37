"""Expressions of torch as text, put together through Python's own syntax tree.

The tree knows where parentheses are needed, so a template like ``{0} + {1}`` can take any
expression.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from functools import lru_cache

_PLACE = re.compile(r"\{(\w+)\}")
#: Strings in source that `ast.unparse` has written in single quotes, where formatters prefer double
#: ones. A string in double quotes is matched first, since it may contain single quotes.
_QUOTED = re.compile(r"""("(?:[^"\\]|\\.)*")|'(\w*)'""")
_SLICES = re.compile(r"\[(:, [^\[\]]*)\]")
_MARK = "__place_{}__"

#: How the emitted module imports torch. Longer names come first.
ALIASES = (("torch.nn.functional.", "F."), ("torch.nn.", "nn."))


def alias(text: str) -> str:
    """Replace full names of torch by the emitted module's aliases."""
    for full, short in ALIASES:
        text = text.replace(full, short)
    return text


@lru_cache(maxsize=4096)
def places(template: str) -> tuple[str, ...]:
    """The placeholders of a template, each as often as it occurs."""
    return tuple(_PLACE.findall(template))


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with an expression in the place of each placeholder."""
    return _filled(template, tuple(values.items()))


@lru_cache(maxsize=16384)
def _filled(template: str, values: tuple[tuple[str, str], ...]) -> str:
    marked = _PLACE.sub(lambda match: _MARK.format(match[1]), alias(template))
    trees = {_MARK.format(name): _parse(text) for name, text in values}
    filled = _Fill(trees).visit(_parse(marked))
    return _SLICES.sub(_spaced, _QUOTED.sub(_double, ast.unparse(filled)))


def _double(string: re.Match[str]) -> str:
    return string[1] or f'"{string[2]}"'


def _spaced(slices: re.Match[str]) -> str:
    """Put spaces around the colon of a slice that has more than numbers: ``start : self.stop``."""
    parts = slices[1].split(", ")
    wide = [re.sub(r"(:+)", r" \1 ", part).strip() if "." in part else part for part in parts]
    return f"[{', '.join(wide)}]"


def names(text: str) -> tuple[str, ...]:
    """Variables of an expression, in order of their first occurrence."""
    found = [n for n in ast.walk(_parse(text)) if isinstance(n, ast.Name)]
    found.sort(key=lambda n: n.col_offset)
    return tuple(dict.fromkeys(n.id for n in found))


def _parse(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


class _Fill(ast.NodeTransformer):
    def __init__(self, trees: Mapping[str, ast.expr]) -> None:
        self._trees = trees

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._trees.get(node.id, node)
