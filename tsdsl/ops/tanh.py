"""Hyperbolic tangent."""

from __future__ import annotations

from tsdsl.ops.common import Elementwise


class Tanh(Elementwise):
    """Hyperbolic tangent."""

    name = "tanh"
    expression = "torch.tanh({0})"
