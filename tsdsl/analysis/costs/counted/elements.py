"""Elements of all results."""

from __future__ import annotations

from math import prod

from tsdsl.analysis.costs.cost import ResultCost
from tsdsl.ir.op import Shape


class Elements(ResultCost):
    """Number of values in the results of all operations, for one clip: the activations of a
    training step that keeps every result. It is not the peak memory of a run, which is not a sum
    over operations."""

    name = "elements"
    unit = ""
    noun = "elements of all results"
    is_divided = False

    def of_result(self, shape: Shape) -> int:
        return prod(shape)
