"""Channels of several groups, interleaved."""

from __future__ import annotations

from pydantic import Field

from tsdsl.ir.layout import Axes, Occurrences, layout_of, positions, ranked
from tsdsl.ir.op import Channels, FunctionCall, Op, OpArgs, Shape, ShapeError


class ChannelShuffleArgs(OpArgs):
    groups: Channels = Field(description="groups whose channels are interleaved")


class ChannelShuffle(Op):
    """Channel i of each group in turn, as in ShuffleNet (arXiv 1707.01083)."""

    name = "channel_shuffle"
    Args = ChannelShuffleArgs
    examples = (
        ({"groups": 2}, ((6, 3, 4, 5),)),
        ({"groups": 3}, ((6,),)),
        ({"groups": 1}, ((5, 7),)),
    )

    @staticmethod
    def infer(args: ChannelShuffleArgs, *shapes: Shape) -> Shape:
        if shapes[0][0] % args.groups:
            raise ShapeError(f"{shapes[0][0]} channels do not divide into {args.groups} groups")
        return shapes[0]

    @classmethod
    def layout(
        cls,
        args: ChannelShuffleArgs,
        shapes: tuple[Shape, ...],
        layouts: tuple[Axes, ...],
        occurrences: Occurrences,
    ) -> Axes:
        rows, columns = layouts[0]
        if not occurrences.laid_out:
            # Channels of one tensor: as anywhere, a narrower architecture takes the first ones.
            return None, columns
        found = positions(rows, shapes[0][0])
        size = len(found) // args.groups
        shuffled = [found[k * size + j] for j in range(size) for k in range(args.groups)]
        return ranked(layout_of(shuffled, occurrences.extents[0])), columns

    @staticmethod
    def module(args: ChannelShuffleArgs, *shapes: Shape) -> FunctionCall:
        shuffled = "{0}.unflatten(1, ({groups}, -1)).transpose(1, 2).flatten(1, 2)"
        return FunctionCall(shuffled, {"groups": args.groups})
