"""Rejection sampling of assignments whose costs lie in windows, from a proposal that is near them.

One cost, the *gridded* one, is discretised (`cost_grid`), and only bins that can contain a cost in
its window are drawn, by `backward_sampling`. The other costs are brought near their windows by
exponential tilting (`tilted`): with rates theta_k, the proposal is

    q(x) proportional to w(x) * exp(-sum over k of theta_k * cost_k(x)),

and a draw whose exact costs are all inside is accepted with probability

    exp(sum over k of theta_k * (cost_k(x) - edge_k)) <= 1,

where edge_k is the upper end of window k if theta_k > 0, else the lower end. The product of the two
is proportional to w(x): accepted draws have exactly the distribution of w within the windows. The
grid and the tilt only decide how many draws are accepted; where these are few, `meet_in_the_middle`
accepts more.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from math import inf, log
from typing import NamedTuple

import numpy as np

from tsdsl.analysis.costs.cost import Cost
from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.elimination.bucket_tree import BucketTree
from tsdsl.analysis.elimination.cache import QueryCache
from tsdsl.analysis.sampling.backward_sampling import BackwardSampler
from tsdsl.analysis.sampling.cost_grid import CostGrid, common_unit, grid_leaves
from tsdsl.analysis.sampling.explain_empty import nothing_inside
from tsdsl.analysis.windows.enumeration import Windows
from tsdsl.analysis.windows.tilted import ExponentialTilt
from tsdsl.analysis.windows.window import side

#: Least and greatest number of bins of the grid.
BINS = (256, 4096)
#: The logarithm of the range of floats, less 24 for the digits that sums need.
LOG_RANGE = 680.0


class Underflow(Exception):
    """The weight inside the windows is too small for a float, compared to the weight outside."""


class TiltedWeights(NamedTuple):
    """Weights that are tilted already: a tree, a table for each of its potentials, and the rate at
    which they are tilted by each cost, per unit of the cost."""

    tree: BucketTree
    weights: list[Array]
    rates: list[float]


class WindowSampler:
    """Draws from the distribution in which the options of each decision have the weights ``rows``,
    within windows. With ``rough``, architectures whose weight underflows may be missing; otherwise
    `Underflow` is raised where there may be any. ``prepared`` are weights to draw from in place of
    ``rows``. Raises `SpecError` where it is proven that no architecture is inside, `TooCoupled`."""

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
        #: The windows, clipped to the range of each cost.
        self.windows = [
            (max(least, low), min(most, high))
            for (least, most), (low, high) in zip(windows.values(), ends, strict=True)
        ]
        self.tree = cache.bucket_tree(*self.costs)
        #: The tilted weights of the potentials, and theta of each cost.
        self.weights = [p.weights(rows) for p in self.tree.potentials]
        self.rates = [0.0] * len(ends)
        #: The standard deviation of each cost, where it is tilted.
        self.deviations = [0.0] * len(ends)
        #: The number of the gridded cost.
        self.first = 0
        #: Where the weights are tilted by the gridded cost, too: the edge of each bin.
        self._edges: Array | None = None
        if prepared is not None:
            self._prepare(prepared, ends, bins)
            return
        tilt = (
            ExponentialTilt(self.tree, self.weights, self.windows, ends) if len(ends) > 1 else None
        )
        if tilt is not None:
            self._choose(tilt, ends)
        self.drawn = self.accepted = 0
        if not ends:
            self._set_constant_grid()
        else:
            self._set_grid(ends[self.first], bins)
        while tilt is not None and any(self.rates) and not self._backward.weight[0]:
            if self.empty():
                raise nothing_inside(cache, windows)
            # The tilt is so steep that the weight inside underflows: half of it, then.
            tilt.rates = np.where(np.abs(tilt.rates) < 1, 0.0, tilt.rates / 2)
            self._tilt(tilt)
            self._set_grid(ends[self.first], bins)
        if not self._backward.weight[0] or (not rough and self._log_weight < self._safe_weight()):
            if rows is cache.unit_weights and not self._backward.weight[0]:
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
        """A sampler whose grid is remembered in ``cache`` for the next call."""
        key = (cls, tuple(windows.items()), bins, tuple(row.tobytes() for row in rows))
        sampler = copy(cache.remember(key, lambda: cls(cache, rows, windows, bins)))
        sampler.drawn = sampler.accepted = 0
        return sampler

    @property
    def _log_weight(self) -> float:
        """The logarithm of the weight of all bins that are drawn from."""
        weight, scale = self._backward.weight
        return log(weight) + scale * log(2.0) if weight > 0 else -inf

    def _safe_weight(self) -> float:
        """The logarithm of the weight from which on nothing that underflowed can be missing: all
        of that together is less than the smallest float times all weight."""
        most = sum(log(len(d.options)) for d in self.cache.space.decisions)
        free = not any(self.rates) and all(abs(float(row.sum()) - 1) < 1e-6 for row in self._rows)
        return (0.0 if free else most) - LOG_RANGE

    @property
    def rate(self) -> float:
        """The share of draws that were accepted."""
        return self.accepted / self.drawn if self.drawn else 0.0

    def draw(self, random: np.random.Generator, n: int) -> Array:
        """Those of ``n`` draws that are accepted: assignments [draw, variable]."""
        at = self._backward.draw(random, n)
        if self._edges is not None:
            # Bins were drawn by their weight without the tilt; this undoes the tilt within a bin.
            rate, edge = self.rates[self.first], self._edges[self._backward.picked]
            cost = self.cache.lookup(self.costs[self.first]).assigned(at)
            apart = rate * (cost - edge).astype(np.float64)
            at = at[random.random(n) < np.exp(np.minimum(apart, 0.0))]
        kept = self.check_exact(at, min(len(self.costs), 1), random)
        self.drawn += n
        self.accepted += len(kept)
        return kept

    def empty(self) -> bool:
        """Whether it is proven that no architecture is in all windows, by a Chernoff bound of the
        number of those that are."""
        if len(self.costs) < 2:
            return False
        possible = [ok.astype(np.float64) for ok in self.cache.allowed(*self.costs)]
        tilt = ExponentialTilt(
            self.tree, possible, self.windows, [self.cache.cost_range(c) for c in self.costs]
        )
        # Fewer than one architecture, with room for rounding.
        return tilt.bound < -1e-3

    def check_exact(self, at: Array, untilted: int, random: np.random.Generator) -> Array:
        """The assignments whose exact costs are inside, each accepted with the probability that
        undoes the tilt: of all costs, except the first ``untilted`` of them in the order of the
        gridded one and then the others."""
        power: Array = np.zeros(len(at))
        order = [self.first, *(k for k in range(len(self.costs)) if k != self.first)]
        for number, k in enumerate(order[: len(self.costs)]):
            least, most = self.windows[k]
            cost = self.cache.lookup(self.costs[k]).assigned(at)
            inside = np.asarray((cost >= least) & (cost <= most), np.bool_)
            at, power, cost = at[inside], power[inside], cost[inside]
            rate = self.rates[k] if number >= untilted else 0.0
            if rate:
                edge = most if rate > 0 else least
                power = power + rate * (cost - edge).astype(np.float64)
        if power.any():
            return at[random.random(len(at)) < np.exp(power)]
        return at

    def _prepare(
        self, prepared: TiltedWeights, ends: Sequence[tuple[int, int]], bins: tuple[int, int]
    ) -> None:
        """Draw from weights that are tilted already. The gridded cost is the one whose window is
        the smallest share of its range."""
        self.tree, self.weights, self.rates = prepared
        self.drawn = self.accepted = 0
        if ends:
            shares = [
                (most - least) / max(high - low, 1)
                for (least, most), (low, high) in zip(self.windows, ends, strict=True)
            ]
            self.first = min(range(len(ends)), key=shares.__getitem__)
            self._set_grid(ends[self.first], bins)
            self._untilt_bins()
        else:
            self._set_constant_grid()
        if not self._backward.weight[0]:
            raise Underflow

    def _untilt_bins(self) -> None:
        """Multiply the mass of each bin by exp(theta * edge) of the bin, for the gridded cost: that
        undoes the tilt but for how far costs in a bin are apart, which `draw` undoes."""
        rate = self.sign * self.rates[self.first]
        first, end, _, _ = self.grid.bin_range(*self.grid_window)
        start = self.grid.base + self.grid.unit * int(self.grid.root.offset[0])
        edges = start + self.grid.unit * np.arange(first, end) + self.grid.error[int(rate > 0)]
        edges = np.clip(edges, *self.grid_window)
        variables = len(self.tree.sizes)
        self._backward = BackwardSampler(self.grid.root, variables, first, end, rate * edges)
        self._edges = self.sign * edges

    def _choose(self, tilt: ExponentialTilt, ends: Sequence[tuple[int, int]]) -> None:
        """Choose the gridded cost, the one whose window is narrowest compared to its standard
        deviation under the tilt, and tilt by the others."""
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

    def _set_constant_grid(self) -> None:
        """Draw without windows, from a grid of a cost that is 0."""
        tree = _with_zero_cost(self.tree)
        grid = CostGrid(tree, grid_leaves(tree, self.weights, 0, 1), 1, 0)
        self._backward = BackwardSampler(grid.root, len(self.tree.sizes), 0, 1)

    def _set_grid(self, ends: tuple[int, int], limits: tuple[int, int]) -> None:
        """Make the grid, from the end of the cost's range that is nearer to the window on."""
        low, high = ends
        least, most = self.windows[self.first]
        sign = side(self.cache, self.costs[self.first], (least, most))
        span = most - low if sign > 0 else high - least
        # The sum of all rounding errors is then about as wide as the window, so that about half of
        # the draws are inside.
        bins = min(max(40 * span // max(most - least, 1), limits[0]), limits[1])
        #: 1 if the grid counts from the least cost up, -1 if from the greatest down.
        self.sign = sign
        self.leaves = grid_leaves(self.tree, self.weights, self.first, sign)
        unit = max(common_unit(self.leaves), -(-span // bins), 1)
        self.grid = CostGrid(self.tree, self.leaves, unit, span // unit + len(self.leaves) + 2)
        #: The window of the gridded cost, with the sign that the grid has.
        self.grid_window = (least, most) if sign > 0 else (-most, -least)
        first, end, _, _ = self.grid.bin_range(*self.grid_window)
        self._backward = BackwardSampler(self.grid.root, len(self.tree.sizes), first, end)


def _with_zero_cost(tree: BucketTree) -> BucketTree:
    """The same tree with one cost, which is 0."""
    return replace(tree, potentials=tuple(replace(p, costs=(None,)) for p in tree.potentials))
