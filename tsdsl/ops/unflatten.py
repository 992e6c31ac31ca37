"""From a matrix to a feature map."""

from __future__ import annotations

from tsdsl.ir.layout import Axes, Occurrences
from tsdsl.ir.op import FunctionCall, Op, Shape, ShapeError
from tsdsl.ops.common import NoArgs, need_map, need_matrix, show


class Unflatten(Op):
    """Reverses ``flatten``: [C, P] becomes [C, T, H, W] with the frames, height and width of a
    second tensor."""

    name = "unflatten"
    inputs = 2
    Args = NoArgs
    examples = (({}, ((3, 40), (7, 2, 5, 4))),)

    @staticmethod
    def infer(args: NoArgs, *shapes: Shape) -> Shape:
        channels, found = need_matrix("unflatten", shapes[0])
        _, t, h, w = need_map("unflatten, second,", shapes[1])
        if found != t * h * w:
            raise ShapeError(
                f"unflatten: {found} positions are not the {t * h * w} of {show(shapes[1])}"
            )
        return channels, t, h, w

    @classmethod
    def aligned(cls, args: NoArgs, *shapes: Shape) -> tuple[int, ...]:
        return (0,)

    @classmethod
    def layout(
        cls,
        args: NoArgs,
        shapes: tuple[Shape, ...],
        layouts: tuple[Axes, ...],
        occurrences: Occurrences,
    ) -> Axes:
        return layouts[0][0], None

    @staticmethod
    def module(args: NoArgs, *shapes: Shape) -> FunctionCall:
        return FunctionCall("{0}.unflatten(2, {1}.shape[2:])")
