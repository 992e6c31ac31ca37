"""Operators and builtin functions of plain values. Each returns a value or raises `ValueFault`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tsdsl.ir.op import Shape
from tsdsl.syntax.literals import MAX_INT


class ValueFault(Exception):
    """An expression has no value, as in a division by zero. It is caught by `Context.lift`, which
    makes a finding of its code, message and hint."""

    def __init__(self, code: str, message: str, hint: str | None = None) -> None:
        self.code, self.message, self.hint = code, message, hint
        super().__init__(message)


def type_name(value: Any) -> str:
    """The language's word for the type of a value."""
    match value:
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "ratio"
        case str():
            return "string"
        case tuple():
            return "dims"
        case _:
            return "op"


def show(value: Any) -> str:
    """A value as it is written in the language."""
    match value:
        case bool():
            return "true" if value else "false"
        case tuple():
            return "x".join(map(str, value))
        case str():
            return f'"{value}"'
        case _:
            return str(value)


def is_number(value: Any) -> bool:
    return type(value) is int or type(value) is float


def binary(operator: str, left: Any, right: Any) -> Any:
    """The value of ``left operator right``."""
    if operator in ("==", "!="):
        if type_name(left) != type_name(right) and not (is_number(left) and is_number(right)):
            raise ValueFault(
                "E0303",
                f"{type_name(left)} and {type_name(right)} cannot be compared: "
                f"{show(left)} {operator} {show(right)}",
            )
        if type_name(left) == "op":
            raise ValueFault(
                "E0303", "operations cannot be compared", "pass a bool to tell them apart"
            )
        return (left == right) is (operator == "==")
    if not is_number(left) or not is_number(right):
        raise ValueFault(
            "E0303",
            f"'{operator}' takes numbers, not {type_name(left)} and {type_name(right)} "
            f"({show(left)} {operator} {show(right)})",
            "take one extent of a size with .t, .h or .w"
            if tuple in (type(left), type(right))
            else None,
        )
    match operator:
        case "+":
            return bounded(left + right)
        case "-":
            return bounded(left - right)
        case "*":
            return bounded(left * right)
        case "/":
            return divide(left, right)
        case "%":
            if right == 0:
                raise ValueFault("E0405", f"{show(left)} % 0 has no value")
            return left % right
        case "<":
            return left < right
        case "<=":
            return left <= right
        case ">":
            return left > right
        case _:
            assert operator == ">=", operator
            return left >= right


def divide(left: Any, right: Any) -> Any:
    """Two ints must divide without remainder; their quotient is an int."""
    if right == 0:
        raise ValueFault("E0405", f"{show(left)} / 0 has no value")
    if type(left) is int and type(right) is int:
        if left % right:
            raise ValueFault(
                "E0405",
                f"{left} does not divide by {right}: the remainder is {left % right}",
                f"div({left}, {right}) rounds down; {left} * (1.0 / {right}) is a ratio",
            )
        return left // right
    return bounded(left / right)


def bounded(value: Any) -> Any:
    """The value itself, unless it is a number that is too large to be exact, or not finite."""
    if type(value) is int and abs(value) > MAX_INT:
        raise ValueFault("E0406", "this number is larger than 2^53")
    if type(value) is float and not math.isfinite(value):
        raise ValueFault("E0406", "this number is not finite")
    return value


def negate(value: Any) -> Any:
    if not is_number(value):
        raise ValueFault("E0303", f"'-' takes a number, not a {type_name(value)}")
    return -value


def invert(value: Any) -> Any:
    return not need_bool("not", value)


def need_bool(operator: str, value: Any) -> bool:
    """The value itself, which must be true or false. There is no truth of other values."""
    if type(value) is not bool:
        raise ValueFault(
            "E0303", f"'{operator}' takes true or false, not the {type_name(value)} {show(value)}"
        )
    return value


def round8(value: float) -> int:
    """The nearest multiple of 8 that is at least 8 and at least 90 % of the value.

    It is the rule for widths in PySlowFast (slowfast/models/utils.py, round_width, divisor 8).
    """
    nearest = max(8, int(value + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * value else nearest


def _numbers(name: str, values: tuple[Any, ...]) -> None:
    for value in values:
        if not is_number(value):
            raise ValueFault(
                "E0303", f"{name} takes numbers, not the {type_name(value)} {show(value)}"
            )


def _extents(values: tuple[Any, ...]) -> tuple[int, int, int]:
    for value in values:
        if type(value) is not int:
            raise ValueFault("E0303", f"dims takes ints, not the {type_name(value)} {show(value)}")
    t, h, w = values
    return t, h, w


def _div(values: tuple[Any, ...]) -> Any:
    if any(type(v) is not int for v in values):
        raise ValueFault("E0303", "div takes two ints")
    if values[1] == 0:
        raise ValueFault("E0405", f"div({values[0]}, 0) has no value")
    return values[0] // values[1]


#: Name -> (smallest, largest number of arguments, function of the arguments, description).
BUILTINS: dict[str, tuple[int, int, Callable[[tuple[Any, ...]], Any], str]] = {
    "int": (1, 1, lambda v: int(v[0]), "a number without its fraction"),
    "round": (1, 1, lambda v: math.floor(v[0] + 0.5), "the nearest whole number"),
    "floor": (1, 1, lambda v: math.floor(v[0]), "the next whole number below"),
    "ceil": (1, 1, lambda v: math.ceil(v[0]), "the next whole number above"),
    "round8": (1, 1, lambda v: round8(v[0]), "the nearest multiple of 8, at least 8, >= 90 %"),
    "abs": (1, 1, lambda v: abs(v[0]), "a number without its sign"),
    "min": (1, 16, min, "the smallest of some numbers"),
    "max": (1, 16, max, "the largest of some numbers"),
    "div": (2, 2, _div, "one int by another, rounded down"),
    "dims": (3, 3, _extents, "a size from frames, height and width"),
}


def call_builtin(name: str, values: tuple[Any, ...]) -> Any:
    if name not in ("dims", "div"):
        _numbers(name, values)
    return bounded(BUILTINS[name][2](values)) if name != "dims" else _extents(values)


#: Member of a size -> its position.
DIMS_MEMBERS = {"t": 0, "h": 1, "w": 2}
#: Member of a tensor -> (position in the shape, ranks of tensors that have it).
TENSOR_MEMBERS = {
    "channels": (0, (1, 2, 4)),
    "frames": (1, (4,)),
    "height": (2, (4,)),
    "width": (3, (4,)),
    "positions": (1, (2,)),
}


def tensor_member(name: str, shape: Shape) -> int:
    """The extent of a tensor along the axis of that name."""
    position, ranks = TENSOR_MEMBERS[name]
    if len(shape) not in ranks:
        raise ValueFault("E0404", f"a tensor [{', '.join(map(str, shape))}] has no {name}")
    return shape[position]
