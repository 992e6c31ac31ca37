"""Hyperbolic tangent."""

from __future__ import annotations

from tsdsl.ir.op import FunctionCall, Shape
from tsdsl.ops.common import Elementwise, NoArgs


class Tanh(Elementwise):
    """Hyperbolic tangent."""

    name = "tanh"
    keeps_zero = True

    @staticmethod
    def module(args: NoArgs, *shapes: Shape) -> FunctionCall:
        return FunctionCall("torch.tanh({0})")
