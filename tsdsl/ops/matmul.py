"""Matrix product."""

from __future__ import annotations

from tsdsl.ir.layout import Axes, Occurrences
from tsdsl.ir.op import FunctionCall, Op, Shape, ShapeError
from tsdsl.ops.common import NoArgs, need_matrix, show


class Matmul(Op):
    """Matrix product for each clip of the batch: [A, K] times [K, B] is [A, B]."""

    name = "matmul"
    inputs = 2
    Args = NoArgs
    examples = (({}, ((3, 5), (5, 7))), ({}, ((1, 4), (4, 1))))

    @staticmethod
    def infer(args: NoArgs, *shapes: Shape) -> Shape:
        (a, k), (other, b) = (need_matrix("matmul", shape) for shape in shapes)
        if k != other:
            raise ShapeError(
                f"matmul of {show(shapes[0])} and {show(shapes[1])}: {k} columns against"
                f" {other} rows"
            )
        return a, b

    @staticmethod
    def macs(args: NoArgs, *shapes: Shape) -> int:
        return shapes[0][0] * shapes[0][1] * shapes[1][1]

    @classmethod
    def layout(
        cls,
        args: NoArgs,
        shapes: tuple[Shape, ...],
        layouts: tuple[Axes, ...],
        occurrences: Occurrences,
    ) -> Axes:
        (rows, _), (_, columns) = layouts
        return rows, columns

    @staticmethod
    def module(args: NoArgs, *shapes: Shape) -> FunctionCall:
        return FunctionCall("torch.matmul({0}, {1})")
