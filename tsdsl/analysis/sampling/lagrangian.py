"""Lagrangian duality and branch and bound for the most probable architectures within windows.

The problem: minimise f(x) = -log P(x) over all architectures x with low_k <= cost_k(x) <= high_k
for each cost k. For any prices lambda_k, the dual function

    g(lambda) = min over all x of [f(x) + sum of lambda_k cost_k(x)] - sum of lambda_k end_k,
    end_k = high_k if lambda_k > 0, else low_k,

is a lower bound of f(x) for every x in the windows (weak duality), and one elimination computes it
exactly (`Optimum`). Prices of a high bound are found by bisection, one cost at a time: g is
concave, and cost_k - end_k at the minimiser is a subgradient.

Good architectures, and thereby an upper bound, come from the minimisers of g and from draws of
P(x)^power within the windows, for ever sharper powers. What could still be better is enumerated by
branch and bound: with the excess of x, f(x) + sum of lambda_k cost_k(x) less its minimum,

    x in the windows  implies  f(x) >= g(lambda) + excess(x),

so that only x with excess(x) <= (worst f that is kept) - g(lambda) are followed. Where no limit of
the beam was reached, the answer is proven optimal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

import numpy as np

from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.elimination.bucket_tree import BucketTree
from tsdsl.analysis.elimination.cache import QueryCache
from tsdsl.analysis.elimination.optimum import Optimum
from tsdsl.analysis.sampling.window_sampler import BINS, Underflow, WindowSampler
from tsdsl.analysis.windows.enumeration import Enumerator, Windows
from tsdsl.diagnostics import SpecError

#: Numbers of partial architectures that are followed at once, tried in this order.
BEAMS = (2_000, 20_000, 100_000)
#: Powers of the distribution that is drawn from, and draws from each.
SHARPER = (1.0, 6.0, 24.0)
DRAWS = 2048
#: Differences of log P below this count as rounding: absolute, and as a share of the largest sum.
SAME, ROUNDING = 1e-9, 1e-13
#: Steps of the bisection for a price.
BISECTIONS = 40
#: Sums of logarithms above this need a steeper first price.
LARGE = 1e6


class MostProbableSearch:
    """The search for the ``k`` most probable architectures in windows. ``logs`` are the logarithms
    of the probabilities of the options of each decision; everything is computed in logarithms,
    because probabilities may underflow."""

    def __init__(self, cache: QueryCache, logs: Sequence[Array], windows: Windows, k: int) -> None:
        self._cache = cache
        self._options = logs
        self.windows = windows
        self._k = k
        self.tree: BucketTree = cache.bucket_tree(*windows)
        self._logs = [-p.log_weights(logs) for p in self.tree.potentials]
        self._allowed = [np.isfinite(table) for table in self._logs]
        self._best: dict[bytes, tuple[float, Array]] = {}
        self._decided = [d.variable.index for d in cache.space.decisions]
        #: An upper bound of the absolute value of any sum of logarithms.
        self._largest = sum(map(_largest, self._logs))
        self._same = max(SAME, ROUNDING * self._largest)
        #: lambda of each cost, and g(lambda).
        self.prices = [0.0] * len(windows)
        self.dual = -inf

    @property
    def count(self) -> int:
        """The number of architectures inside that are kept."""
        return len(self._best)

    def run(self) -> tuple[float, bool]:
        """An upper bound of log P in the windows, and whether the best ones that are kept are
        proven to be the best there are."""
        free = self.priced()
        if not free.possible:
            return -inf, True
        self.keep(self._assignment(free))
        self.dual = free.value
        if self.windows and not self._best:
            self.set_prices()
        if self.windows and not self._optimal():
            for power in SHARPER:
                try:
                    self.keep(self._draws(power))
                except (SpecError, Underflow):
                    # This power of the distribution has no weight inside that can be drawn.
                    continue
                if self._optimal():
                    break
        priced = self.priced()
        enumerator = Enumerator(self._cache, tuple(self.windows))
        for beam in BEAMS:
            if self._optimal():
                return -self.dual, True
            cutoff = self.worst - self.dual + self._same
            at, complete = enumerator.near_optimal(self.windows, priced, cutoff, beam)
            self.keep(at)
            if complete:
                return -self.dual, True
        return -self.dual, self._optimal()

    def _draws(self, power: float) -> Array:
        """Draws from a power of the distribution that lie in the windows. Architectures with a
        probability below the smallest float may be missing. Raises `SpecError`, `Underflow`."""
        random = np.random.Generator(np.random.PCG64(0))
        rows = [np.exp(power * log) for log in self._options]
        return WindowSampler(self._cache, rows, self.windows, BINS, rough=True).draw(random, DRAWS)

    def ranked(self) -> tuple[Array, Array]:
        """The best ``k`` assignments and their log P, best first."""
        ranked = sorted(self._best.items(), key=lambda item: (item[1][0], item[0]))[: self._k]
        if not ranked:
            return np.zeros((0, len(self.tree.sizes)), np.int64), np.zeros(0)
        at = np.stack([row for _, (_, row) in ranked])
        return at, -np.array([value for _, (value, _) in ranked])

    @property
    def worst(self) -> float:
        """-log P of the k-th best architecture so far; infinite while there are fewer."""
        if len(self._best) < self._k:
            return inf
        return sorted(value for value, _ in self._best.values())[self._k - 1]

    def _optimal(self) -> bool:
        """Whether the bound proves that nothing better is left."""
        return self.worst <= self.dual + self._same

    def keep(self, at: Array) -> None:
        """Keep those of some assignments that are inside and among the best."""
        for cost, (least, most) in self.windows.items():
            costs = self._cache.lookup(cost).assigned(at)
            at = at[(costs >= least) & (costs <= most)]
        values: Array = np.zeros(len(at))
        for table, potential in zip(self._logs, self.tree.potentials, strict=True):
            values += table[tuple(at[:, v] for v in potential.scope)]
        for row in np.argsort(values, kind="stable").tolist():
            value = float(values[row])
            if value == inf or (len(self._best) >= self._k and value >= self.worst):
                break
            key = at[row, self._decided].astype(np.int16).tobytes()
            self._best.setdefault(key, (value, at[row].astype(np.int64)))
            if len(self._best) > 2 * self._k + 16:
                kept = sorted(self._best.items(), key=lambda item: item[1][0])[: self._k]
                self._best = dict(kept)

    def _assignment(self, optimum: Optimum) -> Array:
        """The minimiser as an array of one assignment."""
        return np.array([self.tree.complete(optimum.best())])

    def priced(self, prices: Sequence[float] | None = None) -> Optimum:
        """The minimum of -log P + sum of price * cost, by default at the best prices."""
        return Optimum(self.tree, self.tables(prices), self._allowed)

    def tables(self, prices: Sequence[float] | None = None) -> list[Array]:
        """-log P + sum of price * cost, as a table for each potential; infinite where an assignment
        is impossible."""
        prices = self.prices if prices is None else prices
        tables: list[Array] = []
        for log, potential in zip(self._logs, self.tree.potentials, strict=True):
            for price, cost in zip(prices, potential.costs, strict=True):
                if price and cost is not None:
                    log = log + price * cost
            tables.append(log)
        return tables

    def _dual(self, prices: Sequence[float]) -> tuple[float, list[int]]:
        """g(prices), and the costs of its minimiser."""
        priced = self.priced(prices)
        at = self._assignment(priced)
        self.keep(at)
        end_costs = sum(
            price * (most if price > 0 else least)
            for price, (least, most) in zip(prices, self.windows.values(), strict=True)
        )
        costs = [int(self._cache.lookup(cost).assigned(at)[0]) for cost in self.windows]
        return priced.value - end_costs, costs

    def set_prices(self) -> None:
        """Find prices of a high bound by coordinate ascent: three rounds if there are several."""
        prices = [0.0] * len(self.windows)
        best, _ = self._dual(prices)
        for _ in range(1 if len(prices) == 1 else 3):
            for i in range(len(prices)):
                prices, best = self._best_price(i, prices, best)
        self.prices, self.dual = prices, best
        priced = sum(map(_largest, self.tables()))
        self._same = max(SAME, ROUNDING * (self._largest + priced))

    def _best_price(self, i: int, prices: list[float], best: float) -> tuple[list[float], float]:
        """The prices with the best one of cost ``i``, and their bound; the others are fixed."""
        least, most = list(self.windows.values())[i]
        kept = prices

        def direction(price: float) -> int:
            """1 if a price is too low, -1 if it is too high, 0 if it is right."""
            nonlocal kept, best
            tried = [*prices[:i], price, *prices[i + 1 :]]
            value, costs = self._dual(tried)
            if value > best:
                best, kept = value, tried
            return (costs[i] > most) - (costs[i] < least)

        _bisect(direction, max(self._largest / LARGE, 1.0) / max(most, 1))
        return kept, best


def _largest(table: Array) -> float:
    """The largest finite entry in absolute value."""
    return float(np.max(np.abs(table), where=np.isfinite(table), initial=0.0))


def _bisect(direction: Callable[[float], int], unit: float) -> None:
    """Close in on the price at which a cost crosses the end of its window: a bracket from ``unit``
    on, four times as wide each time, then bisection. ``direction`` records the best price."""
    first = direction(0.0)
    if not first:
        return
    low, high = 0.0, unit * first
    for _ in range(BISECTIONS):
        if direction(high) != first:
            break
        low, high = high, high * 4
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if abs(high - low) <= 1e-7 * abs(high):
            break
        if direction(middle) == first:
            low = middle
        else:
            high = middle
