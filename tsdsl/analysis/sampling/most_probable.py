"""The most probable architectures within budgets.

A price for each cost turns the budgets into one sum to minimise: -log P + price * cost. Its least,
less what the budget's end costs at that price, bounds -log P of everything inside (Lagrangian
duality). The best prices are searched; draws within the budgets, from ever sharper distributions,
give good architectures to begin with; and what could still be better is listed, cut off by the
bound and by what costs can still be reached. If that comes to an end, the answer is proven.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

import numpy as np

from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.distribution import DistributionLike, as_distribution, on_joint_graph
from tsdsl.analysis.elimination.bucket_tree import BucketTree
from tsdsl.analysis.elimination.cache import QueryCache, query_cache
from tsdsl.analysis.elimination.no_architecture import no_architecture
from tsdsl.analysis.elimination.optimum import Optimum
from tsdsl.analysis.sampling.explain_empty import nothing_inside
from tsdsl.analysis.sampling.sampler import architectures, draws, options_within
from tsdsl.analysis.sampling.window_sampler import Underflow
from tsdsl.analysis.windows.enumeration import Enumerator, Windows
from tsdsl.analysis.windows.window import clipped
from tsdsl.diagnostics import SpecError
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.space import SpaceGraph

#: Partial architectures that are followed at once, at first and at last.
BEAMS = (2_000, 20_000, 100_000)
#: Powers of the distribution that is drawn from, and how many draws.
SHARPER = (1.0, 6.0, 24.0)
DRAWS = 2048
#: Architectures that are drawn where nothing else finds one inside.
DRAWN = 64
#: Differences of log P below are none: absolute, and as a share of the largest sum on the way.
SAME, ROUNDING = 1e-9, 1e-13
#: Halvings in the search for a price.
HALVINGS = 40
#: Sums of logarithms up to here need no steeper price to begin with.
LARGE = 1e6


def most_probable(
    space: SpaceGraph, k: int, windows: Windows, given: DistributionLike = None
) -> list[Architecture]:
    """The ``k`` most probable architectures (or all) whose costs are inside, best first.

    ``provenance`` of each has ``log_probability`` (of the product over its active decisions) and
    ``proven``: False if something more probable could not be excluded; none exceeds ``bound``.
    Raises `SpecError` if there is none.
    """
    if k < 1:
        raise ValueError(f"one architecture or more, not {k}")
    space, given = on_joint_graph(space, given)
    cache = query_cache(space)
    narrow = clipped(cache, windows)
    if narrow is None:
        raise nothing_inside(cache, windows)
    distribution = as_distribution(space, given)
    search = MostProbableSearch(cache, distribution.layout.split(distribution.flat_logs), narrow, k)
    bound, proven = search.run()
    if not proven and search.count < k:
        # Nothing, or too little, was on the way. The sampler says if there is nothing.
        search.keep(options_within(space, 0, max(4 * k, DRAWN), narrow, distribution))
    at, logs = search.found()
    if not len(at):
        inside = Enumerator(cache, tuple(narrow)).assignments(narrow, 1)
        if inside is not None and not len(inside):
            raise nothing_inside(cache, windows)
        raise no_architecture(space, "costs inside of the window and a probability above 0")
    made = architectures(space, at)
    for architecture, log in zip(made, logs.tolist(), strict=True):
        architecture.provenance.update(
            log_probability=log, proven=proven, bound=log if proven else max(bound, log)
        )
    return made


class MostProbableSearch:
    """The search for the ``k`` most probable in windows. ``logs`` are the logarithms of the
    probabilities of the options of each decision: nothing here is computed from probabilities,
    which may be less than any float."""

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
        #: No sum of logarithms is larger in absolute value.
        self._largest = sum(map(_largest, self._logs))
        self._same = max(SAME, ROUNDING * self._largest)
        #: The price of each cost, and the bound of -log P that they give.
        self.prices = [0.0] * len(windows)
        self.dual = -inf

    @property
    def count(self) -> int:
        """How many architectures inside are known."""
        return len(self._best)

    def run(self) -> tuple[float, bool]:
        """A bound of log P, and whether what was found is proven to be the best."""
        free = self.priced()
        if not free.possible:
            return -inf, True
        self.keep(self._assignment(free))
        self.dual = free.value
        if self.windows and not self._best:
            self.set_prices()
        if self.windows and not self._enough():
            for power in SHARPER:
                try:
                    self.keep(draws(self._cache, self._options, power, self.windows, DRAWS))
                except (SpecError, Underflow):
                    # Nothing that this distribution has can be drawn.
                    continue
                if self._enough():
                    break
        priced = self.priced()
        enumerator = Enumerator(self._cache, tuple(self.windows))
        for beam in BEAMS:
            if self._enough():
                return -self.dual, True
            cutoff = self.worst - self.dual + self._same
            at, complete = enumerator.near_optimal(self.windows, priced, cutoff, beam)
            self.keep(at)
            if complete:
                return -self.dual, True
        return -self.dual, self._enough()

    def found(self) -> tuple[Array, Array]:
        """Assignments and their log P, best first."""
        ranked = sorted(self._best.items(), key=lambda item: (item[1][0], item[0]))[: self._k]
        if not ranked:
            return np.zeros((0, len(self.tree.sizes)), np.int64), np.zeros(0)
        at = np.stack([row for _, (_, row) in ranked])
        return at, -np.array([value for _, (value, _) in ranked])

    @property
    def worst(self) -> float:
        """What has to be surpassed: -log P of the k-th so far."""
        if len(self._best) < self._k:
            return inf
        return sorted(value for value, _ in self._best.values())[self._k - 1]

    def _enough(self) -> bool:
        return self.worst <= self.dual + self._same

    def keep(self, at: Array) -> None:
        """Of some assignments, those inside, if they are among the best."""
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

    def _assignment(self, found: Optimum) -> Array:
        return np.array([self.tree.complete(found.best())])

    def priced(self, prices: Sequence[float] | None = None) -> Optimum:
        """The least of -log P plus what costs are worth (left out: at the best prices)."""
        return Optimum(self.tree, self.tables(prices), self._allowed)

    def tables(self, prices: Sequence[float] | None = None) -> list[Array]:
        """For each potential, -log P plus what costs are worth; infinite for what is impossible."""
        prices = self.prices if prices is None else prices
        tables: list[Array] = []
        for log, potential in zip(self._logs, self.tree.potentials, strict=True):
            for price, cost in zip(prices, potential.costs, strict=True):
                if price and cost is not None:
                    log = log + price * cost
            tables.append(log)
        return tables

    def _dual(self, prices: Sequence[float]) -> tuple[float, list[int]]:
        """The bound that prices give, and the costs of an architecture at it."""
        found = self.priced(prices)
        at = self._assignment(found)
        self.keep(at)
        paid = sum(
            price * (most if price > 0 else least)
            for price, (least, most) in zip(prices, self.windows.values(), strict=True)
        )
        costs = [int(self._cache.lookup(cost).assigned(at)[0]) for cost in self.windows]
        return found.value - paid, costs

    def set_prices(self) -> None:
        """Prices of a high bound: one after the other, three times if there are several."""
        prices = [0.0] * len(self.windows)
        best, _ = self._dual(prices)
        for _ in range(1 if len(prices) == 1 else 3):
            for i in range(len(prices)):
                prices, best = self._price(i, prices, best)
        self.prices, self.dual = prices, best
        worth = sum(map(_largest, self.tables()))
        self._same = max(SAME, ROUNDING * (self._largest + worth))

    def _price(self, i: int, prices: list[float], best: float) -> tuple[list[float], float]:
        """The best price of one cost, the others kept."""
        least, most = list(self.windows.values())[i]
        kept = prices

        def way(price: float) -> int:
            """1 if a price is too low, -1 if it is too high."""
            nonlocal kept, best
            tried = [*prices[:i], price, *prices[i + 1 :]]
            value, costs = self._dual(tried)
            if value > best:
                best, kept = value, tried
            return (costs[i] > most) - (costs[i] < least)

        _halve(way, max(self._largest / LARGE, 1.0) / max(most, 1))
        return kept, best


def _largest(table: Array) -> float:
    """The largest finite entry in absolute value."""
    return float(np.max(np.abs(table), where=np.isfinite(table), initial=0.0))


def _halve(way: Callable[[float], int], unit: float) -> None:
    """Close in on the price at which a cost crosses the end of its window."""
    first = way(0.0)
    if not first:
        return
    low, high = 0.0, unit * first
    for _ in range(HALVINGS):
        if way(high) != first:
            break
        low, high = high, high * 4
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if abs(high - low) <= 1e-7 * abs(high):
            break
        if way(middle) == first:
            low = middle
        else:
            high = middle
