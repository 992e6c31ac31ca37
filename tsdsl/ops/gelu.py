"""Gaussian error linear unit."""

from __future__ import annotations

from tsdsl.ir.op import FunctionCall, Shape
from tsdsl.ops.common import Elementwise, NoArgs


class Gelu(Elementwise):
    """x * Phi(x), with the exact normal distribution function."""

    name = "gelu"
    keeps_zero = True

    @staticmethod
    def module(args: NoArgs, *shapes: Shape) -> FunctionCall:
        return FunctionCall("torch.nn.functional.gelu({0})")
