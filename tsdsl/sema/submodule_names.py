"""Names of the submodules of a block, from the text of the block alone.

A call gets the name of the operation that it applies. Where a block applies an operation several
times, the names are numbered from 1: ``conv1``, ``bn1``, ``conv2`` (``conv5_1`` for a name that
ends in a digit). Names depend on the text only, so that every architecture, the supernet and the
emitted source have the same keys in their state dicts.
"""

from __future__ import annotations

from collections.abc import Iterable

from tsdsl.syntax import ast


def name_sites(expressions: Iterable[ast.Expr], ignored: frozenset[str]) -> dict[int, str]:
    """``id`` of each expression that applies an operation -> name of its submodule. Calls of the
    ``ignored`` functions, which compute plain values, have none."""
    calls: list[tuple[ast.Expr, str]] = []
    for expression in expressions:
        _collect(expression, calls, ignored)
    counts: dict[str, int] = {}
    for _, name in calls:
        counts[name] = counts.get(name, 0) + 1
    taken: set[str] = {name for name, count in counts.items() if count == 1}
    ordinal: dict[str, int] = {}
    sites: dict[int, str] = {}
    for node, name in calls:
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


def _collect(node: ast.Expr, calls: list[tuple[ast.Expr, str]], ignored: frozenset[str]) -> None:
    """Append the expressions in ``node`` that apply something, in the order of application."""
    match node:
        case ast.Pipe(value, function):
            _collect(value, calls, ignored)
            if isinstance(function, ast.Call):
                _collect(function, calls, ignored)
            else:
                _note(function, function, calls, ignored)
        case ast.Call(function, arguments):
            for argument in arguments:
                if isinstance(argument.value, ast.SetDomain):
                    for option in argument.value.options:
                        _collect(option.value, calls, ignored)
                elif not isinstance(
                    argument.value, ast.RangeDomain | ast.ValueRange | ast.RecordValue
                ):
                    _collect(argument.value, calls, ignored)
            _note(node, function, calls, ignored)
        case ast.Unary(_, operand):
            _collect(operand, calls, ignored)
        case ast.Binary(operator, left, right):
            _collect(left, calls, ignored)
            _collect(right, calls, ignored)
            if operator in "+*":
                calls.append((node, "add" if operator == "+" else "mul"))
        case ast.Conditional(condition, then, otherwise):
            for part in (condition, then, otherwise):
                _collect(part, calls, ignored)
            calls.append((node, "if"))
        case ast.Member(owner, _) | ast.Index(owner, _):
            _collect(owner, calls, ignored)
        case _:
            pass


def _note(
    node: ast.Expr,
    function: ast.Expr,
    calls: list[tuple[ast.Expr, str]],
    ignored: frozenset[str],
) -> None:
    if isinstance(function, ast.Name) and function.text not in ignored:
        calls.append((node, function.text))
    elif isinstance(function, ast.Member):
        calls.append((node, function.name.text))
