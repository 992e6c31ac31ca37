"""A cache of plans, tables and answers for one space, each of which is computed on first use."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cached_property, lru_cache
from typing import Any, TypeVar

import numpy as np

from tsdsl.analysis.costs.cost import Cost
from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.costs.lookup import CostLookup
from tsdsl.analysis.elimination.bucket_tree import BucketTree, bucket_tree
from tsdsl.analysis.elimination.coverage import check_complete
from tsdsl.analysis.elimination.expectation import Expectation
from tsdsl.analysis.elimination.no_architecture import no_architecture
from tsdsl.analysis.elimination.optimum import Optimum, feasible
from tsdsl.ir.space import SpaceGraph

Answer = TypeVar("Answer")
#: Number of answers that `QueryCache.remember` keeps.
KEPT = 8


class QueryCache:
    """Plans, tables and answers of one space. A method raises `TooCoupled` where a table that it
    needs would be too large; the others still answer. Cost tables are checked for completeness on
    first use, which raises `SpecError`."""

    def __init__(self, space: SpaceGraph) -> None:
        self.space = space
        self._bucket_trees: dict[tuple[Cost, ...], BucketTree] = {}
        self._expectations: dict[Cost, Expectation] = {}
        self._lookups: dict[Cost, CostLookup] = {}
        self._feasibility: Expectation | None = None
        self._cost_ranges: dict[Cost, tuple[int, int]] = {}
        self._allowed: dict[tuple[Cost, ...], list[Array]] = {}
        self._remembered: dict[Any, Any] = {}
        self._checked: set[Cost] = set()

    @cached_property
    def unit_weights(self) -> list[Array]:
        """The weight 1 for each option of each decision."""
        return [np.ones(len(d.options)) for d in self.space.decisions]

    def _check(self, costs: tuple[Cost, ...]) -> None:
        """Raise `SpecError` if a cost has no value for an operation that the space needs."""
        for cost in costs:
            if cost not in self._checked:
                check_complete(self.space, cost)
                self._checked.add(cost)

    def bucket_tree(self, *costs: Cost) -> BucketTree:
        """The bucket tree that eliminates all decisions, with the tables of some costs."""
        if costs not in self._bucket_trees:
            self._check(costs)
            self._bucket_trees[costs] = bucket_tree(self.space, costs)
        return self._bucket_trees[costs]

    def expectation(self, cost: Cost) -> Expectation:
        """Mean, variance and gradient of a cost under any distribution."""
        if cost not in self._expectations:
            self._expectations[cost] = Expectation(self.bucket_tree(cost))
        return self._expectations[cost]

    def lookup(self, cost: Cost) -> CostLookup:
        """The cost of given architectures, by table look-ups."""
        if cost not in self._lookups:
            self._check((cost,))
            self._lookups[cost] = CostLookup(self.space, cost)
        return self._lookups[cost]

    def allowed(self, *costs: Cost) -> list[Array]:
        """For each potential of the tree of some costs, where its constraints hold."""
        if costs not in self._allowed:
            self._allowed[costs] = feasible(self.bucket_tree(*costs))
        return self._allowed[costs]

    def optimum(self, cost: Cost, sign: int) -> Optimum:
        """The minimum of ``sign`` times a cost over all architectures."""
        return Optimum.of_cost(self.bucket_tree(cost), self.allowed(cost), sign)

    def cost_range(self, cost: Cost) -> tuple[int, int]:
        """The least and the greatest cost. Raises `SpecError` if there is no architecture."""
        if cost not in self._cost_ranges:
            low, high = self.optimum(cost, 1), self.optimum(cost, -1)
            if not low.possible:
                raise no_architecture(self.space)
            self._cost_ranges[cost] = (int(low.value), -int(high.value))
        return self._cost_ranges[cost]

    def remember(self, key: Hashable, make: Callable[[], Answer]) -> Answer:
        """The answer for a key, made by ``make`` unless it is among the last `KEPT` ones."""
        if key not in self._remembered:
            while len(self._remembered) >= KEPT:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[key] = make()
        answer: Answer = self._remembered[key]
        return answer

    @property
    def feasibility(self) -> Expectation:
        """Queries of a distribution without a cost: the probability of all requirements, and the
        marginals of options given them."""
        if self._feasibility is None:
            self._feasibility = Expectation(self.bucket_tree())
        return self._feasibility


@lru_cache(maxsize=8)
def query_cache(space: SpaceGraph) -> QueryCache:
    """The cache of a space: the same one for the last few spaces."""
    return QueryCache(space)
