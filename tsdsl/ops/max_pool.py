"""Maximum pooling."""

from __future__ import annotations

from tsdsl.ir.op import ModuleCall, Op, Shape
from tsdsl.ops.pool import EXAMPLES, PoolArgs, pool_call, pooled


class MaxPool(Op):
    """The maximum of each window."""

    name = "max_pool"
    Args = PoolArgs
    keeps_zero = True
    examples = EXAMPLES

    @staticmethod
    def infer(args: PoolArgs, *shapes: Shape) -> Shape:
        return pooled("max_pool", args, shapes[0])

    @classmethod
    def aligned(cls, args: PoolArgs, *shapes: Shape) -> tuple[int, ...]:
        return (0,)

    @staticmethod
    def module(args: PoolArgs, *shapes: Shape) -> ModuleCall:
        return pool_call("torch.nn.MaxPool3d", args)
