"""Rectified linear unit."""

from __future__ import annotations

from tsdsl.ops.common import Elementwise


class Relu(Elementwise):
    """max(x, 0)."""

    name = "relu"
    expression = "torch.nn.functional.relu({0})"
