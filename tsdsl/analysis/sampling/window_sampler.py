"""Draws of assignments whose costs lie in windows, exactly distributed, at any selectivity.

One cost is resolved on a grid, from which only bins near its window are drawn. The other costs are
brought near to theirs by tilted weights; each draw is accepted in proportion to what the tilt took
from it. What is accepted has the distribution that is asked for: neither the grid nor the tilt
decides anything but how many draws are accepted. Where these are few, the last decisions are
completed exactly (`meet_in_the_middle`).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from math import inf, log
from typing import NamedTuple

import numpy as np

from tsdsl.analysis.costs.cost_table import Cost
from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.elimination.bucket_tree import BucketTree
from tsdsl.analysis.elimination.cache import QueryCache
from tsdsl.analysis.sampling.backward_sampling import BackwardSampler
from tsdsl.analysis.sampling.cost_grid import CostGrid, finest, leaves
from tsdsl.analysis.sampling.explain_empty import nothing_inside
from tsdsl.analysis.windows.enumeration import Windows
from tsdsl.analysis.windows.tilted import ExponentialTilt
from tsdsl.analysis.windows.window import side

#: Bins of the grid at least and at most.
BINS = (256, 4096)
#: The logarithm of the range that sums of floats have, less 24 for their digits.
LOG_RANGE = 680.0


class Underflow(Exception):
    """What is inside is less than floats hold, next to all that is outside."""


class TiltedWeights(NamedTuple):
    """Weights that are tilted already: a program with a table for each of its potentials, and the
    rate of each cost, in its unit, that they are tilted by."""

    tree: BucketTree
    weights: list[Array]
    rates: list[float]


class WindowSampler:
    """Draws from one distribution (``rows``: the weights of the options of each decision) within
    windows; ``rough`` ones may miss what is less than floats hold next to the rest. Raises
    `SpecError` if nothing can be inside, `Underflow`, `TooCoupled`."""

    def __init__(
        self,
        cache: QueryCache,
        rows: Sequence[Array],
        windows: Windows,
        bins: tuple[int, int] = BINS,
        prepared: TiltedWeights | None = None,
        rough: bool = False,
    ) -> None:
        self.cache = cache
        self._rows = rows
        self.costs: tuple[Cost, ...] = tuple(windows)
        ends = [cache.cost_range(cost) for cost in self.costs]
        #: The windows, clipped to what there is.
        self.windows = [
            (max(least, low), min(most, high))
            for (least, most), (low, high) in zip(windows.values(), ends, strict=True)
        ]
        self.tree = cache.bucket_tree(*self.costs)
        #: The weights of the potentials, tilted, and the rate of each cost that they are tilted by.
        self.weights = [p.weights(rows) for p in self.tree.potentials]
        self.rates = [0.0] * len(ends)
        #: The standard deviation of each cost, where it is tilted.
        self.deviations = [0.0] * len(ends)
        #: The number of the cost that is resolved.
        self.first = 0
        #: Where the weights are tilted by the resolved cost, too: the cost at the end of each bin
        #: at which the tilt took least.
        self._edges: Array | None = None
        if prepared is not None:
            self._prepare(prepared, ends, bins)
            return
        tilt = (
            ExponentialTilt(self.tree, self.weights, self.windows, ends) if len(ends) > 1 else None
        )
        if tilt is not None:
            self._choose(tilt, ends)
        #: Of all draws so far.
        self.drawn = self.accepted = 0
        if not ends:
            nothing = free(self.tree)
            found = CostGrid(nothing, leaves(nothing, self.weights, 0, 1), 1, 0)
            self._drawer = BackwardSampler(found.root, len(self.tree.sizes), 0, 1)
        else:
            self._resolve(ends[self.first], bins)
        while tilt is not None and any(self.rates) and not self._drawer.weight[0]:
            if self.empty():
                raise nothing_inside(cache, windows)
            # So steep that what is inside is no float any more.
            tilt.rates = np.where(np.abs(tilt.rates) < 1, 0.0, tilt.rates / 2)
            self._tilt(tilt)
            self._resolve(ends[self.first], bins)
        if not self._drawer.weight[0] or (not rough and self._log_weight < self._least()):
            if rows is cache.unit_weights and not self._drawer.weight[0]:
                raise nothing_inside(cache, windows)
            raise Underflow

    @classmethod
    def of(
        cls,
        cache: QueryCache,
        rows: Sequence[Array],
        windows: Windows,
        bins: tuple[int, int] = BINS,
    ) -> WindowSampler:
        """The same, of plans that are kept for who asks again."""
        key = (cls, tuple(windows.items()), bins, tuple(row.tobytes() for row in rows))
        found = copy(cache.remember(key, lambda: cls(cache, rows, windows, bins)))
        found.drawn = found.accepted = 0
        return found

    @property
    def _log_weight(self) -> float:
        """The logarithm of the weight of all bins that are drawn from."""
        weight, scale = self._drawer.weight
        return log(weight) + scale * log(2.0) if weight > 0 else -inf

    def _least(self) -> float:
        """The least logarithm of a weight that nothing is missing from: what underflows anywhere
        is less than the smallest float times all weight."""
        most = sum(log(len(d.options)) for d in self.cache.space.decisions)
        free = not any(self.rates) and all(abs(float(row.sum()) - 1) < 1e-6 for row in self._rows)
        return (0.0 if free else most) - LOG_RANGE

    @property
    def rate(self) -> float:
        """How many draws are accepted."""
        return self.accepted / self.drawn if self.drawn else 0.0

    def draw(self, random: np.random.Generator, n: int) -> Array:
        """Those of ``n`` draws that are accepted: assignments [draw, variable]."""
        at = self._drawer.draw(random, n)
        if self._edges is not None:
            # The bins have been drawn by what they weigh without the tilt.
            rate, edge = self.rates[self.first], self._edges[self._drawer.picked]
            found = self.cache.lookup(self.costs[self.first]).assigned(at)
            apart = rate * (found - edge).astype(np.float64)
            at = at[random.random(n) < np.exp(np.minimum(apart, 0.0))]
        kept = self.check_exact(at, min(len(self.costs), 1), random)
        self.drawn += n
        self.accepted += len(kept)
        return kept

    def empty(self) -> bool:
        """Whether it is proven that no architecture is inside."""
        if len(self.costs) < 2:
            return False
        possible = [ok.astype(np.float64) for ok in self.cache.allowed(*self.costs)]
        tilt = ExponentialTilt(
            self.tree, possible, self.windows, [self.cache.cost_range(c) for c in self.costs]
        )
        # Less than one architecture, with room for rounding.
        return tilt.bound < -1e-3

    def check_exact(self, at: Array, mended: int, random: np.random.Generator) -> Array:
        """The assignments whose exact costs are inside, accepted by what the tilt took from them:
        the tilt of all costs, but for ``mended`` of them (the resolved one first)."""
        power: Array = np.zeros(len(at))
        order = [self.first, *(k for k in range(len(self.costs)) if k != self.first)]
        for number, k in enumerate(order[: len(self.costs)]):
            least, most = self.windows[k]
            found = self.cache.lookup(self.costs[k]).assigned(at)
            inside = np.asarray((found >= least) & (found <= most), np.bool_)
            at, power, found = at[inside], power[inside], found[inside]
            rate = self.rates[k] if number >= mended else 0.0
            if rate:
                edge = most if rate > 0 else least
                power = power + rate * (found - edge).astype(np.float64)
        if power.any():
            return at[random.random(len(at)) < np.exp(power)]
        return at

    def _prepare(
        self, prepared: TiltedWeights, ends: Sequence[tuple[int, int]], bins: tuple[int, int]
    ) -> None:
        """Draw from weights that are tilted already: the cost whose window is the narrowest part of
        all that there is is resolved."""
        self.tree, self.weights, self.rates = prepared
        self.drawn = self.accepted = 0
        if ends:
            shares = [
                (most - least) / max(high - low, 1)
                for (least, most), (low, high) in zip(self.windows, ends, strict=True)
            ]
            self.first = min(range(len(ends)), key=shares.__getitem__)
            self._resolve(ends[self.first], bins)
            self._untilt()
        else:
            nothing = free(self.tree)
            found = CostGrid(nothing, leaves(nothing, self.weights, 0, 1), 1, 0)
            self._drawer = BackwardSampler(found.root, len(self.tree.sizes), 0, 1)
        if not self._drawer.weight[0]:
            raise Underflow

    def _untilt(self) -> None:
        """Give the bins that are drawn from the weight that they have without the tilt by the
        resolved cost, but for how far their costs are apart: that is mended by accepting."""
        rate = self.sign * self.rates[self.first]
        first, end, _, _ = self.grid.range(*self.seen)
        start = self.grid.base + self.grid.unit * int(self.grid.root.offset[0])
        edges = start + self.grid.unit * np.arange(first, end) + self.grid.error[int(rate > 0)]
        edges = np.clip(edges, *self.seen)
        variables = len(self.tree.sizes)
        self._drawer = BackwardSampler(self.grid.root, variables, first, end, rate * edges)
        self._edges = self.sign * edges

    def _choose(self, tilt: ExponentialTilt, ends: Sequence[tuple[int, int]]) -> None:
        """The cost whose window is narrowest is resolved."""
        self.deviations = [
            float(deviation) * (high - low)
            for deviation, (low, high) in zip(tilt.deviation, ends, strict=True)
        ]
        widths = [
            (most - least) / max(deviation, 1e-9 * (high - low), 1e-9)
            for (least, most), (low, high), deviation in zip(
                self.windows, ends, self.deviations, strict=True
            )
        ]
        self.first = min(range(len(ends)), key=widths.__getitem__)
        self._tilt(tilt)

    def _tilt(self, tilt: ExponentialTilt) -> None:
        self.weights = tilt.tables(self.first)
        self.rates = [0.0 if k == self.first else tilt.rate(k) for k in range(len(self.windows))]

    def _resolve(self, ends: tuple[int, int], limits: tuple[int, int]) -> None:
        low, high = ends
        least, most = self.windows[self.first]
        sign = side(self.cache, self.costs[self.first], (least, most))
        span = most - low if sign > 0 else high - least
        # About one bin for each rounding in the window: half of the draws are inside then.
        bins = min(max(40 * span // max(most - least, 1), limits[0]), limits[1])
        self.sign = sign
        self.leaf = leaves(self.tree, self.weights, self.first, sign)
        unit = max(finest(self.leaf), -(-span // bins), 1)
        self.grid = CostGrid(self.tree, self.leaf, unit, span // unit + len(self.leaf) + 2)
        self.seen = (least, most) if sign > 0 else (-most, -least)
        first, end, _, _ = self.grid.range(*self.seen)
        self._drawer = BackwardSampler(self.grid.root, len(self.tree.sizes), first, end)


def free(tree: BucketTree) -> BucketTree:
    """The same program with one cost, which is 0."""
    return replace(tree, potentials=tuple(replace(p, costs=(None,)) for p in tree.potentials))
