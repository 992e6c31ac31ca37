"""Swish."""

from __future__ import annotations

from tsdsl.ops.common import Elementwise


class Swish(Elementwise):
    """x * sigmoid(x), which torch calls SiLU."""

    name = "swish"
    expression = "torch.nn.functional.silu({0})"
