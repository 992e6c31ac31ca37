"""The cost term: what pulls the distribution into budgets.

For a budget with window T_min..T_max on a cost F, an architecture costs (supplement of Auto-TSNet,
equation 2, which prints F / (T_max - 1): that could never be 0; FP-NAS, arXiv 2011.10949, has this)

    cost(A) = max(0, F(A) / T_max - 1) + max(0, 1 - F(A) / T_min)

and the loss has beta log E[cost(A)] of each budget, summed over budgets (each with its own beta).
Two ways to its gradient:

- ``sampled``, as printed (equation 3): beta sum_k c_k grad log P(A_k), with c_k = cost(A_k) over
  the sum of all K costs, and c_k = 0 where every sample lies inside. F comes from the analytic
  tables; no network runs. Consistent as K grows, biased for a finite K, and noisy.
  ``centred`` subtracts 1/K from c_k where any *other* sample has a cost. As that does not depend
  on A_k, and E[grad log P] = 0, it takes noise and no mean away.
- ``exact``: another quantity, without noise. It asks for the cost *of the mean* in place of the
  mean of the costs: beta log cost(E[F]), with E[F] and its gradient from the analysis engine, over
  all architectures at once. It is 0 as soon as the mean lies inside, wherever single architectures
  are. As log cost falls without end towards the edge T of the window, cost is taken to be at least
  sigma / (T sqrt(2 pi)), which is E[cost(A)] at the edge if F is normal with its exact deviation
  sigma: the pull is never stronger than that of the printed term there.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import pi, sqrt

import numpy as np
from numpy.typing import NDArray

from tsdsl.analysis.distribution import Distribution
from tsdsl.analysis.elimination.cache import QueryCache, query_cache
from tsdsl.analysis.elimination.expectation import Expectation
from tsdsl.analysis.logits import Floats
from tsdsl.ir.decision_groups import DecisionGroup, join_decisions
from tsdsl.ir.stream_subset import restrict
from tsdsl.record import Record
from tsdsl.searching.algorithm import CostTermKind
from tsdsl.searching.distribution import Architectures, Categoricals, Chosen
from tsdsl.sema.sections import Budget
from tsdsl.space import Space


def penalty(values: NDArray[np.number], low: float, high: float) -> Floats:
    """cost(A) of equation 2, for each value of F: 0 inside. ``low`` 0 has no lower side."""
    found: Floats = np.asarray(values, np.float64)
    under = np.maximum(0.0, 1 - found / low) if low > 0 else 0.0
    return np.asarray(np.maximum(0.0, found / high - 1) + under)


class CostTerm:
    """The budgets of a search, or of a phase in which only some ``streams`` exist (empty for all):
    then what does not exist costs nothing, as in `Space.phases`.

    Raises `SpecError` where a budget's cost has no table, `TooCoupled` where exact answers need
    too large a table.
    """

    def __init__(
        self,
        space: Space,
        budgets: Sequence[Budget],
        *,
        streams: Collection[str] = (),
        kind: CostTermKind = "sampled",
        centred: bool = False,
    ) -> None:
        self.budgets = tuple(budgets)
        self.kind = kind
        self.centred = centred
        self._costs = [_Counted(space, budget.cost, streams) for budget in budgets]

    def values(self, chosen: Chosen) -> NDArray[np.int64]:
        """F of each architecture [budget, architecture]."""
        rows = [counted.of(chosen) for counted in self._costs]
        return np.stack(rows) if rows else np.zeros((0, len(chosen.active)), np.int64)

    def costs(self, chosen: Chosen) -> Floats:
        """cost(A) [budget, architecture], without beta."""
        rows = zip(self.values(chosen), self.budgets, strict=True)
        found = [penalty(row, budget.low, budget.high) for row, budget in rows]
        return np.stack(found) if found else np.zeros((0, len(chosen.active)))

    def coefficients(self, chosen: Chosen, centred: bool | None = None) -> Floats:
        """The factor of grad log P(A_k) for each sample: beta c_k, summed over budgets.
        ``centred`` left out: as the term is."""
        centred = self.centred if centred is None else centred
        found: Floats = np.zeros(len(chosen.active))
        for cost, budget in zip(self.costs(chosen), self.budgets, strict=True):
            largest = cost.max(initial=0.0)
            if largest > 0:
                # By the largest first: tiny costs do not vanish, huge ones do not overflow.
                share = cost / largest
                share = share / share.sum()
                if centred:
                    outside = cost > 0
                    others = outside.sum() - outside > 0
                    share = share - others / len(share)
                found += budget.weight * share
        return found

    def gradient(self, now: Categoricals, samples: Architectures | Chosen) -> Floats:
        """The term's gradient with respect to alpha, flat, in the way that ``kind`` says; the exact
        one does not look at the samples."""
        if self.kind == "exact":
            return self.exact_gradient(now)
        chosen = samples if isinstance(samples, Chosen) else now.choose(samples)
        return now.gradient(chosen, self.coefficients(chosen))

    def means(self, now: Categoricals) -> list[float]:
        """The exact E[F], for each budget."""
        given = now.distribution
        return [
            counted.expectation(given).mean(given.flat_probabilities, lambda: given.flat_logs)
            for counted in self._costs
        ]

    def exact_gradient(self, now: Categoricals) -> Floats:
        """See the module."""
        found: Floats = np.zeros(now.size)
        given = now.distribution
        for counted, budget in zip(self._costs, self.budgets, strict=True):
            if not budget.weight:
                continue
            means = counted.expectation(given)
            mean, gradient = means.gradient(given.flat_probabilities, lambda: given.flat_logs)
            if budget.low <= mean <= budget.high:
                continue
            edge, sign = (budget.high, 1) if mean > budget.high else (budget.low, -1)
            sigma = sqrt(means.moments(given).variance)
            cost = max(abs(mean / edge - 1), sigma / (edge * sqrt(2 * pi)))
            found += budget.weight * sign / (edge * cost) * gradient
        return found


class _Counted:
    """One cost of what exists."""

    def __init__(self, space: Space, name: str, streams: Collection[str]) -> None:
        self._cost = space.cost(name)
        self._graph = restrict(space.graph, streams) if streams else space.graph
        self._query_cache = QueryCache(self._graph) if streams else query_cache(self._graph)
        self._joint: tuple[tuple[DecisionGroup, ...], QueryCache] | None = None

    def expectation(self, given: Distribution) -> Expectation:
        """For a distribution, which may be joint."""
        if not given.groups:
            return self._query_cache.expectation(self._cost)
        if self._joint is None or self._joint[0] != given.groups:
            self._joint = given.groups, query_cache(join_decisions(self._graph, given.groups))
        return self._joint[1].expectation(self._cost)

    def of(self, chosen: Chosen) -> NDArray[np.int64]:
        return np.asarray(self._query_cache.lookup(self._cost).assigned(chosen.assigned), np.int64)


class Variances(Record):
    """Of the cost term's gradient in one step, at one alpha: the variance over draws of K samples,
    summed over all logits. (The exact one has none: it draws nothing.)"""

    sampled: float
    centred: float
    exact: float
    #: The squared length of the mean that the noise lies around, for comparison (estimated).
    signal: float
    #: Cosine between that mean and the exact gradient: how far the two ask for the same.
    agreement: float


def variances(
    term: CostTerm, now: Categoricals, samples: int, *, draws: int = 500, seed: int = 0
) -> Variances:
    """Measured over ``draws`` independent steps of ``samples`` architectures each."""
    chosen = now.choose(now.sample(samples * draws, seed=seed, step=0))
    parts = [
        Chosen(chosen.logit[at], chosen.active[at], chosen.assigned[at])
        for at in np.split(np.arange(samples * draws), draws)
    ]
    plain, centred = (
        np.stack([now.gradient(part, term.coefficients(part, way)) for part in parts])
        for way in (False, True)
    )
    # Both have the same mean, near which the centred ones lie closer.
    mean, exact = centred.mean(0), term.exact_gradient(now)
    noise = float(centred.var(0, ddof=1).sum())
    lengths = float(np.linalg.norm(mean) * np.linalg.norm(exact))
    return Variances(
        float(plain.var(0, ddof=1).sum()),
        noise,
        0.0,
        max(0.0, float(mean @ mean) - noise / draws),
        float(mean @ exact) / lengths if lengths else 0.0,
    )
