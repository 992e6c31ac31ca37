"""How much of a space lies where: counts, masses, histograms and quantiles of its costs.

Exact where the architectures in question are few enough to list, or where the costs' differences
have a common multiple that a grid resolves. Otherwise costs are resolved on a grid whose rounding
is bounded, and every answer is two numbers between which the true one provably lies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import ceil, floor
from typing import Literal, NamedTuple

import numpy as np

from tsdsl.analysis import tails
from tsdsl.analysis.cost_table import Cost
from tsdsl.analysis.count import count as count_all
from tsdsl.analysis.distribution import Distribution, Given, distribution_of
from tsdsl.analysis.engine import Engine, engine
from tsdsl.analysis.factors import Array
from tsdsl.analysis.listing import Lister, Windows
from tsdsl.analysis.nothing import no_architecture
from tsdsl.analysis.resolved import Resolved, finest, leaves
from tsdsl.ir.space import SpaceGraph

#: Bins of a grid, unless a common multiple needs fewer.
BINS = 4096
#: What sums of this many floats can be off by, relative to the result.
ROUNDING = 1e-9
#: Integers below are exact as floats, and so are sums of them.
EXACT_COUNT = 1 << 52
#: Architectures that are listed at most.
MAX_LISTED = 1 << 15

#: "architectures": every architecture weighs the same.
Weighting = Given | Literal["architectures"]


class Between(NamedTuple):
    """The true value is one of ``low`` to ``high``, both possible; exact where they are equal."""

    low: float
    high: float

    @property
    def exact(self) -> bool:
        return self.low == self.high

    @property
    def middle(self) -> float:
        return (self.low + self.high) / 2


class CountBetween(NamedTuple):
    """The number is one of ``low`` to ``high``: integers, proven."""

    low: int
    high: int


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


def count(space: SpaceGraph, windows: Windows) -> int | CountBetween:
    """How many architectures have each cost in its window: exact, or proven bounds."""
    known = engine(space)
    total = count_all(space)
    narrow = clipped(known, windows) if total else None
    if narrow is None:
        return 0
    if not narrow:
        return total
    listed = Lister(known, tuple(narrow)).list(narrow, MAX_LISTED)
    if listed is not None:
        return len(listed)
    found = [_inside(known, total, cost, window) for cost, window in narrow.items()]
    high = min(f[1] for f in found)
    low = max(sum(f[0] for f in found) - total * (len(found) - 1), 0)
    return low if low == high else CountBetween(low, high)


def _inside(known: Engine, total: int, cost: Cost, window: tuple[int, int]) -> tuple[int, int]:
    low, high, scale = _bounds(known, known.ones, cost, window)
    power = Fraction(2) ** scale
    if total < EXACT_COUNT:
        slack = Fraction(ROUNDING) * total
        return ceil(low * power - slack), floor(high * power + slack)
    wide = 1 + Fraction(ROUNDING)
    return floor(low * power / wide), min(ceil(high * power * wide), total)


def _bounds(
    known: Engine, rows: Sequence[Array], cost: Cost, window: tuple[int, int]
) -> tuple[Fraction, Fraction, int]:
    """The weight in a window, at least and at most, as multiples of a power of two."""
    sign = side(known, cost, window)
    made = known.program(cost)
    leaf = leaves(made, [p.weights(rows) for p in made.potentials], 0, sign)
    start, end = known.ends(cost)
    span = window[1] - start if sign > 0 else end - window[0]
    # Near an end every table has all of the bins, which takes the longer.
    bins = int(BINS * min(1.0, max(0.25, 2 * (span / max(end - start, 1)) ** 0.5)))
    found, _ = resolve(known, rows, cost, window, bins, sign)
    seen = window if sign > 0 else (-window[1], -window[0])
    low, high = tails.bounds(made, leaf, found, seen)
    return Fraction(low), Fraction(high), found.root.scale


def mass(space: SpaceGraph, windows: Windows, weighting: Weighting = None) -> Between:
    """The probability that each cost is in its window."""
    known = engine(space)
    rows, total = weights(known, weighting)
    narrow = clipped(known, windows)
    if narrow is None:
        return Between(0.0, 0.0)
    if not narrow:
        return Between(1.0, 1.0)
    listed = Lister(known, tuple(narrow)).list(narrow, MAX_LISTED)
    if listed is not None:
        sum_ = float(weigh(known, rows, listed).sum() / total)
        return Between(sum_, sum_)
    lows, highs = [], []
    for cost, window in narrow.items():
        low, high, scale = _bounds(known, rows, cost, window)
        lows.append(float(np.ldexp(float(low), scale)) / total)
        highs.append(min(float(np.ldexp(float(high), scale)) / total, 1.0))
    return Between(max(sum(lows) - len(lows) + 1, 0.0), min(highs))


def histogram(
    space: SpaceGraph, cost: Cost, bins: int = 40, weighting: Weighting = None
) -> Histogram:
    """The shares of all mass in equal bins from the least to the greatest cost."""
    known = engine(space)
    rows, total = weights(known, weighting)
    low, high = known.ends(cost)
    edges = np.linspace(low, high, bins + 1)
    values, held, error = _points(known, rows, total, cost)
    share = _binned(values + sum(error) // 2, held, edges)
    if error == (0, 0):
        return Histogram(edges, share, share, share)
    # A point counts for certain where both of its ends fall into the same bin.
    first, last = _bin(values + error[0], edges), _bin(values + error[1], edges)
    sure: Array = np.zeros(bins)
    np.add.at(sure, first[first == last], held[first == last])
    most: Array = np.zeros(bins + 1)
    np.add.at(most, first, held)
    np.add.at(most, np.minimum(last + 1, bins), -held)
    return Histogram(edges, share, sure, np.clip(np.cumsum(most)[:bins], sure, 1.0))


def quantiles(
    space: SpaceGraph, cost: Cost, shares: Sequence[float], weighting: Weighting = None
) -> list[Between]:
    """The least cost that at least a share of all mass does not exceed, for each share."""
    known = engine(space)
    rows, total = weights(known, weighting)
    low, high = known.ends(cost)
    values, held, error = _points(known, rows, total, cost)
    sums = np.cumsum(held)
    found: list[Between] = []
    for share in shares:
        at = min(int(np.searchsorted(sums, share * sums[-1] * (1 - 1e-12))), len(values) - 1)
        value = int(values[at])
        found.append(Between(max(value + error[0], low), min(value + error[1], high)))
    return found


def _points(
    known: Engine, rows: Sequence[Array], total: float, cost: Cost
) -> tuple[Array, Array, tuple[int, int]]:
    """Costs, sorted, with their share of all mass; by how much each can be wrong."""
    ends = known.ends(cost)
    listed = Lister(known, (cost,)).list({cost: ends}, MAX_LISTED)
    if listed is not None:
        values, at = np.unique(known.lookup(cost).assigned(listed), return_inverse=True)
        return values, np.bincount(at, weigh(known, rows, listed)) / total, (0, 0)
    found, _ = resolve(known, rows, cost, ends, sign=1)
    held = np.ldexp(found.root.mass[0], found.root.scale) / total
    bins = np.arange(len(held)) + int(found.root.offset[0])
    return found.base + found.unit * bins, held, found.error


def _bin(values: Array, edges: Array) -> Array:
    return np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)


def _binned(values: Array, held: Array, edges: Array) -> Array:
    return np.bincount(_bin(values, edges), held, len(edges) - 1)


def weights(known: Engine, weighting: Weighting) -> tuple[list[Array], float]:
    """The weights of the options of each decision, and those of all architectures together."""
    space = known.space
    if isinstance(weighting, str) and weighting == "architectures":
        total = count_all(space)
        if not total:
            raise no_architecture(space)
        return known.ones, float(total)
    given: Distribution = distribution_of(space, weighting)
    rows = given.layout.split(given.flat_probabilities)
    return rows, known.feasible(given)


def weigh(known: Engine, rows: Sequence[Array], at: Array) -> Array:
    """The weight of each assignment."""
    found: Array = np.ones(len(at))
    for potential in known.program().potentials:
        table = potential.weights(rows)
        found = found * table[tuple(at[:, v] for v in potential.scope)]
    return found


def side(known: Engine, cost: Cost, window: tuple[int, int]) -> int:
    """From which end a window is nearer: 1 for the least cost, -1 for the greatest."""
    low, high = known.ends(cost)
    return 1 if window[1] - low <= high - window[0] else -1


def resolve(
    known: Engine,
    rows: Sequence[Array],
    cost: Cost,
    window: tuple[int, int],
    bins: int = BINS,
    sign: int = 0,
) -> tuple[Resolved, int]:
    """The grid that reaches a window from the end that is nearer, of the cost times the sign."""
    sign = sign or side(known, cost, window)
    low, high = known.ends(cost)
    made = known.program(cost)
    leaf = leaves(made, [p.weights(rows) for p in made.potentials], 0, sign)
    span = window[1] - low if sign > 0 else high - window[0]
    unit = max(finest(leaf), -(-span // bins), 1)
    return Resolved(made, leaf, unit, span // unit + len(leaf) + 2), sign


def clipped(known: Engine, windows: Windows) -> dict[Cost, tuple[int, int]] | None:
    """The windows that exclude something; None if one excludes everything."""
    narrow: dict[Cost, tuple[int, int]] = {}
    for cost, (least, most) in windows.items():
        low, high = known.ends(cost)
        if least > most or least > high or most < low:
            return None
        if least > low or most < high:
            narrow[cost] = (max(least, low), min(most, high))
    return narrow


def windows_of(given: Mapping[Cost, tuple[float, float]]) -> dict[Cost, tuple[int, int]]:
    """Windows in whole numbers."""
    found: dict[Cost, tuple[int, int]] = {}
    for cost, (low, high) in given.items():
        if not low <= high:
            raise ValueError(f"{cost}: a window goes from its low to its high end: {low}..{high}")
        found[cost] = (
            -(1 << 62) if low == float("-inf") else ceil(low),
            1 << 62 if high == float("inf") else floor(high),
        )
    return found
