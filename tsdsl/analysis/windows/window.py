"""How much of a space has its costs in given windows: counts, masses, histograms and quantiles.

Answers are exact where the distinct costs, or the architectures in question, are few enough to be
enumerated. Otherwise each answer is an interval that provably contains the true value, with an
estimate inside of it (see `cost_distribution`). For several windows, the intervals of the single
ones are combined by the Bonferroni and Frechet inequalities,

    sum of P(cost_k in window k) - (n - 1)  <=  P(all n)  <=  min of P(cost_k in window k),

and by the bounds of the joint distribution (`joint_bounds`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from math import ceil, exp, floor, inf, log
from typing import Any, Literal, NamedTuple

import numpy as np

from tsdsl.analysis.costs.cost import Cost
from tsdsl.analysis.costs.factors import MAX_INT64, Array
from tsdsl.analysis.distribution import (
    Distribution,
    DistributionLike,
    as_distribution,
    on_joint_graph,
)
from tsdsl.analysis.elimination.cache import QueryCache, query_cache
from tsdsl.analysis.elimination.conditionals import to_conditionals
from tsdsl.analysis.elimination.count import count as count_all
from tsdsl.analysis.elimination.no_architecture import no_architecture
from tsdsl.analysis.windows.cost_distribution import CostDistribution, WindowMass
from tsdsl.analysis.windows.distinct_costs import DistinctCosts
from tsdsl.analysis.windows.enumeration import Enumerator, Windows
from tsdsl.ir.space import SpaceGraph
from tsdsl.units import interval_text

#: Relative rounding error of the sums of floats here, at most.
ROUNDING = 1e-9
LOG_2 = log(2)
#: Greater than all costs: an open end of a window.
FAR = 1 << 256
#: The smallest positive float.
SMALLEST = 5e-324
#: Largest number of architectures that are enumerated.
MAX_LISTED = 1 << 15
#: Logarithm of the weight of all architectures down to which weights are not normalised in
#: logarithms first (see `expectation`).
LEAST = -640.0

#: A distribution, or "architectures": every architecture has the same weight.
Weighting = DistributionLike | Literal["architectures"]


class _Bounds(NamedTuple):
    """The tuple under `Between`, which adds an attribute that is no item."""

    low: float
    high: float


class Between(_Bounds):
    """An interval that provably contains the true value, both ends included; the value is exact
    where they are equal. ``estimate`` is usually much nearer to it than the bounds can prove."""

    estimate: float

    def __new__(cls, low: float, high: float, estimate: float | None = None) -> Between:
        self = super().__new__(cls, low, high)
        self.estimate = (low + high) / 2 if estimate is None else min(max(estimate, low), high)
        return self

    @property
    def exact(self) -> bool:
        """Whether the value is known exactly."""
        return self.low == self.high


class _Counts(NamedTuple):
    """The tuple under `CountBetween`."""

    low: int
    high: int


class CountBetween(_Counts):
    """An interval of integers that provably contains the true number, both ends included, and an
    ``estimate`` of it."""

    estimate: int

    def __new__(cls, low: int, high: int, estimate: int | None = None) -> CountBetween:
        self = super().__new__(cls, low, high)
        self.estimate = (low + high) // 2 if estimate is None else min(max(estimate, low), high)
        return self


class Histogram(NamedTuple):
    """The shares of all mass in bins of a cost: ``edges[k] <= cost < edges[k + 1]``, where the last
    bin includes both of its ends. The true share is between ``low`` and ``high``; ``share`` is an
    estimate, which is exact where they are equal."""

    edges: Array
    share: Array
    low: Array
    high: Array

    @property
    def exact(self) -> bool:
        """Whether the shares of all bins are exact."""
        return bool((self.low == self.high).all())


def count(space: SpaceGraph, windows: Windows, precision: float = inf) -> int | CountBetween:
    """The number of architectures that have each cost in its window: exact, or proven bounds, which
    are refined until they differ by at most the share ``precision`` of the upper one, where that is
    feasible. Raises `TooCoupled`."""
    cache = query_cache(space)
    total = count_all(space)
    narrow = clipped(cache, windows) if total else None
    if narrow is None:
        return 0
    if not narrow:
        return total
    every = _cost_distribution(cache, tuple(narrow), None)
    if every.points is not None:
        return int(sum(every.points.weight[_within(every.points, narrow)].tolist()))
    listed = Enumerator(cache, tuple(narrow)).assignments(narrow, MAX_LISTED)
    if listed is not None:
        return len(listed)
    single = [
        _counted(_cost_distribution(cache, (cost,), None).inside(*window, precision), total)
        for cost, window in narrow.items()
    ]
    high = min(s.high for s in single)
    low = max(sum(s.low for s in single) - total * (len(single) - 1), 0)
    estimate = single[0].estimate
    if len(narrow) > 1 and high > 0:
        both = _counted(every.inside_all(list(narrow.values()), precision), total)
        low, high, estimate = max(low, both.low), min(high, both.high), both.estimate
    return low if low == high else CountBetween(low, high, estimate)


def mass(
    space: SpaceGraph, windows: Windows, weighting: Weighting = None, precision: float = inf
) -> Between:
    """The probability that each cost is in its window, exact or between proven bounds; see
    `count`. Raises `SpecError` if no architecture has a probability above 0, `TooCoupled`."""
    space, weighting = on_joint_graph(space, weighting)
    cache = query_cache(space)
    weights = option_weights(cache, weighting)
    narrow = clipped(cache, windows)
    if narrow is None:
        return Between(0.0, 0.0)
    if not narrow:
        return Between(1.0, 1.0)
    every = _cost_distribution(cache, tuple(narrow), weights)
    if every.points is not None:
        weight = every.points.weight
        share = float(weight[_within(every.points, narrow)].sum() / weight.sum())
        if share > 0:
            return Between(share, share)
    listed = Enumerator(cache, tuple(narrow)).assignments(narrow, MAX_LISTED)
    if listed is not None:
        logs = log_weights(cache, weights.logs, listed)
        possible = bool((logs > -inf).any())
        share = float(np.exp(logs - weights.log_total).sum())
        # A possible window whose mass underflows is not impossible.
        return Between(share, share) if share > 0 or not possible else Between(0.0, SMALLEST)
    if every.points is not None:
        return Between(0.0, SMALLEST)
    single = [
        _cost_distribution(cache, (cost,), weights).inside(*window, precision).of(1.0)
        for cost, window in narrow.items()
    ]
    low = max(sum(s[1] for s in single) - len(single) + 1, 0.0)
    high = min(s[2] for s in single)
    estimate = single[0][0]
    if len(narrow) > 1 and high > 0:
        estimate, least, most = every.inside_all(list(narrow.values()), precision).of(1.0)
        low, high = max(low, least), min(high, most)
    return Between(low, max(high, SMALLEST), estimate)


def histogram(
    space: SpaceGraph, cost: Cost, bins: int = 40, weighting: Weighting = None
) -> Histogram:
    """The shares of all mass in bins of equal width from the least to the greatest cost. Raises
    `ValueError` for fewer than 1 bin, `SpecError`, `TooCoupled`."""
    if bins < 1:
        raise ValueError(f"a histogram has 1 bin or more, not {bins}")
    space, weighting = on_joint_graph(space, weighting)
    cache = query_cache(space)
    weights = option_weights(cache, weighting)
    low, high = cache.cost_range(cost)
    edges = np.linspace(float(low), float(high), bins + 1)
    every = _cost_distribution(cache, (cost,), weights)
    if every.points is not None:
        at = np.searchsorted(edges, every.points.costs[:, 0].astype(np.float64), side="right") - 1
        mass = np.bincount(np.clip(at, 0, bins - 1), every.points.weight.astype(float), bins)
        share = mass / mass.sum()
        return Histogram(edges, share, share, share)
    # Costs are integers: an edge is moved between two of them, so that a cost at an edge is in the
    # bin above it; at the last edge, in the bin below.
    shifted = edges - low - 0.5
    shifted[-1] += 1.0
    masses = [every.edges().between(a, b) for a, b in pairwise(shifted.tolist())]
    share, least, most = np.array(masses).T
    return Histogram(edges, share / share.sum(), least, most)


def quantiles(
    space: SpaceGraph, cost: Cost, shares: Sequence[float], weighting: Weighting = None
) -> list[Between]:
    """For each share, the least cost c with P(cost <= c) >= share. Raises `ValueError` for a share
    outside of 0 to 1, `SpecError`, `TooCoupled`."""
    if outside := [share for share in shares if not 0 <= share <= 1]:
        raise ValueError(f"a share is from 0 to 1, not {outside[0]}")
    space, weighting = on_joint_graph(space, weighting)
    cache = query_cache(space)
    weights = option_weights(cache, weighting)
    low, high = cache.cost_range(cost)
    every = _cost_distribution(cache, (cost,), weights)
    answers: list[Between] = []
    if every.points is not None:
        sums = np.cumsum(every.points.weight.astype(float))
        for share in shares:
            at = int(np.searchsorted(sums, share * sums[-1] * (1 - 1e-12)))
            value = every.points.costs[min(at, len(sums) - 1), 0]
            answers.append(Between(int(value), int(value)))
        return answers
    points, middle, least, most = every.edges().below()
    for share in shares:
        # At ``before``, the mass below is certainly too small; at ``after``, certainly enough.
        before = points[most < share][-1:] if share > 0 else points[:0]
        after = points[least >= share][:1]
        first = low + int(before[0]) if len(before) else low
        last = low + ceil(after[0]) if len(after) else high
        near = low + float(points[min(int(np.searchsorted(middle, share)), len(points) - 1)])
        answers.append(Between(min(max(first, low), high), min(max(last, low), high), near))
    return answers


def _cost_distribution(
    cache: QueryCache, costs: tuple[Cost, ...], given: OptionWeights | None
) -> CostDistribution:
    """The distribution of some costs, remembered in the cache; with weights 1 for every
    architecture where none are given."""
    key = (costs, None if given is None else b"".join(row.tobytes() for row in given.logs))
    return cache.remember(key, lambda: _new_distribution(cache, costs, given))


def _new_distribution(
    cache: QueryCache, costs: tuple[Cost, ...], given: OptionWeights | None
) -> CostDistribution:
    """`_cost_distribution` without the cache."""
    tree = cache.bucket_tree(*costs)
    total = count_all(cache.space)
    if given is None:
        number = np.int64 if total < MAX_INT64 else object
        tables = [ok.astype(number) for ok in cache.allowed(*costs)]
    elif given.log_total >= LEAST:
        tables = [p.weights(given.rows) for p in tree.potentials]
    else:
        # The weight of all architectures underflows; conditional probabilities sum to 1.
        normalised = to_conditionals(tree, [p.log_weights(given.logs) for p in tree.potentials])
        assert normalised.tree is not None
        tree = normalised.tree
        tables = [p.weights(()) for p in tree.potentials]

    def listed() -> DistinctCosts | None:
        """All architectures with their weights, while they are few: for costs of any size."""
        if total > MAX_LISTED:
            return None
        at = Enumerator(cache, ()).assignments({})
        if at is None:
            return None
        columns = [cache.lookup(cost).assigned(at) for cost in costs]
        order = sorted(range(len(at)), key=columns[0].__getitem__)
        if given is None:
            weight: Array = np.ones(len(at), np.int64)
        else:
            weight = np.exp(log_weights(cache, given.logs, at) - given.log_total)
        return DistinctCosts(np.stack(columns, 1)[order], weight[order])

    return CostDistribution(tree, tables, [cache.cost_range(cost) for cost in costs], total, listed)


def _within(points: DistinctCosts, windows: Windows) -> Array:
    inside: Array = np.ones(len(points.costs), np.bool_)
    for column, (least, most) in zip(points.costs.T, windows.values(), strict=True):
        inside &= (column >= least) & (column <= most)
    return inside


def _counted(mass: WindowMass, total: int) -> CountBetween:
    """Bounds of a count, widened by the rounding error of exp and of logarithms of that size."""
    power = floor(mass.log / LOG_2)
    scale = Fraction(exp(mass.log - power * LOG_2)) * Fraction(2) ** power * total
    slack = Fraction(ROUNDING)
    low = max(ceil(Fraction(mass.low) * scale * (1 - slack)), 0)
    high = min(floor(Fraction(mass.high) * scale * (1 + slack)), total)
    return CountBetween(low, high, round(Fraction(mass.estimate) * scale))


class OptionWeights(NamedTuple):
    """The weights of the options of each decision, their logarithms (finite also where a weight
    underflows), and the logarithm of the weight of all architectures together."""

    rows: list[Array]
    logs: list[Array]
    log_total: float


def option_weights(cache: QueryCache, weighting: Weighting) -> OptionWeights:
    """The weights of options that a weighting gives. Raises `SpecError` if no architecture has a
    weight above 0."""
    space = cache.space
    if isinstance(weighting, str) and weighting == "architectures":
        total = count_all(space)
        if not total:
            raise no_architecture(space)
        return OptionWeights(
            cache.unit_weights, [np.zeros(len(row)) for row in cache.unit_weights], log(total)
        )
    given: Distribution = as_distribution(space, weighting)
    return OptionWeights(
        given.layout.split(given.flat_probabilities),
        given.layout.split(given.flat_logs),
        cache.feasibility.moments(given).log_feasible,
    )


def log_weights(cache: QueryCache, logs: Sequence[Array], at: Array) -> Array:
    """The logarithm of the weight of each assignment [assignment, variable], from the logarithms of
    the weights of options; -inf for an impossible one."""
    total: Array = np.zeros(len(at))
    for potential in cache.bucket_tree().potentials:
        table = potential.log_weights(logs)
        total += table[tuple(at[:, v] for v in potential.scope)]
    return total


def shown_window(window: tuple[int, int]) -> str:
    """A window as text, ``1,000..2,000``, with nothing at an open end."""
    low, high = window
    return interval_text(-inf if low <= -FAR else low, inf if high >= FAR else high)


def shown_windows(windows: Windows) -> str:
    """Some windows as text, ``macs 1,000..2,000, params ..500``."""
    return ", ".join(f"{cost} {shown_window(window)}" for cost, window in windows.items())


def side(cache: QueryCache, cost: Cost, window: tuple[int, int]) -> int:
    """The end of a cost's range that a window is nearer to: 1 for the least cost, -1 for the
    greatest."""
    low, high = cache.cost_range(cost)
    return 1 if window[1] - low <= high - window[0] else -1


def clipped(cache: QueryCache, windows: Windows) -> dict[Cost, tuple[int, int]] | None:
    """The windows that exclude some costs, clipped to the range of each cost; None if one excludes
    all costs."""
    narrow: dict[Cost, tuple[int, int]] = {}
    for cost, (least, most) in windows.items():
        low, high = cache.cost_range(cost)
        if least > most or least > high or most < low:
            return None
        if least > low or most < high:
            narrow[cost] = (max(least, low), min(most, high))
    return narrow


def windows_of(given: Mapping[Cost, tuple[float, float]]) -> dict[Cost, tuple[int, int]]:
    """Windows with integer ends. Raises `ValueError` for one that is not two ascending numbers."""
    rounded: dict[Cost, tuple[int, int]] = {}
    for cost, window in given.items():
        # A caller without type checker can pass anything.
        ends: Any = window
        pair = list(ends) if isinstance(ends, Iterable) and not isinstance(ends, str) else []
        if len(pair) != 2:
            raise ValueError(
                f"{cost}: a window is two numbers, the least and the greatest: {window!r}"
            )
        low, high = pair
        if not low <= high:
            raise ValueError(f"{cost}: a window goes from its low to its high end: {low}..{high}")
        rounded[cost] = (
            -FAR if low == -inf else ceil(low),
            FAR if high == inf else floor(high),
        )
    return rounded
