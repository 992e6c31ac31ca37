"""Whether a cost table has all that a space needs."""

from __future__ import annotations

from tsdsl.analysis.costs.cost_table import Absent, Configuration, CostTable
from tsdsl.ir.space import SpaceGraph


def check_complete(space: SpaceGraph, table: CostTable) -> None:
    """Raise `SpecError`, if some architecture has an operation that a table lacks. Combinations of
    values that no architecture has need not be there."""
    if isinstance(table, Absent):
        return
    # An engine checks its tables, and this is a question for one.
    from tsdsl.analysis.elimination.bounds import bounds
    from tsdsl.ir.freeze import freeze

    worst = bounds(space, Absent(table.name, table.unit, table.values)).max
    if worst.value:
        calls = (call for _, call in freeze(space, worst.architecture).ops())
        asked = (Configuration.of(call.op, call.args, call.shapes) for call in calls)
        missed = dict.fromkeys(c for c in asked if c not in table.values)
        raise table.missing(missed, space.source)
