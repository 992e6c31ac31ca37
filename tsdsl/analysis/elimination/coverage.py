"""Whether a cost has a value for every operation that a space needs."""

from __future__ import annotations

from tsdsl.analysis.costs.cost import Cost, MissingValues
from tsdsl.analysis.costs.items import values
from tsdsl.analysis.elimination.bucket_tree import bucket_tree
from tsdsl.analysis.elimination.no_architecture import no_architecture
from tsdsl.analysis.elimination.optimum import Optimum, feasible
from tsdsl.ir.freeze import freeze
from tsdsl.ir.resolve import architecture_at
from tsdsl.ir.space import SpaceGraph


def check_complete(space: SpaceGraph, cost: Cost) -> None:
    """Raise `SpecError` if a cost has no value for some operation of some architecture, naming what
    the architecture with the most such operations needs. Combinations of arguments and shapes that
    no architecture has may be without a value.

    The number of missing values is a cost like any other: none is missing if the maximum over all
    architectures is 0. Raises `TooCoupled`.
    """
    if not cost.is_partial:
        return
    tree = bucket_tree(space, (MissingValues(cost),))
    most = Optimum.of_cost(tree, feasible(tree), -1)
    if not most.possible:
        raise no_architecture(space)
    if most.value:
        architecture = architecture_at(space, tree.complete(most.best()))
        values(freeze(space, architecture), cost)
