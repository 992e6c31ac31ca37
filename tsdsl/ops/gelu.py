"""Gaussian error linear unit."""

from __future__ import annotations

from tsdsl.ir.op import FunctionCall, Shape
from tsdsl.ops.common import Elementwise, NoArgs


class Gelu(Elementwise):
    """Gaussian error linear unit: x * Phi(x), with the exact normal distribution function (arXiv
    1606.08415)."""

    name = "gelu"
    keeps_zero = True

    @staticmethod
    def module(args: NoArgs, *shapes: Shape) -> FunctionCall:
        return FunctionCall("torch.nn.functional.gelu({0})")
