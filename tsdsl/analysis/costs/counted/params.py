"""Parameters."""

from __future__ import annotations

from math import prod

from tsdsl.analysis.costs.cost import Cost
from tsdsl.ir.op import Op, OpArgs, Shape


class Params(Cost):
    """Number of learned values: weights and biases. Running statistics do not count."""

    name = "params"
    unit = ""
    noun = "parameters"

    def is_free(self, op: type[Op]) -> bool:
        return op.params is Op.params

    def value(self, op: type[Op], args: OpArgs, shapes: tuple[Shape, ...]) -> int:
        return sum(prod(param.shape) for param in op.params(args, *shapes))
