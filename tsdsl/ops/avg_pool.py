"""Average pooling."""

from __future__ import annotations

from tsdsl.ops.pool import Pool


class AvgPool(Pool):
    """The mean over the window; padding counts as zeros."""

    name = "avg_pool"
    target = "torch.nn.AvgPool3d"
