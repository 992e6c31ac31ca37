"""Softmax."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tsdsl.ir.op import FunctionCall, Op, OpArgs, Shape, ShapeError
from tsdsl.ops.common import show


class SoftmaxArgs(OpArgs):
    """Arguments of ``softmax``."""

    axis: Literal["channels", "positions"] = Field(
        default="channels", description='what sums to 1: "channels" or "positions"'
    )


class Softmax(Op):
    """Exponentials, normalised to sum to 1 over the channels of each position, or over all
    positions of each channel."""

    name = "softmax"
    Args = SoftmaxArgs
    examples = (
        ({}, ((7,),)),
        ({"axis": "positions"}, ((7, 5),)),
        ({"axis": "positions"}, ((7, 2, 3, 5),)),
        ({"axis": "channels"}, ((7, 2, 3, 5),)),
    )

    @staticmethod
    def infer(args: SoftmaxArgs, *shapes: Shape) -> Shape:
        if args.axis == "positions" and len(shapes[0]) == 1:
            raise ShapeError(f"softmax over positions: {show(shapes[0])} has none")
        return shapes[0]

    @classmethod
    def aligned(cls, args: SoftmaxArgs, *shapes: Shape) -> tuple[int, ...]:
        return (0,)

    @staticmethod
    def module(args: SoftmaxArgs, *shapes: Shape) -> FunctionCall:
        if args.axis == "channels":
            return FunctionCall("{0}.softmax(1)")
        if len(shapes[0]) == 2:
            return FunctionCall("{0}.softmax(2)")
        return FunctionCall("{0}.flatten(2).softmax(2).unflatten(2, {0}.shape[2:])")
