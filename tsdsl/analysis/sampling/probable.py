"""The most probable architectures within budgets.

A price for each cost turns the budgets into one sum to minimise: -log P + price * cost. Its least,
less what the budget's end costs at that price, bounds -log P of everything inside (Lagrangian
duality). The best prices are searched; draws within the budgets, from ever sharper distributions,
give good architectures to begin with; and what could still be better is listed, cut off by the
bound and by what costs can still be reached. If that comes to an end, the answer is proven.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import inf

import numpy as np

from tsdsl.analysis.costs.cost_table import Cost
from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.elimination.distribution import Given, distribution_of, under
from tsdsl.analysis.elimination.engine import Engine, engine
from tsdsl.analysis.elimination.nothing import no_architecture
from tsdsl.analysis.elimination.optimum import Optimum
from tsdsl.analysis.elimination.program import Program
from tsdsl.analysis.sampling.conditioned import architectures, draws
from tsdsl.analysis.windows.listing import Lister, Windows
from tsdsl.analysis.windows.window import clipped, weigh
from tsdsl.diagnostics import SpecError
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.space import SpaceGraph

#: Partial architectures that are followed at once, at first and at last.
BEAMS = (2_000, 20_000, 100_000)
#: Powers of the distribution that is drawn from, and how many draws.
SHARPER = (1.0, 6.0, 24.0)
DRAWS = 2048
#: Differences of log P below are none.
SAME = 1e-9
#: Halvings in the search for a price.
HALVINGS = 40


def most_probable(
    space: SpaceGraph, k: int, windows: Windows, given: Given = None
) -> list[Architecture]:
    """The ``k`` most probable architectures (or all) whose costs are inside, best first.

    ``provenance`` of each has ``log_probability`` (of the product over its active decisions) and
    ``proven``: False if something more probable could not be excluded; none exceeds ``bound``.
    Raises `SpecError` if there is none.
    """
    if k < 1:
        raise ValueError(f"one architecture or more, not {k}")
    space, given = under(space, given)
    known = engine(space)
    narrow = clipped(known, windows)
    if narrow is None:
        raise no_architecture(space, "costs inside of the window")
    distribution = distribution_of(space, given)
    rows = distribution.layout.split(distribution.flat_probabilities)
    search = _Search(known, rows, narrow, k)
    bound, proven = search.run()
    at, logs = search.found()
    if not len(at):
        raise no_architecture(space, "costs inside of the window and a probability above 0")
    made = architectures(space, at)
    for architecture, log in zip(made, logs.tolist(), strict=True):
        architecture.provenance.update(
            log_probability=log, proven=proven, bound=log if proven else max(bound, log)
        )
    return made


class _Search:
    def __init__(
        self, known: Engine, rows: Sequence[Array], windows: dict[Cost, tuple[int, int]], k: int
    ) -> None:
        self._known = known
        self._rows = rows
        self._windows = windows
        self._k = k
        self._made: Program = known.program(*windows)
        with np.errstate(divide="ignore"):
            self._logs = [-np.log(p.weights(rows)) for p in self._made.potentials]
        self._allowed = [np.isfinite(table) for table in self._logs]
        self._best: dict[bytes, tuple[float, Array]] = {}
        self._decided = [d.variable.index for d in known.space.decisions]

    def run(self) -> tuple[float, bool]:
        """A bound of log P, and whether what was found is proven to be the best."""
        free, prices = self._priced([0.0] * len(self._windows)), [0.0] * len(self._windows)
        if not free.possible:
            return -inf, True
        self._keep(self._assignment(free))
        dual = free.value
        if self._windows and not self._best:
            prices, dual = self._prices()
        if self._windows and (not self._enough(dual)):
            for rows in self._sharper():
                try:
                    self._keep(next(draws(self._known, rows, self._windows, DRAWS, 0)))
                except (SpecError, StopIteration):
                    continue
                if self._enough(dual):
                    break
        priced = self._priced(prices)
        lister = Lister(self._known, tuple(self._windows))
        for beam in BEAMS:
            if self._enough(dual):
                return -dual, True
            at, complete = lister.near(self._windows, priced, self._worst() - dual + SAME, beam)
            self._keep(at)
            if complete:
                return -dual, True
        return -dual, self._enough(dual)

    def found(self) -> tuple[Array, Array]:
        """Assignments and their log P, best first."""
        ranked = sorted(self._best.items(), key=lambda item: (item[1][0], item[0]))[: self._k]
        if not ranked:
            return np.zeros((0, len(self._made.sizes)), np.int64), np.zeros(0)
        at = np.stack([row for _, (_, row) in ranked])
        return at, -np.array([value for _, (value, _) in ranked])

    def _worst(self) -> float:
        """What has to be surpassed: -log P of the k-th so far."""
        if len(self._best) < self._k:
            return inf
        return sorted(value for value, _ in self._best.values())[self._k - 1]

    def _enough(self, dual: float) -> bool:
        return self._worst() <= dual + SAME

    def _keep(self, at: Array) -> None:
        """Of some assignments, those inside, if they are among the best."""
        for cost, (least, most) in self._windows.items():
            costs = self._known.lookup(cost).assigned(at)
            at = at[(costs >= least) & (costs <= most)]
        with np.errstate(divide="ignore"):
            values = -np.log(weigh(self._known, self._rows, at))
        for row in np.argsort(values, kind="stable").tolist():
            value = float(values[row])
            if value == inf or (len(self._best) >= self._k and value >= self._worst()):
                break
            key = at[row, self._decided].astype(np.int16).tobytes()
            self._best.setdefault(key, (value, at[row].astype(np.int64)))
            if len(self._best) > 2 * self._k + 16:
                kept = sorted(self._best.items(), key=lambda item: item[1][0])[: self._k]
                self._best = dict(kept)

    def _assignment(self, found: Optimum) -> Array:
        return np.array([self._made.complete(found.best())])

    def _priced(self, prices: Sequence[float]) -> Optimum:
        tables: list[Array] = []
        for log, potential in zip(self._logs, self._made.potentials, strict=True):
            for price, cost in zip(prices, potential.costs, strict=True):
                if price and cost is not None:
                    log = log + price * cost
            tables.append(log)
        return Optimum(self._made, tables, self._allowed)

    def _dual(self, prices: Sequence[float]) -> tuple[float, list[int]]:
        """The bound that prices give, and the costs of an architecture at it."""
        found = self._priced(prices)
        at = self._assignment(found)
        self._keep(at)
        paid = sum(
            price * (most if price > 0 else least)
            for price, (least, most) in zip(prices, self._windows.values(), strict=True)
        )
        costs = [int(self._known.lookup(cost).assigned(at)[0]) for cost in self._windows]
        return found.value - paid, costs

    def _prices(self) -> tuple[list[float], float]:
        """Prices of a high bound: one after the other, three times if there are several."""
        prices = [0.0] * len(self._windows)
        best, _ = self._dual(prices)
        for _ in range(1 if len(prices) == 1 else 3):
            for i in range(len(prices)):
                prices, best = self._price(i, prices, best)
        return prices, best

    def _price(self, i: int, prices: list[float], best: float) -> tuple[list[float], float]:
        """The best price of one cost, the others kept."""
        least, most = list(self._windows.values())[i]
        kept = prices

        def way(price: float) -> int:
            """1 if a price is too low, -1 if it is too high."""
            nonlocal kept, best
            tried = [*prices[:i], price, *prices[i + 1 :]]
            value, costs = self._dual(tried)
            if value > best:
                best, kept = value, tried
            return (costs[i] > most) - (costs[i] < least)

        _halve(way, 1.0 / max(most, 1))
        return kept, best

    def _sharper(self) -> Iterator[list[Array]]:
        for power in SHARPER:
            yield [row**power for row in self._rows]


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
