"""What is known of one space: plans, tables and answers, each made once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cached_property, lru_cache
from typing import Any, TypeVar

import numpy as np

from tsdsl.analysis.costs.cost_table import Cost, CostTable
from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.costs.lookup import CostLookup
from tsdsl.analysis.elimination.bucket_tree import Program, program
from tsdsl.analysis.elimination.coverage import check_complete
from tsdsl.analysis.elimination.expectation import Expectation
from tsdsl.analysis.elimination.no_architecture import no_architecture
from tsdsl.analysis.elimination.optimum import Optimum, allowed
from tsdsl.ir.space import SpaceGraph

Kept = TypeVar("Kept")
#: How many are kept.
KEPT = 8


class Engine:
    """Everything here raises `TooCoupled` where a table would be too large; what does not need
    that table can be asked all the same."""

    def __init__(self, space: SpaceGraph) -> None:
        self.space = space
        self._programs: dict[tuple[Cost, ...], Program] = {}
        self._expectations: dict[Cost, Expectation] = {}
        self._lookups: dict[Cost, CostLookup] = {}
        self._means: Expectation | None = None
        self._ends: dict[Cost, tuple[int, int]] = {}
        self._allowed: dict[tuple[Cost, ...], list[Array]] = {}
        self._kept: dict[Any, Any] = {}
        self._checked: set[Cost] = set()

    @cached_property
    def ones(self) -> list[Array]:
        """Weight 1 for each option of each decision."""
        return [np.ones(len(d.options)) for d in self.space.decisions]

    def _check(self, costs: tuple[Cost, ...]) -> None:
        """Cost tables have to have what the space has."""
        for cost in costs:
            if isinstance(cost, CostTable) and cost not in self._checked:
                check_complete(self.space, cost)
                self._checked.add(cost)

    def program(self, *costs: Cost) -> Program:
        """The elimination of all decisions, with the tables of some costs."""
        if costs not in self._programs:
            self._check(costs)
            self._programs[costs] = program(self.space, costs)
        return self._programs[costs]

    def expectation(self, cost: Cost) -> Expectation:
        """Means of a cost under any distribution."""
        if cost not in self._expectations:
            self._expectations[cost] = Expectation(self.program(cost))
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
            made = self.program(*costs)
            self._allowed[costs] = [allowed(p, self.ones) for p in made.potentials]
        return self._allowed[costs]

    def extreme(self, cost: Cost, sign: int) -> Optimum:
        """The least of ``sign`` times a cost."""
        made = self.program(cost)
        tables = [None if (t := p.costs[0]) is None else sign * t for p in made.potentials]
        return Optimum(made, tables, self.allowed(cost))

    def ends(self, cost: Cost) -> tuple[int, int]:
        """The least and the greatest of a cost. Raises `SpecError` if there is no architecture."""
        if cost not in self._ends:
            low, high = self.extreme(cost, 1), self.extreme(cost, -1)
            if not low.possible:
                raise no_architecture(self.space)
            self._ends[cost] = (int(low.value), -int(high.value))
        return self._ends[cost]

    def keep(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        """What was made for a key, of those last asked for."""
        if key not in self._kept:
            while len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = make()
        found: Kept = self._kept[key]
        return found

    @property
    def means(self) -> Expectation:
        """What is asked of a distribution alone, without a cost."""
        if self._means is None:
            self._means = Expectation(self.program())
        return self._means


@lru_cache(maxsize=8)
def engine(space: SpaceGraph) -> Engine:
    """The engine of a space."""
    return Engine(space)
