"""Product of two tensors."""

from __future__ import annotations

from tsdsl.ir.op import FunctionCall, Op, Shape, ShapeError
from tsdsl.ops.common import NoArgs, show


class Mul(Op):
    """Elementwise product, with broadcasting: an axis of extent 1 is repeated to the extent of the
    other tensor."""

    name = "mul"
    inputs = 2
    Args = NoArgs
    examples = (
        ({}, ((5, 3, 4, 6), (5, 3, 4, 6))),
        ({}, ((5, 3, 4, 6), (5, 1, 1, 1))),
        ({}, ((1, 3, 4, 6), (5, 3, 1, 1))),
        ({}, ((7,), (7,))),
        ({}, ((5, 8), (1, 8))),
    )

    @staticmethod
    def infer(args: NoArgs, *shapes: Shape) -> Shape:
        left, right = shapes
        if len(left) != len(right) or any(
            a != b and a != 1 and b != 1 for a, b in zip(left, right, strict=True)
        ):
            raise ShapeError(f"shapes {show(left)} and {show(right)} cannot be multiplied")
        return tuple(map(max, left, right))

    @classmethod
    def aligned(cls, args: NoArgs, *shapes: Shape) -> tuple[int, ...]:
        # A single channel that is broadcast is not aligned with the result's channels.
        channels = max(shape[0] for shape in shapes)
        return tuple(k for k, shape in enumerate(shapes) if shape[0] == channels)

    @staticmethod
    def module(args: NoArgs, *shapes: Shape) -> FunctionCall:
        return FunctionCall("{0} * {1}")
