"""Average over all positions."""

from __future__ import annotations

from pydantic import Field

from tsdsl.ir.op import FunctionCall, Op, OpArgs, Shape, ShapeError
from tsdsl.ops.common import show


class GlobalAvgPoolArgs(OpArgs):
    """Arguments of ``global_avg_pool``."""

    keep: bool = Field(
        default=False, description="keep axes of extent 1, to multiply a map with the result"
    )


class GlobalAvgPool(Op):
    """The mean of each channel of a feature map or matrix. The result is a vector [C]; with
    ``keep`` it is [C, 1, 1, 1] or [C, 1]."""

    name = "global_avg_pool"
    Args = GlobalAvgPoolArgs
    keeps_zero = True
    examples = (
        ({}, ((5, 3, 4, 6),)),
        ({"keep": True}, ((5, 3, 4, 6),)),
        ({}, ((5, 12),)),
        ({"keep": True}, ((5, 12),)),
    )

    @staticmethod
    def infer(args: GlobalAvgPoolArgs, *shapes: Shape) -> Shape:
        channels, *rest = shapes[0]
        if not rest:
            raise ShapeError(f"global_avg_pool: {show(shapes[0])} has no positions to average")
        return (channels, *(1 for _ in rest)) if args.keep else (channels,)

    @classmethod
    def aligned(cls, args: GlobalAvgPoolArgs, *shapes: Shape) -> tuple[int, ...]:
        return (0,)

    @staticmethod
    def module(args: GlobalAvgPoolArgs, *shapes: Shape) -> FunctionCall:
        axes = ", ".join(str(axis + 1) for axis in range(1, len(shapes[0])))
        keep = ", keepdim=True" if args.keep else ""
        return FunctionCall(f"{{0}}.mean(({axes},){keep})")
