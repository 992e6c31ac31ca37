"""Whether a cost table has all measurements that a space needs."""

from __future__ import annotations

from tsdsl.analysis.costs.cost_table import Absent, Configuration, CostTable
from tsdsl.analysis.elimination.bucket_tree import bucket_tree
from tsdsl.analysis.elimination.no_architecture import no_architecture
from tsdsl.analysis.elimination.optimum import Optimum, feasible
from tsdsl.ir.freeze import freeze
from tsdsl.ir.resolve import architecture_at
from tsdsl.ir.space import SpaceGraph


def check_complete(space: SpaceGraph, table: CostTable) -> None:
    """Raise `SpecError` if some architecture has an operation that a table lacks, naming what the
    architecture that lacks most needs. Combinations of arguments and shapes that no architecture
    has may be missing.

    The number of missing measurements is a cost like any other: it is complete if the maximum
    over all architectures is 0. Raises `TooCoupled`.
    """
    if isinstance(table, Absent):
        return
    tree = bucket_tree(space, (Absent(table.name, table.unit, table.values),))
    most = Optimum.of_cost(tree, feasible(tree), -1)
    if not most.possible:
        raise no_architecture(space)
    if most.value:
        architecture = architecture_at(space, tree.complete(most.best()))
        calls = (call for _, call in freeze(space, architecture).ops())
        needed = (Configuration.of(call.op, call.args, call.shapes) for call in calls)
        missing = dict.fromkeys(c for c in needed if c not in table.values)
        raise table.missing(missing, space.source)
