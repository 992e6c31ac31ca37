"""Batch normalisation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tsdsl.ir.op import ModuleCall, Op, OpArgs, Param, Shape
from tsdsl.ops.common import initialisation


class BatchNormArgs(OpArgs):
    """Arguments of ``bn``."""

    init: Literal[0, 1] = Field(
        default=1,
        description="initial scale; 0 makes a residual block start as its shortcut",
    )
    eps: float = Field(default=1e-5, gt=0, le=1, description="added to the variance")
    momentum: float = Field(
        default=0.1, gt=0, le=1, description="share of a batch in the running statistics"
    )


class BatchNorm(Op):
    """Batch normalisation: normalises each channel over batch and positions, then scales and shifts
    it."""

    name = "bn"
    Args = BatchNormArgs
    keeps_shape = True
    examples = (
        ({}, ((5, 3, 4, 6),)),
        ({"init": 0}, ((5, 3, 4, 6),)),
        ({"eps": 1e-3, "momentum": 0.01}, ((4, 9),)),
        ({"init": 0}, ((7,),)),
    )

    @staticmethod
    def infer(args: BatchNormArgs, *shapes: Shape) -> Shape:
        return shapes[0]

    @staticmethod
    def params(args: BatchNormArgs, *shapes: Shape) -> tuple[Param, ...]:
        size = (shapes[0][0],)
        weight = Param("weight", ("CHANNELS",), size, "ones" if args.init else "zeros")
        return weight, Param("bias", ("CHANNELS",), size, "zeros")

    @staticmethod
    def module(args: BatchNormArgs, *shapes: Shape) -> ModuleCall:
        weight, _ = BatchNorm.params(args, *shapes)
        return ModuleCall(
            "torch.nn.BatchNorm3d" if len(shapes[0]) == 4 else "torch.nn.BatchNorm1d",
            shapes[0][:1],
            {"eps": args.eps, "momentum": args.momentum},
            initialisation([weight], own=["ones"]),
            defaults={"eps": 1e-5, "momentum": 0.1},
        )
