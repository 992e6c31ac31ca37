"""From a feature map to a matrix."""

from __future__ import annotations

from tsdsl.ir.op import FunctionCall, Op, Shape
from tsdsl.ops.common import NoArgs, need_map


class Flatten(Op):
    """Joins the positions of a feature map: [C, T, H, W] becomes [C, T * H * W]."""

    name = "flatten"
    Args = NoArgs
    keeps_zero = True
    examples = (({}, ((3, 2, 5, 4),)),)

    @staticmethod
    def infer(args: NoArgs, *shapes: Shape) -> Shape:
        channels, t, h, w = need_map("flatten", shapes[0])
        return channels, t * h * w

    @classmethod
    def aligned(cls, args: NoArgs, *shapes: Shape) -> tuple[int, ...]:
        return (0,)

    @staticmethod
    def module(args: NoArgs, *shapes: Shape) -> FunctionCall:
        return FunctionCall("{0}.flatten(2)")
