"""What several operations share: reading shapes, wording what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from tsdsl.ir.op import (
    MAX_EXTENT,
    Dims,
    Init,
    Op,
    OpArgs,
    Param,
    Shape,
    ShapeError,
)

_RANKS = {1: "a vector [channels]", 2: "a matrix [channels, positions]", 4: "a feature map"}
AXES = ("frames", "height", "width")


class NoArgs(OpArgs):
    """An operation without arguments."""


class Elementwise(Op):
    """One tensor of any rank, value by value: a subclass has only `module` to add."""

    Args = NoArgs
    keeps_shape = True
    examples = (({}, ((5, 3, 4, 6),)), ({}, ((7,),)), ({}, ((3, 11),)))

    @staticmethod
    def infer(args: NoArgs, *shapes: Shape) -> Shape:
        return shapes[0]


def show(shape: Iterable[int]) -> str:
    """A shape as messages have it."""
    return f"[{', '.join(map(str, shape))}]"


def show_dims(dims: Iterable[int]) -> str:
    """Sizes as they are written in a spec: 1x3x3."""
    return "x".join(map(str, dims))


def need_map(name: str, shape: Shape) -> tuple[int, int, int, int]:
    """The extents of a feature map, or an error that says what was given instead."""
    if len(shape) != 4:
        raise ShapeError(
            f"{name} takes a feature map [channels, frames, height, width],"
            f" not {_rank(shape)} {show(shape)}"
        )
    return shape[0], shape[1], shape[2], shape[3]


def need_matrix(name: str, shape: Shape) -> tuple[int, int]:
    if len(shape) != 2:
        raise ShapeError(
            f"{name} takes a matrix [channels, positions], not {_rank(shape)} {show(shape)}"
        )
    return shape[0], shape[1]


def _rank(shape: Shape) -> str:
    return _RANKS.get(len(shape), "a tensor").split(" [", maxsplit=1)[0]


def positions(shape: Shape) -> int:
    """How many vectors of channels a tensor holds."""
    return prod(shape[1:])


def bounded(name: str, extent: int, what: str) -> int:
    """An extent that came out of arithmetic, within what is taken for meant."""
    if extent > MAX_EXTENT:
        raise ShapeError(f"{name} would give {extent:,} {what}; the limit is {MAX_EXTENT:,}")
    return extent


def slide(
    name: str, sizes: Dims, kernel: Dims, stride: Dims, padding: Dims, dilation: Dims
) -> Dims:
    """The extents of a sliding window's result: torch's floor rule."""
    found: list[int] = []
    for axis, size, k, s, p, d in zip(AXES, sizes, kernel, stride, padding, dilation, strict=True):
        reach = d * (k - 1) + 1
        if reach > size + 2 * p:
            spread = f" (dilated {d} times: {reach})" if d > 1 else ""
            padded = f" padded to {size + 2 * p}" if p else ""
            raise ShapeError(
                f"{name}: kernel {k}{spread} is larger than the {axis} {size}{padded}"
                f" (kernel {show_dims(kernel)} on {show_dims(sizes)})"
            )
        found.append((size + 2 * p - reach) // s + 1)
    return found[0], found[1], found[2]


def initialisation(params: Iterable[Param], own: Iterable[Init] = ()) -> dict[str, Init]:
    """`ModuleCall.init` from the parameters: what differs from ``own``, torch's own choice."""
    return {param.name: param.init for param in params if param.init not in own}
