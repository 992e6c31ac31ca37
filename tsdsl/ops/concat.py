"""Concatenation of channels."""

from __future__ import annotations

from tsdsl.ir.layout import Axes, Occurrences, side_by_side
from tsdsl.ir.op import FunctionCall, Op, Shape, ShapeError
from tsdsl.ops.common import NoArgs, bounded, show


class Concat(Op):
    """Concatenates the channels of one or more tensors, whose other extents are equal."""

    name = "concat"
    inputs = None
    joins = True
    Args = NoArgs
    lays_out = True
    examples = (
        ({}, ((5, 3, 4, 6), (2, 3, 4, 6))),
        ({}, ((7,), (4,), (1,))),
        ({}, ((3, 8), (3, 8))),
        ({}, ((3, 8),)),
    )

    @staticmethod
    def infer(args: NoArgs, *shapes: Shape) -> Shape:
        first, *others = shapes
        for other in others:
            if len(other) != len(first) or other[1:] != first[1:]:
                raise ShapeError(
                    f"shapes {show(first)} and {show(other)} cannot be concatenated: they differ"
                    " in more than the channels"
                )
        return (bounded("concat", sum(shape[0] for shape in shapes), "channels"), *first[1:])

    @classmethod
    def layout(
        cls,
        args: NoArgs,
        shapes: tuple[Shape, ...],
        layouts: tuple[Axes, ...],
        occurrences: Occurrences,
    ) -> Axes:
        rows = [own[0] for own in layouts]
        joined = side_by_side(rows, [shape[0] for shape in shapes], occurrences.extents)
        return joined, next((own[1] for own in layouts if own[1]), None)

    @staticmethod
    def module(args: NoArgs, *shapes: Shape) -> FunctionCall:
        places = ", ".join(f"{{{i}}}" for i in range(len(shapes)))
        return FunctionCall(f"torch.cat([{places}], dim=1)")
