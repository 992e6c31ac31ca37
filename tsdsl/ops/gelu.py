"""Gaussian error linear unit."""

from __future__ import annotations

from tsdsl.ops.common import Elementwise


class Gelu(Elementwise):
    """x * Phi(x), with the exact normal distribution function."""

    name = "gelu"
    expression = "torch.nn.functional.gelu({0})"
