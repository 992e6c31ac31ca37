"""Piecewise linear swish."""

from __future__ import annotations

from tsdsl.ops.common import Elementwise


class HardSwish(Elementwise):
    """x * clamp(x + 3, 0, 6) / 6."""

    name = "hardswish"
    expression = "torch.nn.functional.hardswish({0})"
