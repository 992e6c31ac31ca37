"""What a space costs in each phase of a progressive search.

In a phase some streams exist, some decisions are learned, and the others stand still: those of
earlier phases at their most probable option, the rest at their default. So a phase is a
distribution of the whole space, most of whose decisions are certain, and the part of the cost that
belongs to what exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tsdsl.analysis.costs.cost_table import Cost
from tsdsl.analysis.distribution import Distribution, DistributionLike, Floats, as_distribution
from tsdsl.analysis.elimination.cache import query_cache
from tsdsl.analysis.elimination.expectation import Expectation
from tsdsl.analysis.elimination.optimum import Optimum, allowed
from tsdsl.ir.space import Decision, SpaceGraph, path_prefixes
from tsdsl.ir.stream_subset import restrict

if TYPE_CHECKING:
    from tsdsl.sema.sections import Budget, SearchSettings


@dataclass(frozen=True, slots=True)
class PhaseCost:
    """A cost in one phase: ``mean`` and ``std`` under the distribution, ``min`` and ``max`` over
    all options that it gives a probability. All are None if no architecture is left, because what
    stands still violates a requirement."""

    name: str
    #: The streams that exist in it, in the order of the spec.
    streams: tuple[str, ...]
    #: Paths of the decisions that it learns.
    learned: tuple[str, ...]
    mean: float | None
    std: float | None
    min: int | None
    max: int | None
    #: The budgets of this cost that hold in it: its own, or else the search's.
    budgets: tuple[Budget, ...]


def phases(
    space: SpaceGraph, search: SearchSettings | None, cost: Cost, given: DistributionLike = None
) -> list[PhaseCost]:
    """A cost in each phase of a search, in order; none without phases.

    Exact, where a phase runs all streams. Where some are absent, so are the fusions from and to
    them and the attention on them; what is left counts as in the whole network: the head with all
    of its inputs, and every operation with the shapes that it has there. Requirements hold for all
    decisions, those of absent streams too. Raises `TooCoupled`.
    """
    if search is None or not search.phases:
        return []
    distribution = as_distribution(space, given)
    probabilities = distribution.probabilities
    made: list[PhaseCost] = []
    earlier: set[str] = set()
    for phase in search.phases:
        learned = {
            d.path for d in space.decisions if not path_prefixes(d.path).isdisjoint(phase.learn)
        }
        certain = {
            k: _certain(d, probabilities[d.path] if d.path in earlier else None)
            for k, d in enumerate(space.decisions)
            if d.path not in learned
        }
        earlier |= learned
        streams = tuple(s for s in space.streams if not phase.streams or s in phase.streams)
        there = restrict(space, streams)
        mean, std, least, most = _costs(cost, distribution.with_fixed(certain).on_graph(there))
        own = _of(phase.budgets, cost)
        made.append(
            PhaseCost(
                phase.name,
                streams,
                tuple(d.path for d in space.decisions if d.path in learned),
                mean,
                std,
                least,
                most,
                own or _of(search.budgets, cost),
            )
        )
    return made


def _certain(decision: Decision, probabilities: Floats | None) -> int:
    """The most probable option: the default, if it is one of several or nothing is known."""
    at = decision.default
    if probabilities is not None and probabilities[at] < probabilities.max():
        at = int(np.argmax(probabilities))
    return at


def _costs(
    cost: Cost, distribution: Distribution
) -> tuple[float, float, int, int] | tuple[None, None, None, None]:
    """Mean, deviation and ends of a cost."""
    tree = query_cache(distribution.graph).bucket_tree(cost)
    # 1 for each option that can be taken, however improbable.
    possible_options = (distribution.flat_logs > -np.inf).astype(np.float64)
    rows = distribution.layout.split(possible_options)
    possible = [allowed(p, rows) for p in tree.potentials]
    ends = [
        Optimum(
            tree,
            [None if (t := p.costs[0]) is None else sign * t for p in tree.potentials],
            possible,
        )
        for sign in (1, -1)
    ]
    if not ends[0].possible:
        return None, None, None, None
    moments = Expectation(tree).moments(distribution)
    return moments.mean, moments.variance**0.5, int(ends[0].value), -int(ends[1].value)


def _of(budgets: Sequence[Budget], cost: Cost) -> tuple[Budget, ...]:
    name = "flops" if cost == "macs" else str(cost)
    return tuple(budget for budget in budgets if budget.cost == name)
