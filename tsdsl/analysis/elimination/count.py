"""The exact number of architectures of a space: bucket elimination in the (+, *) semiring."""

from __future__ import annotations

from tsdsl.analysis.costs.factors import Factor, constraint_factor, constraints
from tsdsl.analysis.elimination.eliminate import counting, eliminate
from tsdsl.ir.space import SpaceGraph


def count(space: SpaceGraph) -> int:
    """The exact number of architectures that satisfy all requirements. A decision does not multiply
    it where it is inactive. Raises `TooCoupled`."""
    known = constraints(space)
    variables, tables = known.closure(known.decisions, every_requirement=True)
    ring = counting(known.sizes[v] for v in variables)
    holds = [constraint_factor(table, known.sizes) for table in tables]
    factors = [Factor(f.scope, ring.embed(f.table)) for f in holds]
    mentioned = {v for f in factors for v in f.scope}
    size, _ = eliminate(factors, known.sizes, [v.name for v in known.variables], ring)
    for free in variables - mentioned:
        size *= known.sizes[free]
    return int(size)
