"""The exact minimum and maximum of a cost over all architectures of a space."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tsdsl.analysis.eliminate import best, eliminate, minimising, trace
from tsdsl.analysis.factors import Cost, Factor, constraint_factor, constraints, cost_factors
from tsdsl.diagnostics import Diagnostic, SpecError
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.resolve import architecture_at
from tsdsl.ir.space import SpaceGraph


class Bound(NamedTuple):
    """A cost, and an architecture that has it."""

    value: int
    architecture: Architecture


class Bounds(NamedTuple):
    """The two ends of a space."""

    min: Bound
    max: Bound


def bounds(space: SpaceGraph, cost: Cost) -> Bounds:
    """The smallest and the largest cost of an architecture that satisfies all requirements.

    Raises `SpecError` if there is none, `TooCoupled`.
    """
    return Bounds(_extreme(space, cost, 1), _extreme(space, cost, -1))


def _extreme(space: SpaceGraph, cost: Cost, sign: int) -> Bound:
    costs = cost_factors(space, cost)
    known = constraints(space)
    _, tables = known.closure({v for f in costs for v in f.scope}, every_requirement=True)
    ring = minimising(sum(int(np.max(f.table)) for f in costs))
    factors = [Factor(f.scope, np.asarray(sign * f.table, ring.dtype)) for f in costs]
    for table in tables:
        factor = constraint_factor(table, known.sizes)
        factors.append(Factor(factor.scope, ring.embed(factor.table)))
    names = [v.name for v in known.variables]
    value, steps = eliminate(factors, known.sizes, names, ring, best)
    if value > ring.zero // 2:
        raise no_architecture(space)
    found = known.complete(trace(steps))
    return Bound(sign * value, architecture_at(space, found))


def no_architecture(space: SpaceGraph) -> SpecError:
    """The requirements of a space exclude each other."""
    spans = [requirement.span for requirement in space.requirements]
    return SpecError(
        [
            Diagnostic(
                "E0593",
                f"no architecture of space {space.name} satisfies all requirements",
                spans[0] if spans else None,
                file=space.source,
            )
        ]
    )
