"""Average pooling."""

from __future__ import annotations

from tsdsl.ir.op import ModuleCall, Op, Shape
from tsdsl.ops.pool import EXAMPLES, PoolArgs, pool_call, pooled


class AvgPool(Op):
    """The mean over the window; padding counts as zeros."""

    name = "avg_pool"
    Args = PoolArgs
    examples = EXAMPLES

    @staticmethod
    def infer(args: PoolArgs, *shapes: Shape) -> Shape:
        return pooled("avg_pool", args, shapes[0])

    @staticmethod
    def module(args: PoolArgs, *shapes: Shape) -> ModuleCall:
        return pool_call("torch.nn.AvgPool3d", args)
