"""What a space costs in each phase of a progressive search.

In a phase, some streams exist, some decisions are learned, and the others are fixed: those that
earlier phases learned at their most probable option, the rest at their default. So the cost of a
phase is that of the space without the absent streams, under the distribution in which the fixed
decisions are certain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tsdsl.analysis.costs.cost import Cost
from tsdsl.analysis.distribution import Distribution, DistributionLike, as_distribution
from tsdsl.analysis.elimination.cache import query_cache
from tsdsl.analysis.elimination.expectation import Expectation
from tsdsl.analysis.elimination.optimum import Optimum, allowed
from tsdsl.analysis.logits import Floats
from tsdsl.ir.space import Decision, SpaceGraph, path_prefixes
from tsdsl.ir.stream_subset import restrict

if TYPE_CHECKING:
    from tsdsl.sema.sections import Budget, SearchSettings


@dataclass(frozen=True, slots=True)
class PhaseCost:
    """A cost in one phase: ``mean`` and ``std`` under the distribution, ``min`` and ``max`` over
    the architectures with a probability above 0. All four are None if there is no such
    architecture, because the fixed decisions violate a requirement."""

    name: str
    #: The streams that exist, in the order of the spec.
    streams: tuple[str, ...]
    #: The paths of the decisions that are learned.
    learned: tuple[str, ...]
    mean: float | None
    std: float | None
    min: int | None
    max: int | None
    #: The budgets of this cost: the phase's own, or else the search's.
    budgets: tuple[Budget, ...]


def phases(
    space: SpaceGraph, search: SearchSettings | None, cost: Cost, given: DistributionLike = None
) -> list[PhaseCost]:
    """A cost in each phase of a search, in order; an empty list without phases.

    It is exact where a phase runs all streams. Where some are absent, so are the fusions from and
    to them and the attention on them; the remaining operations count with the shapes that they have
    in the whole network (the head with all of its inputs, for one). Requirements constrain all
    decisions, those of absent streams included. Raises `TooCoupled`.
    """
    if search is None or not search.phases:
        return []
    distribution = as_distribution(space, given)
    probabilities = distribution.probabilities
    costs: list[PhaseCost] = []
    earlier: set[str] = set()
    for phase in search.phases:
        learned = {
            d.path for d in space.decisions if not path_prefixes(d.path).isdisjoint(phase.learn)
        }
        fixed = {
            k: _fixed_option(d, probabilities[d.path] if d.path in earlier else None)
            for k, d in enumerate(space.decisions)
            if d.path not in learned
        }
        earlier |= learned
        streams = tuple(s for s in space.streams if not phase.streams or s in phase.streams)
        subset = restrict(space, streams)
        mean, std, least, most = _costs(cost, distribution.with_fixed(fixed).on_graph(subset))
        own = _of(phase.budgets, cost)
        costs.append(
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
    return costs


def _fixed_option(decision: Decision, probabilities: Floats | None) -> int:
    """The most probable option; the default, if it is one of these or nothing has been learned."""
    at = decision.default
    if probabilities is not None and probabilities[at] < probabilities.max():
        at = int(np.argmax(probabilities))
    return at


def _costs(
    cost: Cost, distribution: Distribution
) -> tuple[float, float, int, int] | tuple[None, None, None, None]:
    """Mean, standard deviation, minimum and maximum of a cost; None for each where no architecture
    has a probability above 0."""
    tree = query_cache(distribution.graph).bucket_tree(cost)
    # 1 for each option with a probability above 0, also where that underflows.
    possible_options = (distribution.flat_logs > -np.inf).astype(np.float64)
    rows = distribution.layout.split(possible_options)
    possible = [allowed(p, rows) for p in tree.potentials]
    least, most = (Optimum.of_cost(tree, possible, sign) for sign in (1, -1))
    if not least.possible:
        return None, None, None, None
    moments = Expectation(tree).moments(distribution)
    return moments.mean, moments.variance**0.5, int(least.value), -int(most.value)


def _of(budgets: Sequence[Budget], cost: Cost) -> tuple[Budget, ...]:
    """The budgets of one cost."""
    return tuple(budget for budget in budgets if cost.is_called(budget.cost))
