"""Convolution over time and space."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, prod
from typing import Any

from pydantic import Field

from tsdsl.ir.layout import PLAIN, Axes, Occurrences, layout_of, positions, ranked
from tsdsl.ir.op import (
    Channels,
    Dims,
    Extents,
    ModuleCall,
    Offsets,
    Op,
    OpArgs,
    Param,
    Shape,
    ShapeError,
)
from tsdsl.ops.common import initialisation, need_map, slide


class ConvArgs(OpArgs):
    """Arguments of ``conv``."""

    out: Channels = Field(description="channels of the result")
    kernel: Extents = Field(description="time x height x width of the kernel")
    stride: Extents = Field(default=(1, 1, 1), description="steps of the kernel")
    groups: Channels = Field(
        default=1, description="channels are split into this many independent groups"
    )
    padding: Offsets | None = Field(
        default=None,
        description="zeros added on both sides; left out, half the kernel: an odd kernel of"
        " stride 1 keeps the size",
    )
    dilation: Extents = Field(default=(1, 1, 1), description="distance between kernel taps")
    bias: bool = Field(default=False, description="add a learned value to each channel")


class Conv(Op):
    """A 3-D convolution. It is depthwise if ``groups`` equals the channels.

    Weights have He's normal initialisation with the fan-out and the gain of ReLU, as in the
    SlowFast code base (slowfast/utils/weight_init_helper.py). As there, the fan ignores groups.
    """

    name = "conv"
    Args = ConvArgs
    examples = (
        ({"out": 8, "kernel": (3, 3, 3)}, ((6, 5, 9, 8),)),
        ({"out": 8, "kernel": (1, 1, 1), "bias": True}, ((6, 5, 9, 8),)),
        ({"out": 6, "kernel": (5, 1, 1), "groups": 6}, ((6, 4, 7, 7),)),
        ({"out": 8, "kernel": (1, 7, 7), "stride": (1, 2, 2)}, ((3, 4, 16, 15),)),
        ({"out": 4, "kernel": (7, 1, 1), "stride": (4, 1, 1)}, ((2, 16, 5, 5),)),
        ({"out": 12, "kernel": (3, 3, 3), "groups": 3, "padding": (0, 1, 2)}, ((6, 5, 9, 8),)),
        ({"out": 4, "kernel": (3, 3, 3), "dilation": (1, 2, 3)}, ((4, 5, 9, 8),)),
        ({"out": 4, "kernel": (2, 4, 2), "stride": (2, 2, 2)}, ((4, 6, 8, 8),)),
    )

    @staticmethod
    def infer(args: ConvArgs, *shapes: Shape) -> Shape:
        channels, *sizes = need_map("conv", shapes[0])
        for count, what in ((channels, "channels"), (args.out, "output channels")):
            if count % args.groups:
                raise ShapeError(f"{count} {what} do not divide into {args.groups} groups")
        found = slide(
            "conv",
            (sizes[0], sizes[1], sizes[2]),
            args.kernel,
            args.stride,
            _padding(args),
            args.dilation,
        )
        return (args.out, *found)

    @staticmethod
    def params(args: ConvArgs, *shapes: Shape) -> tuple[Param, ...]:
        shape = (args.out, shapes[0][0] // args.groups, *args.kernel)
        weight = Param("weight", ("OUT", "IN", "KT", "KH", "KW"), shape, "he")
        return (weight, Param("bias", ("OUT",), (args.out,), "zeros")) if args.bias else (weight,)

    @staticmethod
    def macs(args: ConvArgs, *shapes: Shape) -> int:
        per_position = args.out * (shapes[0][0] // args.groups) * prod(args.kernel)
        return per_position * prod(Conv.infer(args, *shapes)[1:])

    @classmethod
    def aligned(cls, args: ConvArgs, *shapes: Shape) -> tuple[int, ...]:
        # Only a depthwise convolution keeps channels apart.
        return (0,) if args.groups == args.out == shapes[0][0] else ()

    @classmethod
    def layout(
        cls,
        args: ConvArgs,
        shapes: tuple[Shape, ...],
        layouts: tuple[Axes, ...],
        occurrences: Occurrences,
    ) -> Axes:
        """With groups, the outputs of a group have the positions of its inputs, scaled by the
        largest number of outputs per input. That needs groups whose inputs are consecutive
        positions. If a group has inputs from two segments, outputs are ranked as for a plain input,
        and groups of different inputs of a ``concat`` share weights."""
        rows, channels = layouts[0][0], shapes[0][0]
        if args.groups == 1 or not occurrences.laid_out:
            return PLAIN
        found = positions(rows, channels)
        inputs, outputs = channels // args.groups, args.out // args.groups
        first = found[::inputs]
        if found != [p + j for p in first for j in range(inputs)]:
            return PLAIN
        # Positions per input: those of the configuration with the most outputs per input.
        most = max(Fraction(own.out, taken[0][0]) for own, taken in occurrences.configurations)
        placed = (ceil(p * most) + j for p in first for j in range(outputs))
        return ranked(layout_of(placed, ceil(occurrences.extents[0] * most))), None

    @staticmethod
    def module(args: ConvArgs, *shapes: Shape) -> ModuleCall:
        settings: dict[str, Any] = {
            "stride": args.stride,
            "padding": _padding(args),
            "dilation": args.dilation,
            "groups": args.groups,
            "bias": args.bias,
        }
        return ModuleCall(
            "torch.nn.Conv3d",
            (shapes[0][0], args.out, args.kernel),
            settings,
            initialisation(Conv.params(args, *shapes)),
            defaults={
                "stride": (1, 1, 1),
                "padding": (0, 0, 0),
                "dilation": (1, 1, 1),
                "groups": 1,
                "bias": True,
            },
        )


def _padding(args: ConvArgs) -> Dims:
    """The padding on both sides, in positions: as given, or half of the dilated kernel."""
    if args.padding is not None:
        return args.padding
    (t, h, w), (dt, dh, dw) = args.kernel, args.dilation
    return dt * (t // 2), dh * (h // 2), dw * (w // 2)
