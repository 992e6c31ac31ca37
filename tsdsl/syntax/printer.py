"""Expressions to text, in one canonical spelling: for options in ``arch.json``, and for dumps."""

from __future__ import annotations

from tsdsl.syntax import ast
from tsdsl.units import TIMES

_LEVEL = {"or": 1, "and": 2, "==": 4, "!=": 4, "<": 4, "<=": 4, ">": 4, ">=": 4, "+": 5, "-": 5}
_PIPE, _NOT, _COMPARE, _TIMES, _UNARY, _POSTFIX = 0, 3, 4, 6, 7, 8


def expression(node: ast.Expr) -> str:
    """The text of an expression: one blank around operators, none around ``=`` in calls."""
    return _print(node, -1)


def value(node: ast.Expr | ast.Domain | ast.ValueRange | ast.RecordValue) -> str:
    """The text of an expression, a domain, or the value of a setting."""
    match node:
        case ast.SetDomain(options, default):
            inside = ", ".join(
                expression(o.value) + (f": {_limit(o.weight)}" if o.weight else "") for o in options
            )
            return "{" + inside + "}" + _default(default)
        case ast.RangeDomain(low, high, step, default):
            stride = f" step {_limit(step)}" if step else ""
            return f"{_limit(low)}..{_limit(high)}{stride}{_default(default)}"
        case ast.ValueRange(low, high):
            return f"{_limit(low)}..{_limit(high)}"
        case ast.RecordValue(fields):
            return "(" + ", ".join(map(_argument, fields)) + ")"
        case _:
            return expression(node)


def number(number: int | float) -> str:
    return repr(number)


def time(nanoseconds: int) -> str:
    """A time in the largest unit in which it is a whole number."""
    units = reversed(TIMES.items())
    return next(f"{nanoseconds // size}{unit}" for unit, size in units if not nanoseconds % size)


def _default(node: ast.Expr | None) -> str:
    return f" default {_limit(node)}" if node else ""


def _limit(node: ast.Expr) -> str:
    """The text of a part of a domain. An operator that binds less than a sum is in parentheses."""
    return _print(node, _LEVEL["+"])


def _argument(argument: ast.Argument) -> str:
    if argument.name is None:
        return value(argument.value)
    if isinstance(argument.value, ast.SetDomain | ast.RangeDomain):
        return f"{argument.name.text} ~ {value(argument.value)}"
    return f"{argument.name.text}={value(argument.value)}"


def _print(node: ast.Expr, level: int) -> str:
    match node:
        case ast.Number(number_):
            return number(number_)
        case ast.Time(nanoseconds):
            return time(nanoseconds)
        case ast.DimsLiteral((t, h, w)):
            return f"{t}x{h}x{w}"
        case ast.Text(text):
            escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            return f'"{escaped}"'
        case ast.Bool(value_):
            return "true" if value_ else "false"
        case ast.Name(text):
            return text
        case ast.Member(owner, name):
            return f"{_print(owner, _POSTFIX)}.{name.text}"
        case ast.Index(owner, index):
            return f"{_print(owner, _POSTFIX)}[{_print(index, -1)}]"
        case ast.Call(function, arguments):
            return f"{_print(function, _POSTFIX)}({', '.join(map(_argument, arguments))})"
        case ast.Unary("not", operand):
            return _wrap(f"not {_print(operand, _NOT)}", _NOT, level)
        case ast.Unary(_, operand):
            return _wrap(f"-{_print(operand, _UNARY)}", _UNARY, level)
        case ast.Binary(operator, left, right):
            mine = _LEVEL.get(operator, _TIMES)
            # Comparisons do not associate: a < b < c is no expression.
            first = _print(left, mine + 1 if mine == _COMPARE else mine)
            return _wrap(f"{first} {operator} {_print(right, mine + 1)}", mine, level)
        case ast.Conditional(condition, then, otherwise):
            text = (
                f"if {_print(condition, -1)} then {_print(then, -1)} else {_print(otherwise, -1)}"
            )
            return _wrap(text, -1, level)
        case ast.Pipe(source, function):
            return _wrap(f"{_print(source, _PIPE)} -> {_print(function, _POSTFIX)}", _PIPE, level)


def _wrap(text: str, mine: int, level: int) -> str:
    return f"({text})" if mine < level else text
