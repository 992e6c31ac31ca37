"""Sampling within windows that are improbable under a peaked distribution.

Where a distribution has converged far from a window, an architecture inside may have a probability
of exp(-1000), while architectures next to the window have far more. The ways to draw, tried in this
order:

1. *Enumeration* of all architectures inside, with the logarithms of their weights.
2. *Enumeration up to a proven tail.* With the prices lambda of the dual bound g (`lagrangian`),

       excess(x) = -log P(x) + sum of lambda_k cost_k(x) - (the minimum of that over all x) >= 0,
       P(x) <= exp(-g - excess(x))    for every x in the windows.

   Those with an excess of at most t are enumerated. With the best one that is known,
   P* = exp(-g - gap), what is left out has (Chernoff's bound of the tail), for any s from 0 to 1,

       (weight left out) / P* <= exp(gap - (1 - s) t) * sum over all x of exp(-s * excess(x)).

   One elimination computes the sum; t makes the right side exp(`NEGLECTED`).
3. *Tempering.* For a power p < 1, draws from P(x)^p, tilted by exp(-lambda_k cost_k(x)) in the same
   way, as conditional probabilities (`conditionals`) and from a grid of one cost. The tilt is
   undone as in `window_sampler`; then x is accepted with probability

       exp((p - 1) * (-log P(x) - floor)) <= 1,    where P(x) <= exp(-floor) for every x inside,

   so that accepted draws are distributed as P.

For distinct draws of which most repeat earlier ones, all x with -log P(x) <= some bound are
enumerated. If all of them have been drawn, the floor rises to that bound: from then on, only less
probable ones are drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf

import numpy as np

from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.elimination.cache import QueryCache
from tsdsl.analysis.elimination.conditionals import to_conditionals
from tsdsl.analysis.elimination.no_architecture import rarely_inside
from tsdsl.analysis.sampling.lagrangian import MostProbableSearch
from tsdsl.analysis.sampling.window_sampler import TiltedWeights, Underflow, WindowSampler
from tsdsl.analysis.windows.enumeration import Enumerator, Windows
from tsdsl.analysis.windows.window import clipped, log_weights, shown_windows

#: The logarithm of the share of weight that may be left out: probabilities keep nine digits.
NEGLECTED = -21.0
#: Values of s that are tried.
POWERS = (0.0, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.85, 0.9)
#: Largest number of architectures that are enumerated.
MAX_LISTED = 1 << 17
#: Draws at once.
CHUNK = 8192
#: Number of powers p that are tried, and draws of each that estimate its acceptance rate.
TEMPERS, PILOT = 12, 1024
#: A power is good enough if at least this share of the draws inside is accepted, and so many.
GOOD, FEWEST = 0.2, 8
#: After so many distinct draws, of which less than this share was new, the floor is raised.
ENOUGH, FRESH = 256, 0.25
#: Differences of log P below this count as rounding.
SLACK = 1e-6
#: Steps of the search for a floor, and its precision in log P.
STEPS, NEAR = 16, 0.5


def improbable(
    cache: QueryCache,
    logs: Sequence[Array],
    windows: Windows,
    random: np.random.Generator,
    distinct: bool,
) -> Iterator[tuple[Array, int]]:
    """Blocks of assignments that are inside, and the number of draws that each took. ``logs`` are
    the logarithms of the weights of the options of each decision. They end where nothing inside
    has a weight; distinct ones also where all were enumerated. Raises `SpecError` where no way
    works."""
    every = Enumerator(cache, tuple(windows)).assignments(windows, MAX_LISTED)
    if every is not None:
        yield from _from_list(every, log_weights(cache, logs, every), random, distinct)
        return
    search = MostProbableSearch(cache, logs, clipped(cache, windows) or {}, 1)
    _, proven = search.run()
    if proven and not search.count:
        return
    listed = _likely(cache, search)
    if listed is not None:
        yield from _from_list(listed, log_weights(cache, logs, listed), random, distinct)
    # P(x) <= exp(-floor) for every x inside.
    floor = search.worst - SLACK if proven and search.worst < inf else search.dual
    tempered = _tempered(cache, logs, search.windows, floor, random)
    if tempered is None:
        raise rarely_inside(cache.space, 0, CHUNK, shown_windows(windows))
    if not distinct:
        while True:
            yield tempered.draw(random, CHUNK), CHUNK
    seen = _DrawnValues(cache)
    drawn = fresh = 0
    while True:
        at = tempered.draw(random, CHUNK)
        yield at, CHUNK
        drawn, fresh = drawn + len(at), fresh + seen.add(at, -log_weights(cache, logs, at))
        if drawn < ENOUGH:
            continue
        if fresh < drawn * FRESH:
            floor = seen.complete(search, logs)
            if floor > tempered.floor:
                tempered = _tempered(cache, logs, search.windows, floor, random) or tempered
        drawn = fresh = 0


class _DrawnValues:
    """The architectures that have been drawn, with -log P of each."""

    def __init__(self, cache: QueryCache) -> None:
        self._cache = cache
        self._decided = [d.variable.index for d in cache.space.decisions]
        self._values: dict[bytes, float] = {}

    def _keys(self, at: Array) -> list[bytes]:
        return [row.tobytes() for row in at[:, self._decided].astype(np.int16)]

    def add(self, at: Array, values: Array) -> int:
        """Add some, with their values of -log P; the number of those that are new."""
        before = len(self._values)
        self._values.update(zip(self._keys(at), values.tolist(), strict=True))
        return len(self._values) - before

    def complete(self, search: MostProbableSearch, logs: Sequence[Array]) -> float:
        """A value of -log P below which every architecture inside has been drawn; -inf if none is
        known."""
        values = sorted(self._values.values())
        enumerator, priced = Enumerator(self._cache, tuple(search.windows)), search.priced()

        def least_new(top: float) -> float | None:
            """The least value of an architecture that has not been drawn, if it is at most ``top``,
            else infinity; None if there are too many to enumerate."""
            cutoff = top - search.dual + 2 * SLACK
            at, complete = enumerator.near_optimal(
                search.windows, priced, cutoff, MAX_LISTED, whole=True
            )
            if not complete:
                return None
            listed = -log_weights(self._cache, logs, at)
            new = [k for k, key in enumerate(self._keys(at)) if key not in self._values]
            # Above ``top``, the enumeration may be incomplete.
            value = float(listed[new].min(initial=inf))
            return value if value <= top + SLACK else inf

        low, high = -inf, values[-1]
        for top in (values[-1], values[len(values) // 2], values[0]):
            least = least_new(top)
            if least is not None:
                low = top
                break
            high = top
        else:
            return -inf
        step = 1.0
        for _ in range(STEPS):
            if least is not None and least < inf:
                return least
            if high > low and high - low < NEAR:
                break
            top = (low + high) / 2 if high > low else low + step
            least = least_new(top)
            if least is None:
                high = top
            else:
                low, step = top, step * 4
        return float(np.nextafter(low, inf))


class _TemperedSampler:
    """Draws architectures inside with -log P >= ``floor``: from P(x)^power by a `WindowSampler`,
    accepted with probability exp((power - 1) * (-log P(x) - floor))."""

    def __init__(
        self,
        cache: QueryCache,
        logs: Sequence[Array],
        inside: WindowSampler,
        power: float,
        floor: float,
    ) -> None:
        self._cache = cache
        self._logs = logs
        self._inside = inside
        self._power = power
        self.floor = floor
        #: The number of draws below the floor, and the expected number of accepted ones.
        self.below, self.expected = 0, 0.0

    def draw(self, random: np.random.Generator, n: int) -> Array:
        """Those of ``n`` draws that are accepted: assignments [draw, variable]."""
        at = self._inside.draw(random, n)
        above = -log_weights(self._cache, self._logs, at) - self.floor
        share = np.where(above < 0, 0.0, np.exp((self._power - 1) * np.maximum(above, 0.0)))
        self.below += int((above < 0).sum())
        self.expected += float(share.sum())
        return at[random.random(len(at)) < share]


def _tempered(
    cache: QueryCache,
    logs: Sequence[Array],
    windows: Windows,
    floor: float,
    random: np.random.Generator,
) -> _TemperedSampler | None:
    """A sampler of the power with the most accepted draws, found by bisection; None if there is
    none."""
    best, most = None, -1.0
    low, high = 0.0, 1.0
    for _ in range(TEMPERS):
        power = (low + high) / 2 if low else high / 4 if high < 1 else 0.5
        powered = [power * log for log in logs]
        search = MostProbableSearch(cache, powered, windows, 1)
        search.set_prices()
        tree, _ = to_conditionals(search.tree, [-table for table in search.tables()])
        if tree is None:
            return None
        weights = [potential.weights(()) for potential in tree.potentials]
        try:
            prepared = TiltedWeights(tree, weights, search.prices)
            inside = WindowSampler(cache, cache.unit_weights, windows, prepared=prepared)
        except Underflow:
            high = power
            continue
        tempered = _TemperedSampler(cache, logs, inside, power, floor)
        tempered.draw(random, PILOT)
        if tempered.expected > most:
            best, most = tempered, tempered.expected
        if tempered.expected > max(inside.accepted * GOOD, FEWEST):
            break
        # The greater the power, the more draws are below the floor.
        if tempered.below * 2 > inside.accepted:
            high = power
        else:
            low = power
    return best


def _likely(cache: QueryCache, search: MostProbableSearch) -> Array | None:
    """The architectures in the windows of a search, except a tail whose weight is at most
    exp(`NEGLECTED`) times that of the best one that is known; None if they are too many, or if
    none is known."""
    if search.worst == inf:
        return None
    tables, priced = search.tables(), search.priced()
    gap = max(search.worst - search.dual, 0.0)
    cutoff = inf
    for power in POWERS:
        # Infinite entries stay so at power 0, where infinity * 0 would be NaN.
        logs = [
            np.where(np.isfinite(t), -power * np.where(np.isfinite(t), t, 0), -inf) for t in tables
        ]
        total = to_conditionals(search.tree, logs).log_total + power * float(priced.value)
        cutoff = min(cutoff, (gap + total - NEGLECTED) / (1 - power))
    enumerator = Enumerator(cache, tuple(search.windows))
    at, complete = enumerator.near_optimal(search.windows, priced, cutoff, MAX_LISTED, whole=True)
    return at if complete else None


def _from_list(
    listed: Array, weight: Array, random: np.random.Generator, distinct: bool
) -> Iterator[tuple[Array, int]]:
    """Draws from a list, given the logarithms of its weights: without replacement by an exponential
    race, or with replacement and without end."""
    listed, weight = listed[weight > -inf], weight[weight > -inf]
    if not len(listed):
        return
    if distinct:
        with np.errstate(divide="ignore"):
            arrival = np.log(-np.log1p(-random.random(len(weight)))) - weight
        yield listed[np.argsort(arrival, kind="stable")], len(listed)
        return
    sums = np.cumsum(np.exp(weight - weight.max()))
    while True:
        at = np.searchsorted(sums, random.random(CHUNK) * sums[-1], side="right")
        yield listed[np.minimum(at, np.searchsorted(sums, sums[-1]))], CHUNK
