"""Shared parts of operations: base classes, checks of shapes and their messages."""

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
    """The arguments of an operation that has none."""


class Elementwise(Op):
    """An elementwise function of one tensor of any rank. A subclass defines `module`."""

    Args = NoArgs
    keeps_shape = True
    examples = (({}, ((5, 3, 4, 6),)), ({}, ((7,),)), ({}, ((3, 11),)))

    @staticmethod
    def infer(args: NoArgs, *shapes: Shape) -> Shape:
        return shapes[0]


def show(shape: Iterable[int]) -> str:
    """Write a shape for a message: [64, 4, 56, 56]."""
    return f"[{', '.join(map(str, shape))}]"


def show_dims(dims: Iterable[int]) -> str:
    """Write sizes as in a spec: 1x3x3."""
    return "x".join(map(str, dims))


def need_map(name: str, shape: Shape) -> tuple[int, int, int, int]:
    """The extents (channels, frames, height, width) of a feature map. Raises `ShapeError` for a
    tensor that is not one."""
    if len(shape) != 4:
        raise ShapeError(
            f"{name} takes a feature map [channels, frames, height, width],"
            f" not {_rank(shape)} {show(shape)}"
        )
    return shape[0], shape[1], shape[2], shape[3]


def need_matrix(name: str, shape: Shape) -> tuple[int, int]:
    """The extents (channels, positions) of a matrix. Raises `ShapeError` for a tensor that is not
    one."""
    if len(shape) != 2:
        raise ShapeError(
            f"{name} takes a matrix [channels, positions], not {_rank(shape)} {show(shape)}"
        )
    return shape[0], shape[1]


def _rank(shape: Shape) -> str:
    return _RANKS.get(len(shape), "a tensor").split(" [", maxsplit=1)[0]


def positions(shape: Shape) -> int:
    """Number of positions of a tensor: the product of all extents except the channels."""
    return prod(shape[1:])


def bounded(name: str, extent: int, what: str) -> int:
    """A computed extent; ``what`` it counts is for the message. Raises `ShapeError` if it exceeds
    `MAX_EXTENT`."""
    if extent > MAX_EXTENT:
        raise ShapeError(f"{name} would give {extent:,} {what}; the limit is {MAX_EXTENT:,}")
    return extent


def slide(
    name: str, sizes: Dims, kernel: Dims, stride: Dims, padding: Dims, dilation: Dims
) -> Dims:
    """The output extents of a sliding window, by torch's rule (``ceil_mode=False``):

        floor((size + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1

    Raises `ShapeError` if the kernel is larger than the padded input."""
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
    """`ModuleCall.init` of some parameters: the initialisations that are not among ``own``, those
    that torch's module has by itself."""
    return {param.name: param.init for param in params if param.init not in own}
