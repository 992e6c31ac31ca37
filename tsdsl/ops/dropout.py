"""Dropout."""

from __future__ import annotations

from pydantic import Field

from tsdsl.ir.op import ModuleCall, Op, OpArgs, Shape


class DropoutArgs(OpArgs):
    """Arguments of ``dropout``."""

    p: float = Field(ge=0, le=1, description="probability that a value is dropped in training")


class Dropout(Op):
    """In training, sets each value to 0 with probability ``p`` and scales the others by
    1 / (1 - p); the identity otherwise."""

    name = "dropout"
    Args = DropoutArgs
    keeps_zero = True
    keeps_shape = True
    examples = (({"p": 0.5}, ((9,),)), ({"p": 0}, ((5, 3, 4, 6),)))

    @staticmethod
    def infer(args: DropoutArgs, *shapes: Shape) -> Shape:
        return shapes[0]

    @staticmethod
    def module(args: DropoutArgs, *shapes: Shape) -> ModuleCall:
        return ModuleCall("torch.nn.Dropout", (args.p,))
