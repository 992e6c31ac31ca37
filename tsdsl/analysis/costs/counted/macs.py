"""Multiply-accumulates."""

from __future__ import annotations

from tsdsl.analysis.costs.cost import Cost
from tsdsl.ir.op import Op, OpArgs, Shape


class Macs(Cost):
    """Multiply-accumulates of convolutions, linear layers and matrix products, for one clip. The
    project counts one multiply-accumulate as one FLOP, as papers on video networks do."""

    name = "macs"
    unit = ""
    aliases = ("flops",)
    noun = "multiply-adds"
    symbol = "FLOPs"

    def is_free(self, op: type[Op]) -> bool:
        return op.macs is Op.macs

    def value(self, op: type[Op], args: OpArgs, shapes: tuple[Shape, ...]) -> int:
        return op.macs(args, *shapes)
