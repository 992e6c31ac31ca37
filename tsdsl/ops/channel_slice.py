"""Some of the channels."""

from __future__ import annotations

from pydantic import Field

from tsdsl.ir.layout import Axes, Occurrences, layout_of, positions
from tsdsl.ir.op import Channels, FunctionCall, Offset, Op, OpArgs, Shape, ShapeError


class ChannelSliceArgs(OpArgs):
    start: Offset = Field(description="the first channel, from 0")
    stop: Channels = Field(description="the channel after the last")


class ChannelSlice(Op):
    """Channels start to stop - 1, of a tensor of any rank."""

    name = "channel_slice"
    Args = ChannelSliceArgs
    leaves_out = True
    examples = (
        ({"start": 2, "stop": 5}, ((7, 3, 4, 5),)),
        ({"start": 0, "stop": 7}, ((7,),)),
        ({"start": 6, "stop": 7}, ((7, 5),)),
    )

    @staticmethod
    def infer(args: ChannelSliceArgs, *shapes: Shape) -> Shape:
        channels, *rest = shapes[0]
        if not args.start < args.stop <= channels:
            raise ShapeError(
                f"channel_slice: {args.start} to {args.stop} is no range of {channels} channels"
            )
        return (args.stop - args.start, *rest)

    @classmethod
    def layout(
        cls,
        args: ChannelSliceArgs,
        shapes: tuple[Shape, ...],
        layouts: tuple[Axes, ...],
        occurrences: Occurrences,
    ) -> Axes:
        rows, columns = layouts[0]
        if not occurrences.laid_out:
            # The first of these channels is the first in every architecture.
            return None, columns
        kept = positions(rows, shapes[0][0])[args.start : args.stop]
        return layout_of(kept, occurrences.extents[0]), columns

    @staticmethod
    def module(args: ChannelSliceArgs, *shapes: Shape) -> FunctionCall:
        return FunctionCall("{0}[:, {start}:{stop}]", {"start": args.start, "stop": args.stop})
