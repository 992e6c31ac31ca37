"""Shared parts of maximum and average pooling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from tsdsl.ir.op import Extents, ModuleCall, Offsets, OpArgs, Shape, ShapeError
from tsdsl.ops.common import need_map, show_dims, slide


class PoolArgs(OpArgs):
    """Arguments of ``max_pool`` and ``avg_pool``."""

    kernel: Extents = Field(description="time x height x width of the window")
    stride: Extents | None = Field(
        default=None, description="steps of the window; left out, the window itself"
    )
    padding: Offsets = Field(default=(0, 0, 0), description="positions added on both sides")


#: `Op.examples` of both operations.
EXAMPLES: tuple[tuple[Mapping[str, Any], tuple[Shape, ...]], ...] = (
    ({"kernel": (1, 3, 3), "stride": (1, 2, 2), "padding": (0, 1, 1)}, ((3, 4, 9, 8),)),
    ({"kernel": (1, 2, 2)}, ((3, 4, 9, 8),)),
    ({"kernel": (2, 2, 2), "stride": (1, 1, 1)}, ((3, 4, 5, 5),)),
)


def pooled(name: str, args: PoolArgs, shape: Shape) -> Shape:
    """The shape of the result of a pooling. Raises `ShapeError`."""
    channels, t, h, w = need_map(name, shape)
    if any(2 * p > k for p, k in zip(args.padding, args.kernel, strict=True)):
        raise ShapeError(
            f"{name}: padding {show_dims(args.padding)} is more than half of the kernel"
            f" {show_dims(args.kernel)}"
        )
    stride = args.stride or args.kernel
    return (channels, *slide(name, (t, h, w), args.kernel, stride, args.padding, (1, 1, 1)))


def pool_call(target: str, args: PoolArgs) -> ModuleCall:
    """The call of a pooling module of torch; ``target`` is its class."""
    return ModuleCall(
        target,
        (args.kernel,),
        {"stride": args.stride or args.kernel, "padding": args.padding},
        defaults={"padding": (0, 0, 0)},
    )
