"""Transposition of a matrix."""

from __future__ import annotations

from tsdsl.ir.layout import Axes, Occurrences
from tsdsl.ir.op import FunctionCall, Op, Shape
from tsdsl.ops.common import NoArgs, need_matrix


class Transpose(Op):
    """Transposes a matrix: [A, B] becomes [B, A]."""

    name = "transpose"
    Args = NoArgs
    examples = (({}, ((3, 5),)),)

    @staticmethod
    def infer(args: NoArgs, *shapes: Shape) -> Shape:
        rows, columns = need_matrix("transpose", shapes[0])
        return columns, rows

    @classmethod
    def layout(
        cls,
        args: NoArgs,
        shapes: tuple[Shape, ...],
        layouts: tuple[Axes, ...],
        occurrences: Occurrences,
    ) -> Axes:
        rows, columns = layouts[0]
        return columns, rows

    @staticmethod
    def module(args: NoArgs, *shapes: Shape) -> FunctionCall:
        return FunctionCall("{0}.transpose(1, 2)")
