"""Does a space change nothing but plain values of its base?

If it does, elaborating the space has checked all of the base but its numbers, and the base needs no
check of its own: many published spaces differ from their base by a few numbers, and the check of
each takes half as long. The answer "no" is always safe.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, cast

from tsdsl.diagnostics import Collector
from tsdsl.sema import signatures
from tsdsl.sema.merge import StatementKey, base_of, key_of, merged
from tsdsl.sema.modules import Loader
from tsdsl.syntax import ast

#: A choice between more options than this counts as a change of more than values.
PLAIN_OPTIONS = 64


def changes_values_only(space: ast.Space, loader: Loader) -> bool:
    """Whether a space replaces nothing of its base but plain values by others of the same kind:
    numbers by numbers, choices by choices."""
    base = base_of(space, loader, Collector())
    statements = merged(base, loader, Collector(), []) if base is not None else None
    # Moves are checked only in the space that has them.
    if statements is None or any(isinstance(s, ast.Moved) for s in statements):
        return False
    return _values_only(space.body, statements)


def _values_only(changes: Sequence[Any], base: Sequence[Any]) -> bool:
    index: dict[StatementKey | None, Any] = {}
    for statement in base:
        index.setdefault(key_of(statement), statement)
    for change in changes:
        key = key_of(change)
        old = index.get(key) if key is not None else None
        match change:
            case ast.Require():
                fine = True
            case ast.Stream(arguments=None) if isinstance(old, ast.Stream):
                fine = _values_only(change.body, old.body)
            case ast.Stage(arguments=None) if isinstance(old, ast.Stage):
                fine = _values_only(change.body, tuple(ast.descendants(old.body)))
            case ast.Param(_, _, value) if isinstance(old, ast.Param):
                fine = _fits(old) and (_alike(old.value, value) or _are_ratios(old, value))
            case ast.Binding(_, value) if isinstance(old, ast.Binding):
                fine = _alike(old.value, value)
            case ast.Binding(_, value) if isinstance(old, ast.Repeat):
                fine = _alike(old.count, value)
            case _:
                fine = False
        if not fine:
            return False
    return True


def _fits(param: ast.Param) -> bool:
    """Whether the value of a param is a literal of the type that it declares, if any."""
    if param.type is None:
        return True
    if param.type.text not in signatures.TYPES or param.type.text in ("tensor", "op"):
        return False
    value = param.value
    if not isinstance(value, ast.Number | ast.Text | ast.Bool | ast.DimsLiteral):
        return False
    return signatures.fits(value.value, param.type.text)


def _are_ratios(param: ast.Param, value: Any) -> bool:
    """Whether a param that is declared a ratio has a number, and gets a number."""
    declared = param.type is not None and param.type.text == "ratio"
    return declared and isinstance(param.value, ast.Number) and isinstance(value, ast.Number)


def _alike(old: Any, new: Any) -> bool:
    """Whether both are plain values of one kind."""
    kind = _plain_kind(old)
    return kind is not None and kind == _plain_kind(new)


def _plain_kind(value: Any) -> Hashable | None:
    """The kind of a value that is valid wherever another value of its kind is: a literal, or a
    choice between literals without weights, step and default. None for all other values."""
    match value:
        case ast.Number(plain) | ast.Text(plain) | ast.Bool(plain) | ast.DimsLiteral(plain):
            return type(plain).__name__
        case ast.RangeDomain(ast.Number(low), ast.Number(high), None, None):
            fine = type(low) is type(high) is int and 0 <= high - low < PLAIN_OPTIONS
            return ("one of", "int") if fine else None
        case ast.SetDomain(options, None):
            if not options or any(option.weight is not None for option in options):
                return None
            kinds = {_plain_kind(option.value) for option in options}
            if len(kinds) > 1 or None in kinds:
                return None
            # All are literals of one kind.
            values = {cast(Any, option.value).value for option in options}
            return ("one of", *kinds) if len(values) == len(options) else None
        case _:
            return None
