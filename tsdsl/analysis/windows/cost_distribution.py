"""How a cost is spread over a space: exactly, or between proven bounds.

Three ways, the first that there is room for: all distinct costs with their weights
(`distinct_costs`); the architectures inside of a window, listed (`enumeration`); what the first
frequencies of the characteristic function prove (`characteristic`, `cdf_bounds`). The last is for
any number of architectures: a window's mass is known up to about the density at its ends times
the span of all costs over the number of frequencies. In the tails, weights are tilted, so that it
is that share of the mass *there*.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from math import exp, inf
from typing import NamedTuple

import numpy as np

from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.elimination.bucket_tree import BucketTree
from tsdsl.analysis.windows.cdf_bounds import CdfBounds
from tsdsl.analysis.windows.characteristic import CharacteristicFunction
from tsdsl.analysis.windows.distinct_costs import DistinctCosts, merged
from tsdsl.analysis.windows.joint_bounds import jointly
from tsdsl.analysis.windows.tilted import ExponentialTilt

#: Frequencies, unless tables are large; entries of tables times frequencies; at most.
FREQUENCIES = 4096
WORK = 160_000_000
MAX_FREQUENCIES = 1 << 20
#: A tilt is good enough where the mean is within this share of the nearer end from its target.
NEAR = 0.05


class WindowMass(NamedTuple):
    """Of a window, as shares of exp(``log``) times all weight: an estimate, and proven bounds."""

    estimate: float
    low: float
    high: float
    log: float = 0.0

    def of(self, total: float) -> tuple[float, float, float]:
        scale = exp(self.log) if self.log > -700 else 0.0
        return tuple(min(x * scale, 1.0) * total for x in self[:3])  # type: ignore[return-value]


class CostDistribution:
    """Of the costs of a program under weights (a table for each potential, floats or integers).
    ``ends`` are the least and the greatest of each cost; ``listed`` gives the same as ``points``
    one architecture after the other, if there are few."""

    def __init__(
        self,
        tree: BucketTree,
        weights: Sequence[Array],
        ends: Sequence[tuple[int, int]],
        architectures: int,
        listed: Callable[[], DistinctCosts | None] = lambda: None,
    ) -> None:
        self._listed = listed
        self._tree = tree
        self._weights = weights
        self.ends = ends
        self._architectures = architectures
        self._edges: dict[int, CdfBounds] = {}

    @cached_property
    def points(self) -> DistinctCosts | None:
        """Every distinct cost with its weight; None if there are too many."""
        return merged(self._tree, self._weights, self._architectures) or self._listed()

    @cached_property
    def _plain(self) -> CharacteristicFunction:
        return CharacteristicFunction(self._tree, self._weights, self.ends)

    @cached_property
    def _mean(self) -> float:
        return self._plain.mean()

    def edges(self, count: int = 0) -> CdfBounds:
        """Of the first cost above its least, from ``count`` frequencies."""
        count = count or self.frequencies
        if count not in self._edges:
            self._edges[count] = _edges(self._plain, count)
        return self._edges[count]

    @property
    def frequencies(self) -> int:
        """How many are looked at, if nobody asks for more."""
        return int(min(max(WORK // max(self._plain.cells, 1), 256), FREQUENCIES))

    def inside(self, low: int, high: int, precision: float = inf) -> WindowMass:
        """The mass of a window, ends included. More frequencies are asked, until the bounds differ
        by the share ``precision`` at most (or there are `MAX_FREQUENCIES`)."""
        least, greatest = self.ends[0]
        a, b = low - least - 0.5, high - least + 0.5
        target = min(max(self._mean, a + 0.5), b - 0.5)
        function = self._plain if target == self._mean else self._tilted(target)
        count = self.frequencies
        while True:
            plain = function is self._plain
            edges = self.edges(count) if plain else _edges(function, count)
            found = _weighed(edges, function, a, b, target)
            enough = found.high - found.low <= precision * found.high
            if enough or count >= min(MAX_FREQUENCIES, (greatest - least) // 2 + 1):
                break
            count *= 2
        shift = function.log_total - self._plain.log_total
        return found._replace(log=shift + function.theta[0] * target)

    def inside_all(self, windows: Sequence[tuple[int, int]], precision: float = inf) -> WindowMass:
        """The mass of several windows at once, one for each cost of the program."""
        tilt = ExponentialTilt(self._tree, self._weights, windows, self.ends)
        rates = [tilt.rate(k) for k in range(len(windows))]
        function = self._plain.tilted(*rates)
        while not function.sound:
            rates = [rate / 2 for rate in rates]
            function = self._plain.tilted(*rates)
        edges = [
            (low - least - 0.5, high - least + 0.5)
            for (low, high), (least, _) in zip(windows, self.ends, strict=True)
        ]
        count = self.frequencies
        while True:
            found = jointly(function, edges, count)
            if found[2] - found[1] <= precision * found[2] or count >= MAX_FREQUENCIES:
                break
            count *= 4
        dearer = (b if rate > 0 else a for (a, b), rate in zip(edges, rates, strict=True))
        log = sum(rate * edge for rate, edge in zip(rates, dearer, strict=True))
        return WindowMass(*found, function.log_total - self._plain.log_total + log)

    def _tilted(self, target: float) -> CharacteristicFunction:
        """The mean is at a target, or as near as a tilt brings it: bracketed, then regula falsi
        (Illinois)."""
        span = max(self._plain.span[0], 1)
        goal = NEAR * max(min(target, span - target), 1.0)
        found = self._plain
        left, left_apart = 0.0, self._mean - target
        if abs(left_apart) <= goal:
            return found
        step = (1.0 if left_apart > 0 else -1.0) / span
        while True:
            found, before = self._plain.tilted(left + step), found
            if not found.sound:
                return before
            right, right_apart = found.theta[0], found.mean() - target
            if abs(right_apart) <= goal:
                return found
            if right_apart * left_apart < 0:
                break
            left, left_apart, step = right, right_apart, 2 * step
        for _ in range(30):
            middle = (left * right_apart - right * left_apart) / (right_apart - left_apart)
            found = self._plain.tilted(middle)
            apart = found.mean() - target
            if abs(apart) <= goal:
                break
            if apart * right_apart < 0:
                left, left_apart = right, right_apart
            else:
                left_apart /= 2
            right, right_apart = middle, apart
        return found


def _edges(function: CharacteristicFunction, count: int) -> CdfBounds:
    empty = max(function.span[0] // 50, 8)
    period = function.span[0] + empty
    # From half of the period on there is nothing new: costs are whole numbers.
    count = min(count, period // 2 + 1)
    return CdfBounds(function.values([period], [count]), period, empty)


def _weighed(
    edges: CdfBounds, function: CharacteristicFunction, a: float, b: float, target: float
) -> WindowMass:
    """The weight between two edges of the cost above its least, from a tilted distribution: each
    cost x there counts exp(theta * (x - target)). With F, the tilted mass below an edge, that is a
    Stieltjes sum, bounded where F is and where the factor is between two points."""
    theta = function.theta[0]
    if not theta:
        return WindowMass(*edges.between(a, b))
    grid, *inner = edges.below()
    _, *ends = edges.below(np.array([a, b]))
    within = (grid > a) & (grid < b)
    points = np.concatenate([[a], grid[within], [b]])
    mass, low, high = (
        np.concatenate([[end[0]], whole[within], [end[1]]])
        for end, whole in zip(ends, inner, strict=True)
    )
    low, high = np.maximum.accumulate(low), np.minimum.accumulate(high[::-1])[::-1]
    factor = np.exp(theta * (points - target))
    most = np.maximum(factor[:-1], factor[1:])
    least = np.minimum(factor[:-1], factor[1:])
    return WindowMass(
        _stieltjes((most + least) / 2, mass, mass),
        max(_stieltjes(least, high, low), 0.0),
        _stieltjes(most, low, high),
    )


def _stieltjes(factor: Array, below: Array, above: Array) -> float:
    """The sum of factor[k] * (F[k + 1] - F[k]), with F at ``above`` where that makes it larger, and
    at ``below`` elsewhere."""
    slope = np.concatenate([[-factor[0]], factor[:-1] - factor[1:], [factor[-1]]])
    return float(np.sum(slope * np.where(slope > 0, above, below)))
