"""Logistic function."""

from __future__ import annotations

from tsdsl.ops.common import Elementwise


class Sigmoid(Elementwise):
    """1 / (1 + exp(-x))."""

    name = "sigmoid"
    expression = "torch.sigmoid({0})"
