"""Every n-th frame."""

from __future__ import annotations

from pydantic import Field

from tsdsl.ir.op import Extent, FunctionCall, Offset, Op, OpArgs, Shape, ShapeError
from tsdsl.ops.common import need_map


class TimeSampleArgs(OpArgs):
    """Arguments of ``time_sample``."""

    every: Extent = Field(description="one frame of this many is kept")
    start: Offset = Field(default=0, description="the first frame that is kept")


class TimeSample(Op):
    """Keeps the frames start, start + every, ...; the number of frames must be a multiple of
    ``every``."""

    name = "time_sample"
    Args = TimeSampleArgs
    keeps_zero = True
    examples = (
        ({"every": 4}, ((3, 8, 5, 4),)),
        ({"every": 2, "start": 1}, ((3, 8, 5, 4),)),
        ({"every": 1}, ((3, 5, 2, 2),)),
    )

    @staticmethod
    def infer(args: TimeSampleArgs, *shapes: Shape) -> Shape:
        channels, frames, height, width = need_map("time_sample", shapes[0])
        if frames % args.every:
            raise ShapeError(
                f"time_sample: {frames} frames are not a multiple of every = {args.every}"
            )
        if args.start >= args.every:
            raise ShapeError(f"time_sample: start {args.start} must be below every = {args.every}")
        return channels, frames // args.every, height, width

    @classmethod
    def aligned(cls, args: TimeSampleArgs, *shapes: Shape) -> tuple[int, ...]:
        return (0,)

    @staticmethod
    def module(args: TimeSampleArgs, *shapes: Shape) -> FunctionCall:
        if args.start:
            sampled = "{0}[:, :, {start}::{every}]"
            return FunctionCall(sampled, {"start": args.start, "every": args.every})
        return FunctionCall("{0}[:, :, ::{every}]", {"every": args.every})
