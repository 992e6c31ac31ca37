"""Names of the submodules of a block, from its text alone.

Each place where a block applies something gets the name of what is applied, numbered from 1 where
the block does so more than once (``conv1``, ``bn1``, ``conv2``; ``conv5_1`` for a name with a
digit). As the names depend on the text only, every architecture, the supernet and the emitted
source use the same state-dict keys.
"""

from __future__ import annotations

from collections.abc import Iterable

from tsdsl.syntax import ast


def name_sites(expressions: Iterable[ast.Expr], ignored: frozenset[str]) -> dict[int, str]:
    """``id`` of each applying expression -> name. ``ignored`` are the builtin functions."""
    found: list[tuple[ast.Expr, str]] = []
    for expression in expressions:
        _collect(expression, found, ignored)
    counts: dict[str, int] = {}
    for _, name in found:
        counts[name] = counts.get(name, 0) + 1
    taken: set[str] = {name for name, count in counts.items() if count == 1}
    ordinal: dict[str, int] = {}
    sites: dict[int, str] = {}
    for node, name in found:
        if counts[name] > 1:
            while True:
                ordinal[name] = ordinal.get(name, 0) + 1
                between = "_" if name[-1].isdigit() else ""
                chosen = f"{name}{between}{ordinal[name]}"
                if chosen not in taken:
                    break
            taken.add(chosen)
            sites[id(node)] = chosen
        else:
            sites[id(node)] = name
    return sites


def _collect(node: ast.Expr, found: list[tuple[ast.Expr, str]], ignored: frozenset[str]) -> None:
    match node:
        case ast.Pipe(value, function):
            _collect(value, found, ignored)
            if isinstance(function, ast.Call):
                _collect(function, found, ignored)
            else:
                _note(function, function, found, ignored)
        case ast.Call(function, arguments):
            for argument in arguments:
                if isinstance(argument.value, ast.SetDomain):
                    for option in argument.value.options:
                        _collect(option.value, found, ignored)
                elif not isinstance(
                    argument.value, ast.RangeDomain | ast.ValueRange | ast.RecordValue
                ):
                    _collect(argument.value, found, ignored)
            _note(node, function, found, ignored)
        case ast.Unary(_, operand):
            _collect(operand, found, ignored)
        case ast.Binary(operator, left, right):
            _collect(left, found, ignored)
            _collect(right, found, ignored)
            if operator in "+*":
                found.append((node, "add" if operator == "+" else "mul"))
        case ast.Conditional(condition, then, otherwise):
            for part in (condition, then, otherwise):
                _collect(part, found, ignored)
            found.append((node, "if"))
        case ast.Member(owner, _) | ast.Index(owner, _):
            _collect(owner, found, ignored)
        case _:
            pass


def _note(
    node: ast.Expr,
    function: ast.Expr,
    found: list[tuple[ast.Expr, str]],
    ignored: frozenset[str],
) -> None:
    if isinstance(function, ast.Name) and function.text not in ignored:
        found.append((node, function.text))
    elif isinstance(function, ast.Member):
        found.append((node, function.name.text))
