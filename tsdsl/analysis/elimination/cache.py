"""What is known of one space: plans, tables and answers, each made once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cached_property, lru_cache
from typing import Any, TypeVar

import numpy as np

from tsdsl.analysis.costs.cost_table import Cost, CostTable
from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.costs.lookup import CostLookup
from tsdsl.analysis.elimination.bucket_tree import BucketTree, bucket_tree
from tsdsl.analysis.elimination.coverage import check_complete
from tsdsl.analysis.elimination.expectation import Expectation
from tsdsl.analysis.elimination.no_architecture import no_architecture
from tsdsl.analysis.elimination.optimum import Optimum, allowed
from tsdsl.ir.space import SpaceGraph

Answer = TypeVar("Answer")
#: How many are kept.
KEPT = 8


class QueryCache:
    """Everything here raises `TooCoupled` where a table would be too large; what does not need
    that table can be asked all the same."""

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
        """Weight 1 for each option of each decision."""
        return [np.ones(len(d.options)) for d in self.space.decisions]

    def _check(self, costs: tuple[Cost, ...]) -> None:
        """Cost tables have to have what the space has."""
        for cost in costs:
            if isinstance(cost, CostTable) and cost not in self._checked:
                check_complete(self.space, cost)
                self._checked.add(cost)

    def bucket_tree(self, *costs: Cost) -> BucketTree:
        """The elimination of all decisions, with the tables of some costs."""
        if costs not in self._bucket_trees:
            self._check(costs)
            self._bucket_trees[costs] = bucket_tree(self.space, costs)
        return self._bucket_trees[costs]

    def expectation(self, cost: Cost) -> Expectation:
        """Means of a cost under any distribution."""
        if cost not in self._expectations:
            self._expectations[cost] = Expectation(self.bucket_tree(cost))
        return self._expectations[cost]

    def lookup(self, cost: Cost) -> CostLookup:
        """The cost of given architectures."""
        if cost not in self._lookups:
            self._check((cost,))
            self._lookups[cost] = CostLookup(self.space, cost)
        return self._lookups[cost]

    def allowed(self, *costs: Cost) -> list[Array]:
        """For each potential of a program, where it is possible."""
        if costs not in self._allowed:
            tree = self.bucket_tree(*costs)
            self._allowed[costs] = [allowed(p, self.unit_weights) for p in tree.potentials]
        return self._allowed[costs]

    def optimum(self, cost: Cost, sign: int) -> Optimum:
        """The least of ``sign`` times a cost."""
        tree = self.bucket_tree(cost)
        tables = [None if (t := p.costs[0]) is None else sign * t for p in tree.potentials]
        return Optimum(tree, tables, self.allowed(cost))

    def cost_range(self, cost: Cost) -> tuple[int, int]:
        """The least and the greatest of a cost. Raises `SpecError` if there is no architecture."""
        if cost not in self._cost_ranges:
            low, high = self.optimum(cost, 1), self.optimum(cost, -1)
            if not low.possible:
                raise no_architecture(self.space)
            self._cost_ranges[cost] = (int(low.value), -int(high.value))
        return self._cost_ranges[cost]

    def remember(self, key: Hashable, make: Callable[[], Answer]) -> Answer:
        """What was tree for a key, of those last asked for."""
        if key not in self._remembered:
            while len(self._remembered) >= KEPT:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[key] = make()
        found: Answer = self._remembered[key]
        return found

    @property
    def feasibility(self) -> Expectation:
        """What is asked of a distribution alone, without a cost."""
        if self._feasibility is None:
            self._feasibility = Expectation(self.bucket_tree())
        return self._feasibility


@lru_cache(maxsize=8)
def query_cache(space: SpaceGraph) -> QueryCache:
    """The engine of a space."""
    return QueryCache(space)
