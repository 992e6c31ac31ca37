"""Swish."""

from __future__ import annotations

from tsdsl.ir.op import FunctionCall, Shape
from tsdsl.ops.common import Elementwise, NoArgs


class Swish(Elementwise):
    """x * sigmoid(x), which torch calls SiLU."""

    name = "swish"
    keeps_zero = True

    @staticmethod
    def module(args: NoArgs, *shapes: Shape) -> FunctionCall:
        return FunctionCall("torch.nn.functional.silu({0})")
