"""What the two window poolings share."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from tsdsl.ir.op import Extents, ModuleCall, Offsets, Op, OpArgs, Shape, ShapeError
from tsdsl.ops.common import need_map, show_dims, slide


class PoolArgs(OpArgs):
    kernel: Extents = Field(description="time x height x width of the window")
    stride: Extents | None = Field(
        default=None, description="steps of the window; left out, the window itself"
    )
    padding: Offsets = Field(default=(0, 0, 0), description="positions added on both sides")


class Pool(Op):
    """A window that slides over time and space and gives one value per channel."""

    Args = PoolArgs
    examples = (
        ({"kernel": (1, 3, 3), "stride": (1, 2, 2), "padding": (0, 1, 1)}, ((3, 4, 9, 8),)),
        ({"kernel": (1, 2, 2)}, ((3, 4, 9, 8),)),
        ({"kernel": (2, 2, 2), "stride": (1, 1, 1)}, ((3, 4, 5, 5),)),
    )
    target: ClassVar[str]

    @classmethod
    def infer(cls, args: PoolArgs, *shapes: Shape) -> Shape:
        channels, t, h, w = need_map(cls.name, shapes[0])
        if any(2 * p > k for p, k in zip(args.padding, args.kernel, strict=True)):
            raise ShapeError(
                f"{cls.name}: padding {show_dims(args.padding)} is more than half of the kernel"
                f" {show_dims(args.kernel)}"
            )
        stride = args.stride or args.kernel
        return (channels, *slide(cls.name, (t, h, w), args.kernel, stride, args.padding, (1, 1, 1)))

    @classmethod
    def module(cls, args: PoolArgs, *shapes: Shape) -> ModuleCall:
        return ModuleCall(
            cls.target,
            (args.kernel,),
            {"stride": args.stride or args.kernel, "padding": args.padding},
            defaults={"padding": (0, 0, 0)},
        )
