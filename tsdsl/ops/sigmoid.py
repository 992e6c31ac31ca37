"""Logistic function."""

from __future__ import annotations

from tsdsl.ir.op import FunctionCall, Shape
from tsdsl.ops.common import Elementwise, NoArgs


class Sigmoid(Elementwise):
    """Logistic function: 1 / (1 + exp(-x))."""

    name = "sigmoid"

    @staticmethod
    def module(args: NoArgs, *shapes: Shape) -> FunctionCall:
        return FunctionCall("torch.sigmoid({0})")
