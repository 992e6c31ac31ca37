"""How many architectures a space has."""

from __future__ import annotations

from tsdsl.analysis.costs.factors import Factor, constraint_factor, constraints
from tsdsl.analysis.elimination.eliminate import counting, eliminate
from tsdsl.ir.space import SpaceGraph


def count(space: SpaceGraph) -> int:
    """The exact number of architectures that satisfy all requirements. A decision that is not
    active under the others does not multiply it. Raises `TooCoupled`."""
    known = constraints(space)
    found, tables = known.closure(known.decisions, every_requirement=True)
    ring = counting(known.sizes[v] for v in found)
    held = [constraint_factor(table, known.sizes) for table in tables]
    factors = [Factor(f.scope, ring.embed(f.table)) for f in held]
    mentioned = {v for f in factors for v in f.scope}
    size, _ = eliminate(factors, known.sizes, [v.name for v in known.variables], ring)
    for free in found - mentioned:
        size *= known.sizes[free]
    return int(size)
