"""Average pooling."""

from __future__ import annotations

from tsdsl.ir.op import ModuleCall, Op, Shape, ShapeError
from tsdsl.ops.common import need_map, show_dims
from tsdsl.ops.pool import EXAMPLES, PoolArgs, pool_call, pooled


class AvgPool(Op):
    """The mean of each window; padding counts as zeros."""

    name = "avg_pool"
    Args = PoolArgs
    keeps_zero = True
    examples = EXAMPLES

    @staticmethod
    def infer(args: PoolArgs, *shapes: Shape) -> Shape:
        result = pooled("avg_pool", args, shapes[0])
        _, *extents = need_map("avg_pool", shapes[0])
        # torch refuses this even where the padded input is large enough; its max pooling does not.
        if any(kernel > extent for kernel, extent in zip(args.kernel, extents, strict=True)):
            raise ShapeError(
                f"avg_pool: kernel {show_dims(args.kernel)} is larger than its input"
                f" {show_dims(extents)}; padding does not count here"
            )
        return result

    @classmethod
    def aligned(cls, args: PoolArgs, *shapes: Shape) -> tuple[int, ...]:
        return (0,)

    @staticmethod
    def module(args: PoolArgs, *shapes: Shape) -> ModuleCall:
        return pool_call("torch.nn.AvgPool3d", args)
