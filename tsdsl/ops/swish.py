"""Swish."""

from __future__ import annotations

from tsdsl.ir.op import FunctionCall, Shape
from tsdsl.ops.common import Elementwise, NoArgs


class Swish(Elementwise):
    """Swish: x * sigmoid(x), which torch calls SiLU (arXiv 1710.05941)."""

    name = "swish"
    keeps_zero = True

    @staticmethod
    def module(args: NoArgs, *shapes: Shape) -> FunctionCall:
        return FunctionCall("torch.nn.functional.silu({0})")
