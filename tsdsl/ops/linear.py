"""Linear layer."""

from __future__ import annotations

from pydantic import Field

from tsdsl.ir.layout import Axes, Occurrences
from tsdsl.ir.op import Channels, ModuleCall, Op, OpArgs, Param, Shape
from tsdsl.ops.common import initialisation, positions


class LinearArgs(OpArgs):
    """Arguments of ``linear``."""

    out: Channels = Field(description="channels of the result")
    bias: bool = Field(default=True, description="add a learned value to each channel")


class Linear(Op):
    """A fully connected layer over the channels of a vector, or over those of each position of a
    feature map or matrix.

    Weights are initialised as in the SlowFast code base, from a normal distribution with standard
    deviation 0.01; the bias is 0.
    """

    name = "linear"
    Args = LinearArgs
    examples = (
        ({"out": 4}, ((7,),)),
        ({"out": 4, "bias": False}, ((7,),)),
        ({"out": 4}, ((7, 11),)),
        ({"out": 4, "bias": False}, ((7, 2, 3, 5),)),
        ({"out": 4}, ((7, 2, 3, 5),)),
    )

    @staticmethod
    def infer(args: LinearArgs, *shapes: Shape) -> Shape:
        return (args.out, *shapes[0][1:])

    @staticmethod
    def params(args: LinearArgs, *shapes: Shape) -> tuple[Param, ...]:
        weight = Param("weight", ("OUT", "IN"), (args.out, shapes[0][0]), "linear")
        return (weight, Param("bias", ("OUT",), (args.out,), "zeros")) if args.bias else (weight,)

    @staticmethod
    def macs(args: LinearArgs, *shapes: Shape) -> int:
        return args.out * shapes[0][0] * positions(shapes[0])

    @classmethod
    def layout(
        cls,
        args: LinearArgs,
        shapes: tuple[Shape, ...],
        layouts: tuple[Axes, ...],
        occurrences: Occurrences,
    ) -> Axes:
        return None, layouts[0][1]

    @staticmethod
    def module(args: LinearArgs, *shapes: Shape) -> ModuleCall:
        return ModuleCall(
            "torch.nn.Linear",
            (shapes[0][0], args.out),
            {"bias": args.bias},
            initialisation(Linear.params(args, *shapes)),
            None if len(shapes[0]) == 1 else "{module}({0}.movedim(1, -1)).movedim(-1, 1)",
            defaults={"bias": True},
        )
