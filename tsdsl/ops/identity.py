"""The identity."""

from __future__ import annotations

from tsdsl.ir.op import FunctionCall, Shape
from tsdsl.ops.common import Elementwise, NoArgs


class Identity(Elementwise):
    """Returns its input. The options ``none`` and ``skip`` of a spec are this operation."""

    name = "identity"
    keeps_zero = True

    @staticmethod
    def module(args: NoArgs, *shapes: Shape) -> FunctionCall:
        return FunctionCall("{0}")
