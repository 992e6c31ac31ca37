"""Packing of frames into channels."""

from __future__ import annotations

from pydantic import Field

from tsdsl.ir.layout import Axes, Occurrences, side_by_side
from tsdsl.ir.op import Extent, FunctionCall, Op, OpArgs, Shape, ShapeError
from tsdsl.ops.common import bounded, need_map


class TimeToChannelArgs(OpArgs):
    """Arguments of ``time_to_channel``."""

    n: Extent = Field(description="frames that are packed into the channels of one")


class TimeToChannel(Op):
    """Packs the channels of n consecutive frames into one frame, in order: [C, T, H, W] becomes
    [n * C, T / n, H, W]."""

    name = "time_to_channel"
    Args = TimeToChannelArgs
    lays_out = True
    examples = (({"n": 4}, ((3, 8, 5, 4),)), ({"n": 1}, ((3, 8, 5, 4),)))

    @staticmethod
    def infer(args: TimeToChannelArgs, *shapes: Shape) -> Shape:
        channels, frames, height, width = need_map("time_to_channel", shapes[0])
        if frames % args.n:
            raise ShapeError(f"{frames} frames do not divide into groups of {args.n}")
        packed = bounded("time_to_channel", channels * args.n, "channels")
        return packed, frames // args.n, height, width

    @classmethod
    def layout(
        cls,
        args: TimeToChannelArgs,
        shapes: tuple[Shape, ...],
        layouts: tuple[Axes, ...],
        occurrences: Occurrences,
    ) -> Axes:
        # Each frame has a segment of its own.
        n, (rows, _) = args.n, layouts[0]
        return side_by_side([rows] * n, [shapes[0][0]] * n, occurrences.extents * n), None

    @staticmethod
    def module(args: TimeToChannelArgs, *shapes: Shape) -> FunctionCall:
        packed = "{0}.unflatten(2, (-1, {n})).movedim(3, 1).flatten(1, 2)"
        return FunctionCall(packed, {"n": args.n})
