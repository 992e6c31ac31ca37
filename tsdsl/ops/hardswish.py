"""Piecewise linear swish."""

from __future__ import annotations

from tsdsl.ir.op import FunctionCall, Shape
from tsdsl.ops.common import Elementwise, NoArgs


class HardSwish(Elementwise):
    """Piecewise approximation of swish: x * clamp(x + 3, 0, 6) / 6 (MobileNetV3, arXiv
    1905.02244)."""

    name = "hardswish"
    keeps_zero = True

    @staticmethod
    def module(args: NoArgs, *shapes: Shape) -> FunctionCall:
        return FunctionCall("torch.nn.functional.hardswish({0})")
