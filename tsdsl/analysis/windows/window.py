"""How much of a space lies where: counts, masses, histograms and quantiles of its costs.

Exact where the distinct costs, or the architectures in question, are few enough. Otherwise every
answer is two numbers between which the true one provably lies (see `cost_distribution`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from math import ceil, exp, floor, inf, log
from typing import Literal, NamedTuple

import numpy as np

from tsdsl.analysis.costs.cost_table import Cost
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

#: Bins of a grid, unless a common multiple needs fewer.
BINS = 4096
#: What sums of this many floats can be off by, relative to the result.
ROUNDING = 1e-9
LOG_2 = log(2)
#: Beyond all costs.
FAR = 1 << 256
#: The smallest float that is not 0.
SMALLEST = 5e-324
#: Architectures that are listed at most.
MAX_LISTED = 1 << 15
#: Logarithms of weights of all architectures that floats can be used for (see `expectation`).
LEAST = -640.0

#: "architectures": every architecture weighs the same.
Weighting = DistributionLike | Literal["architectures"]


class _Bounds(NamedTuple):
    low: float
    high: float


class Between(_Bounds):
    """The true value is one of ``low`` to ``high``, both possible; exact where they are equal.
    ``estimate`` is where it is likely to be: much nearer than the bounds can prove."""

    estimate: float

    def __new__(cls, low: float, high: float, estimate: float | None = None) -> Between:
        self = super().__new__(cls, low, high)
        self.estimate = (low + high) / 2 if estimate is None else min(max(estimate, low), high)
        return self

    @property
    def exact(self) -> bool:
        return self.low == self.high


class _Counts(NamedTuple):
    low: int
    high: int


class CountBetween(_Counts):
    """The number is one of ``low`` to ``high``: integers, proven. ``estimate`` is where it is
    likely to be."""

    estimate: int

    def __new__(cls, low: int, high: int, estimate: int | None = None) -> CountBetween:
        self = super().__new__(cls, low, high)
        self.estimate = (low + high) // 2 if estimate is None else min(max(estimate, low), high)
        return self


class Histogram(NamedTuple):
    """The shares of all mass in bins of a cost: ``edges[k] <= cost < edges[k + 1]`` (the last
    bin has both ends). The true share is between ``low`` and ``high``; ``share`` is an estimate,
    and is exact where they are equal."""

    edges: Array
    share: Array
    low: Array
    high: Array

    @property
    def exact(self) -> bool:
        return bool((self.low == self.high).all())


def count(space: SpaceGraph, windows: Windows, precision: float = inf) -> int | CountBetween:
    """How many architectures have each cost in its window: exact, or proven bounds, which differ
    by a share of ``precision`` at most if that can be had."""
    cache = query_cache(space)
    total = count_all(space)
    narrow = clipped(cache, windows) if total else None
    if narrow is None:
        return 0
    if not narrow:
        return total
    every = _spread(cache, tuple(narrow), None)
    if every.points is not None:
        return int(sum(every.points.weight[_within(every.points, narrow)].tolist()))
    listed = Enumerator(cache, tuple(narrow)).assignments(narrow, MAX_LISTED)
    if listed is not None:
        return len(listed)
    found = [
        _counted(_spread(cache, (cost,), None).inside(*window, precision), total)
        for cost, window in narrow.items()
    ]
    high = min(f.high for f in found)
    low = max(sum(f.low for f in found) - total * (len(found) - 1), 0)
    estimate = found[0].estimate
    if len(narrow) > 1 and high > 0:
        both = _counted(every.inside_all(list(narrow.values()), precision), total)
        low, high, estimate = max(low, both.low), min(high, both.high), both.estimate
    return low if low == high else CountBetween(low, high, estimate)


def mass(
    space: SpaceGraph, windows: Windows, weighting: Weighting = None, precision: float = inf
) -> Between:
    """The probability that each cost is in its window; see `count`."""
    space, weighting = on_joint_graph(space, weighting)
    cache = query_cache(space)
    held = option_weights(cache, weighting)
    narrow = clipped(cache, windows)
    if narrow is None:
        return Between(0.0, 0.0)
    if not narrow:
        return Between(1.0, 1.0)
    every = _spread(cache, tuple(narrow), held)
    if every.points is not None:
        weight = every.points.weight
        share = float(weight[_within(every.points, narrow)].sum() / weight.sum())
        if share > 0:
            return Between(share, share)
    listed = Enumerator(cache, tuple(narrow)).assignments(narrow, MAX_LISTED)
    if listed is not None:
        logs = log_weights(cache, held.logs, listed)
        possible = bool((logs > -inf).any())
        share = float(np.exp(logs - held.log_total).sum())
        # What is possible is not impossible, although it is less than any float.
        return Between(share, share) if share > 0 or not possible else Between(0.0, SMALLEST)
    if every.points is not None:
        return Between(0.0, SMALLEST)
    found = [
        _spread(cache, (cost,), held).inside(*window, precision).of(1.0)
        for cost, window in narrow.items()
    ]
    low = max(sum(f[1] for f in found) - len(found) + 1, 0.0)
    high = min(f[2] for f in found)
    estimate = found[0][0]
    if len(narrow) > 1 and high > 0:
        estimate, least, most = every.inside_all(list(narrow.values()), precision).of(1.0)
        low, high = max(low, least), min(high, most)
    return Between(low, max(high, SMALLEST), estimate)


def histogram(
    space: SpaceGraph, cost: Cost, bins: int = 40, weighting: Weighting = None
) -> Histogram:
    """The shares of all mass in equal bins from the least to the greatest cost."""
    if bins < 1:
        raise ValueError(f"a histogram has 1 bin or more, not {bins}")
    space, weighting = on_joint_graph(space, weighting)
    cache = query_cache(space)
    held = option_weights(cache, weighting)
    low, high = cache.cost_range(cost)
    edges = np.linspace(float(low), float(high), bins + 1)
    every = _spread(cache, (cost,), held)
    if every.points is not None:
        at = np.searchsorted(edges, every.points.costs[:, 0].astype(np.float64), side="right") - 1
        mass = np.bincount(np.clip(at, 0, bins - 1), every.points.weight.astype(float), bins)
        share = mass / mass.sum()
        return Histogram(edges, share, share, share)
    # A cost at an edge belongs above it; all at the last one are below.
    shifted = edges - low - 0.5
    shifted[-1] += 1.0
    found = [every.edges().between(a, b) for a, b in pairwise(shifted.tolist())]
    share, least, most = np.array(found).T
    return Histogram(edges, share / share.sum(), least, most)


def quantiles(
    space: SpaceGraph, cost: Cost, shares: Sequence[float], weighting: Weighting = None
) -> list[Between]:
    """The least cost that at least a share of all mass does not exceed, for each share."""
    if wrong := [share for share in shares if not 0 <= share <= 1]:
        raise ValueError(f"a share is from 0 to 1: {wrong[0]} is none")
    space, weighting = on_joint_graph(space, weighting)
    cache = query_cache(space)
    held = option_weights(cache, weighting)
    low, high = cache.cost_range(cost)
    every = _spread(cache, (cost,), held)
    found: list[Between] = []
    if every.points is not None:
        sums = np.cumsum(every.points.weight.astype(float))
        for share in shares:
            at = int(np.searchsorted(sums, share * sums[-1] * (1 - 1e-12)))
            value = every.points.costs[min(at, len(sums) - 1), 0]
            found.append(Between(int(value), int(value)))
        return found
    points, middle, least, most = every.edges().below()
    for share in shares:
        # Up to here there is less for certain, and from there on there is enough.
        before = points[most < share][-1:] if share > 0 else points[:0]
        after = points[least >= share][:1]
        first = low + int(before[0]) if len(before) else low
        last = low + ceil(after[0]) if len(after) else high
        near = low + float(points[min(int(np.searchsorted(middle, share)), len(points) - 1)])
        found.append(Between(min(max(first, low), high), min(max(last, low), high), near))
    return found


def _spread(
    cache: QueryCache, costs: tuple[Cost, ...], given: OptionWeights | None
) -> CostDistribution:
    """How costs are spread; without weights, where every architecture counts 1."""
    key = (costs, None if given is None else b"".join(row.tobytes() for row in given.logs))
    return cache.remember(key, lambda: _make(cache, costs, given))


def _make(
    cache: QueryCache, costs: tuple[Cost, ...], given: OptionWeights | None
) -> CostDistribution:
    tree = cache.bucket_tree(*costs)
    total = count_all(cache.space)
    if given is None:
        number = np.int64 if total < MAX_INT64 else object
        tables = [ok.astype(number) for ok in cache.allowed(*costs)]
    elif given.log_total >= LEAST:
        tables = [p.weights(given.rows) for p in tree.potentials]
    else:
        # The requirements leave what is less than floats hold: conditional probabilities sum to 1.
        found = to_conditionals(tree, [p.log_weights(given.logs) for p in tree.potentials]).tree
        assert found is not None
        tree, tables = found, [p.weights(()) for p in found.potentials]

    def listed() -> DistinctCosts | None:
        """Costs of any size, one architecture after the other."""
        if total > MAX_LISTED:
            return None
        at = Enumerator(cache, ()).assignments({})
        if at is None:
            return None
        columns = [cache.lookup(cost).assigned(at) for cost in costs]
        order = sorted(range(len(at)), key=columns[0].__getitem__)
        if given is None:
            held: Array = np.ones(len(at), np.int64)
        else:
            held = np.exp(log_weights(cache, given.logs, at) - given.log_total)
        return DistinctCosts(np.stack(columns, 1)[order], held[order])

    return CostDistribution(tree, tables, [cache.cost_range(cost) for cost in costs], total, listed)


def _within(points: DistinctCosts, windows: Windows) -> Array:
    inside: Array = np.ones(len(points.costs), np.bool_)
    for column, (least, most) in zip(points.costs.T, windows.values(), strict=True):
        inside &= (column >= least) & (column <= most)
    return inside


def _counted(found: WindowMass, total: int) -> CountBetween:
    """Bounds of a count, with what logarithms of that size are off by."""
    power = floor(found.log / LOG_2)
    scale = Fraction(exp(found.log - power * LOG_2)) * Fraction(2) ** power * total
    slack = Fraction(ROUNDING)
    low = max(ceil(Fraction(found.low) * scale * (1 - slack)), 0)
    high = min(floor(Fraction(found.high) * scale * (1 + slack)), total)
    return CountBetween(low, high, round(Fraction(found.estimate) * scale))


class OptionWeights(NamedTuple):
    """The weights of the options of each decision with their logarithms, which also have what is
    less than any float; and the logarithm of the weight of all architectures together."""

    rows: list[Array]
    logs: list[Array]
    log_total: float


def option_weights(cache: QueryCache, weighting: Weighting) -> OptionWeights:
    """What options weigh. Raises `SpecError` if there is no architecture, or none has a weight."""
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
    """The logarithm of the weight of each assignment, from the logarithms of the weights of the
    options of each decision; -inf for what is impossible."""
    found: Array = np.zeros(len(at))
    for potential in cache.bucket_tree().potentials:
        table = potential.log_weights(logs)
        found += table[tuple(at[:, v] for v in potential.scope)]
    return found


def shown_window(window: tuple[int, int]) -> str:
    """As in a spec: ``1,000..2,000``, with nothing at an open end."""
    low, high = ("" if abs(end) >= FAR else f"{end:,}" for end in window)
    return f"{low}..{high}"


def side(cache: QueryCache, cost: Cost, window: tuple[int, int]) -> int:
    """From which end a window is nearer: 1 for the least cost, -1 for the greatest."""
    low, high = cache.cost_range(cost)
    return 1 if window[1] - low <= high - window[0] else -1


def clipped(cache: QueryCache, windows: Windows) -> dict[Cost, tuple[int, int]] | None:
    """The windows that exclude something; None if one excludes everything."""
    narrow: dict[Cost, tuple[int, int]] = {}
    for cost, (least, most) in windows.items():
        low, high = cache.cost_range(cost)
        if least > most or least > high or most < low:
            return None
        if least > low or most < high:
            narrow[cost] = (max(least, low), min(most, high))
    return narrow


def windows_of(given: Mapping[Cost, tuple[float, float]]) -> dict[Cost, tuple[int, int]]:
    """Windows in whole numbers."""
    found: dict[Cost, tuple[int, int]] = {}
    for cost, window in given.items():
        try:
            low, high = () if isinstance(window, str) else window
        except (TypeError, ValueError):
            message = f"{cost}: a window is two numbers, the least and the greatest: {window!r}"
            raise ValueError(message) from None
        if not low <= high:
            raise ValueError(f"{cost}: a window goes from its low to its high end: {low}..{high}")
        found[cost] = (
            -FAR if low == -inf else ceil(low),
            FAR if high == inf else floor(high),
        )
    return found
