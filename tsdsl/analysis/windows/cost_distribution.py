"""The distribution of a cost over a space: exact, or between proven bounds.

Three methods, the first that is feasible: all distinct costs with their weights
(`distinct_costs`); the architectures themselves, enumerated (`enumeration`); bounds from the first
K frequencies of the characteristic function (`characteristic`, `cdf_bounds`). The last one works
for any number of architectures: the mass of a window is known up to about

    (density at its ends) * (range of all costs) / K.

For windows in the tails, weights are tilted until the mean lies in the window (`tilted`), so that
this error is relative to the mass there.
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
from tsdsl.analysis.windows.joint_bounds import joint_mass
from tsdsl.analysis.windows.tilted import ExponentialTilt

#: Number of frequencies by default; largest number of table entries times frequencies by default;
#: largest number of frequencies when more precision is asked for.
FREQUENCIES = 4096
WORK = 160_000_000
MAX_FREQUENCIES = 1 << 20
#: A tilted mean may be off its target by this share of the target's distance to the nearer end.
NEAR = 0.05


class WindowMass(NamedTuple):
    """The weight of a window, divided by exp(``log``) times the total weight so that tails keep
    their precision: an estimate, and bounds with ``low <= true <= high``."""

    estimate: float
    low: float
    high: float
    log: float = 0.0

    def of(self, total: float) -> tuple[float, float, float]:
        """Estimate, low and high as weights, where all weight is ``total``."""
        scale = exp(self.log) if self.log > -700 else 0.0
        return tuple(min(x * scale, 1.0) * total for x in self[:3])  # type: ignore[return-value]


class CostDistribution:
    """The distribution of the costs of a bucket tree under ``weights`` (a table for each potential,
    floats or integers). ``ends`` are the least and the greatest of each cost, ``architectures`` is
    their number; ``listed`` enumerates them where `distinct_costs` is not feasible, or returns
    None."""

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
        """Bounds of the first cost, counted from its least value, from ``count`` frequencies."""
        count = count or self.frequencies
        if count not in self._edges:
            self._edges[count] = _edges(self._plain, count)
        return self._edges[count]

    @property
    def frequencies(self) -> int:
        """The number of frequencies by default."""
        return int(min(max(WORK // max(self._plain.cells, 1), 256), FREQUENCIES))

    def inside(self, low: int, high: int, precision: float = inf) -> WindowMass:
        """The mass of a window, both ends included. The number of frequencies is doubled until the
        bounds differ by at most the share ``precision`` of the upper one, or until there are
        `MAX_FREQUENCIES`."""
        least, greatest = self.ends[0]
        a, b = low - least - 0.5, high - least + 0.5
        target = min(max(self._mean, a + 0.5), b - 0.5)
        function = self._plain if target == self._mean else self._tilted(target)
        count = self.frequencies
        while True:
            plain = function is self._plain
            edges = self.edges(count) if plain else _edges(function, count)
            mass = _untilted_mass(edges, function, a, b, target)
            enough = mass.high - mass.low <= precision * mass.high
            if enough or count >= min(MAX_FREQUENCIES, (greatest - least) // 2 + 1):
                break
            count *= 2
        shift = function.log_total - self._plain.log_total
        return mass._replace(log=shift + function.theta[0] * target)

    def inside_all(self, windows: Sequence[tuple[int, int]], precision: float = inf) -> WindowMass:
        """The mass of several windows at once, one for each cost of the tree."""
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
            estimate, low, high = joint_mass(function, edges, count)
            if high - low <= precision * high or count >= MAX_FREQUENCIES:
                break
            count *= 4
        upper = (b if rate > 0 else a for (a, b), rate in zip(edges, rates, strict=True))
        log = sum(rate * edge for rate, edge in zip(rates, upper, strict=True))
        return WindowMass(estimate, low, high, function.log_total - self._plain.log_total + log)

    def _tilted(self, target: float) -> CharacteristicFunction:
        """A tilt whose mean is near a target, or as near as floats allow: bracketed by doubling,
        then found by regula falsi (the Illinois variant)."""
        span = max(self._plain.span[0], 1)
        goal = NEAR * max(min(target, span - target), 1.0)
        function = self._plain
        left, left_apart = 0.0, self._mean - target
        if abs(left_apart) <= goal:
            return function
        step = (1.0 if left_apart > 0 else -1.0) / span
        while True:
            function, before = self._plain.tilted(left + step), function
            if not function.sound:
                return before
            right, right_apart = function.theta[0], function.mean() - target
            if abs(right_apart) <= goal:
                return function
            if right_apart * left_apart < 0:
                break
            left, left_apart, step = right, right_apart, 2 * step
        for _ in range(30):
            middle = (left * right_apart - right * left_apart) / (right_apart - left_apart)
            function = self._plain.tilted(middle)
            apart = function.mean() - target
            if abs(apart) <= goal:
                break
            if apart * right_apart < 0:
                left, left_apart = right, right_apart
            else:
                left_apart /= 2
            right, right_apart = middle, apart
        return function


def _edges(function: CharacteristicFunction, count: int) -> CdfBounds:
    """Bounds of the first cost from its characteristic function. The period is a little longer
    than the range of costs, so that there is an empty arc between its ends."""
    empty = max(function.span[0] // 50, 8)
    period = function.span[0] + empty
    # Costs are integers: frequencies above half of the period repeat the lower ones.
    count = min(count, period // 2 + 1)
    return CdfBounds(function.values([period], [count]), period, empty)


def _untilted_mass(
    edges: CdfBounds, function: CharacteristicFunction, a: float, b: float, target: float
) -> WindowMass:
    """The weight between two edges, a and b, from a tilted distribution. With F(x), the tilted mass
    below x, the tilt is undone by the Stieltjes integral

        integral from a to b of exp(theta * (x - target)) dF(x),

    which is bounded by sums over a grid of points: F is bounded at each point, and the factor
    between two points by its values there."""
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
    """An upper bound of the sum of factor[k] * (F[k + 1] - F[k]) over all F with below <= F <=
    above: summed by parts, each F is at the end that makes the sum larger. With ``below`` and
    ``above`` exchanged, a lower bound."""
    slope = np.concatenate([[-factor[0]], factor[:-1] - factor[1:], [factor[-1]]])
    return float(np.sum(slope * np.where(slope > 0, above, below)))
