"""Elements of all results."""

from __future__ import annotations

from math import prod

from tsdsl.analysis.costs.cost import ResultCost
from tsdsl.ir.op import Shape


class Elements(ResultCost):
    """Values of the results of all operations, for one clip: what a training step keeps if it
    keeps every result. The peak memory of a run is no sum over operations, and no cost."""

    name = "elements"
    unit = ""
    noun = "elements of all results"
    is_divided = False

    def of_result(self, shape: Shape) -> int:
        return prod(shape)
