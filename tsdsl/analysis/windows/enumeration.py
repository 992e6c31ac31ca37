"""Enumeration of all architectures whose costs lie in some windows, by branch and bound.

From the root of the bucket tree down, each partial assignment is extended by every option with

    low_k <= greatest_k - lack_k(option)    and    least_k + excess_k(option) <= high_k

for each cost k: the exact least and greatest cost of all completions (see `Optimum`), so that no
partial assignment is followed that has no completion inside, of each window by itself. With an
objective, its excess bounds in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from tsdsl.analysis.costs.cost import Cost
from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.elimination.cache import QueryCache
from tsdsl.analysis.elimination.optimum import Optimum
from tsdsl.analysis.elimination.table_rows import unravel_many

#: For each cost, the least and the greatest allowed value, both included.
Windows = Mapping[Cost, tuple[int, int]]

#: Largest number of entries (architectures times variables) of a list.
MAX_CELLS = 1 << 24


class Enumerator:
    """Enumerates the architectures of a space within windows of some costs. Raises `TooCoupled`."""

    def __init__(self, cache: QueryCache, costs: Sequence[Cost]) -> None:
        self._cache = cache
        self._costs = tuple(costs)
        self._tree = cache.bucket_tree(*self._costs)

    @cached_property
    def _ends(self) -> list[tuple[Optimum, Optimum]]:
        """The minimum of each cost and of its negative; without costs, of a cost that is 0."""
        allowed = self._cache.allowed(*self._costs)
        ends: list[tuple[Optimum, Optimum]] = []
        for k in range(max(len(self._costs), 1)):
            tables = [p.costs[k] if self._costs else None for p in self._tree.potentials]
            low = Optimum(self._tree, tables, allowed)
            high = Optimum(self._tree, [None if t is None else -t for t in tables], allowed)
            ends.append((low, high))
        return ends

    def assignments(self, windows: Windows, limit: int | None = None) -> Array | None:
        """Assignments [architecture, variable]; None if there are more than ``limit`` (or than
        `MAX_CELLS` allows)."""
        at, complete = self.near_optimal(windows, None, np.inf, limit)
        return at if complete else None

    def near_optimal(
        self,
        windows: Windows,
        objective: Optimum | None,
        cutoff: float,
        limit: int | None = None,
        whole: bool = False,
    ) -> tuple[Array, bool]:
        """The assignments whose objective exceeds its minimum by at most ``cutoff``, and whether
        these are all of them. If more than ``limit`` partial assignments remain, only those with
        the best bounds are followed (a beam search); none is returned then if there is no
        objective, or with ``whole``."""
        tree = self._tree
        width = len(tree.sizes)
        cap = MAX_CELLS // max(width, 1) if limit is None else limit
        spans = [windows[cost] for cost in self._costs] or [(0, 0)]
        at: Array = np.zeros((1, width), np.int16)
        above: Array = np.zeros(1)
        complete = True
        lows, highs = [], []
        for (low, high), (least, most) in zip(self._ends, spans, strict=True):
            if not low.possible or low.value > most or -high.value < least:
                return at[:0], True
            lows.append(np.array([low.value]))
            highs.append(np.array([-high.value]))
        for k in range(len(tree.steps) - 1, -1, -1):
            step = tree.steps[k]
            if not step.axes:
                continue
            given = tuple(at[:, v] for v in step.separator)
            inside: Array | None = None
            new_lows, new_highs = [], []
            for (low, high), (least, most), floor, roof in zip(
                self._ends, spans, lows, highs, strict=True
            ):
                # The excess of an impossible option is infinite.
                excess, lack = _rows(low.excess(k), given), _rows(high.excess(k), given)
                new_lows.append(floor[:, None] + excess)
                new_highs.append(roof[:, None] - lack)
                fits = (excess < low.infinity) & (new_lows[-1] <= most) & (new_highs[-1] >= least)
                inside = fits if inside is None else inside & fits
            assert inside is not None
            if objective is not None:
                total = above[:, None] + _rows(objective.excess(k), given)
                inside &= total <= cutoff
            rows, options = np.nonzero(inside)
            if objective is not None:
                above = total[rows, options]
            if len(rows) > cap:
                complete = False
                if objective is None or whole:
                    return at[:0], False
                best = np.argpartition(above, cap)[:cap]
                rows, options, above = rows[best], options[best], above[best]
            at = at[rows]
            lows = [low[rows, options] for low in new_lows]
            highs = [high[rows, options] for high in new_highs]
            for axis, chosen in zip(
                step.axes, unravel_many(options, step.shape, step.axes), strict=True
            ):
                at[:, step.scope[axis]] = chosen
        return at, complete


def _rows(table: Array, given: tuple[Array, ...]) -> Array:
    """The row of options of each partial assignment, given the indices of the separator."""
    return table[given] if given else table[None, :]
