"""Maximum pooling."""

from __future__ import annotations

from tsdsl.ops.pool import Pool


class MaxPool(Pool):
    """The largest value in the window."""

    name = "max_pool"
    target = "torch.nn.MaxPool3d"
