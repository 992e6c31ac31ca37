"""Rectified linear unit."""

from __future__ import annotations

from tsdsl.ir.op import FunctionCall, Shape
from tsdsl.ops.common import Elementwise, NoArgs


class Relu(Elementwise):
    """Rectified linear unit: max(x, 0)."""

    name = "relu"
    keeps_zero = True

    @staticmethod
    def module(args: NoArgs, *shapes: Shape) -> FunctionCall:
        return FunctionCall(
            "torch.nn.functional.relu({0})",
            in_place="torch.nn.functional.relu({0}, inplace=True)",
        )
