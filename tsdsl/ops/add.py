"""Sum of two tensors."""

from __future__ import annotations

from tsdsl.ir.op import FunctionCall, Op, Shape, ShapeError
from tsdsl.ops.common import NoArgs, show


class Add(Op):
    """Elementwise sum. The shapes are equal, or one of them is [C, 1, ...]: a value per channel.

    No other broadcasting is allowed, as a sum of two maps of different sizes is usually a mistake.
    """

    name = "add"
    inputs = 2
    joins = True
    Args = NoArgs
    overwritable = True
    examples = (
        ({}, ((5, 3, 4, 6), (5, 3, 4, 6))),
        ({}, ((5, 3, 4, 6), (5, 1, 1, 1))),
        ({}, ((5, 1), (5, 8))),
        ({}, ((7,), (7,))),
    )

    @staticmethod
    def infer(args: NoArgs, *shapes: Shape) -> Shape:
        left, right = shapes
        if left == right or _per_channel(right, left):
            return left
        if _per_channel(left, right):
            return right
        raise ShapeError(f"shapes {show(left)} and {show(right)} cannot be added")

    @classmethod
    def aligned(cls, args: NoArgs, *shapes: Shape) -> tuple[int, ...]:
        return 0, 1

    @staticmethod
    def module(args: NoArgs, *shapes: Shape) -> FunctionCall:
        return FunctionCall("{0} + {1}")


def _per_channel(small: Shape, large: Shape) -> bool:
    return (
        len(small) == len(large) > 1
        and small[0] == large[0]
        and all(extent == 1 for extent in small[1:])
    )
