"""Draws from windows that are improbable under a settled distribution.

Where a distribution has settled far from a window, an architecture inside may have a probability
of exp(-1000), while what lies next to the window has much more. There are three ways, tried in
this order:

- All architectures inside are listed, with the logarithms of their weights.
- With the price of each cost at which `MostProbableSearch` bounds -log P, x weighs
  exp(-excess(x)), where excess(x) = -log P(x) + price * cost(x), less the least of it over all
  architectures. Inside the windows, P(x) <= exp(-dual - excess(x)). So those up to an excess of t
  are listed, and what is left out is, compared to the best known, exp(-dual - gap), at most

      exp(gap - (1 - s) t) * sum over all x of exp(-s * excess(x)),    for any s from 0 to 1.

  t is such that this is less than `NEGLECTED`.
- Draws from a power of the distribution, tilted in the same way: the weights exp(-excess(x)), as
  conditional probabilities (`conditionals`), from a grid of one cost. Its bins are drawn in
  proportion to exp(price * cost), which undoes the tilt; what costs differ within a bin, the tilt
  by other costs and the rest of the power are mended by accepting.

Where distinct ones are asked for and most that comes has been drawn already, those up to some
-log P are listed. If all of them have been drawn, what comes next has a greater one: only that is
drawn from then on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.elimination.cache import QueryCache
from tsdsl.analysis.elimination.conditionals import to_conditionals
from tsdsl.analysis.elimination.no_architecture import rarely_inside
from tsdsl.analysis.sampling.window_sampler import TiltedWeights, Underflow, WindowSampler
from tsdsl.analysis.windows.enumeration import Enumerator, Windows
from tsdsl.analysis.windows.window import clipped, log_weights, shown_window

if TYPE_CHECKING:
    from tsdsl.analysis.sampling.most_probable import MostProbableSearch

#: The logarithm of the share that may be left out: probabilities are right to nine digits.
NEGLECTED = -21.0
#: Powers s of the bound that are tried.
POWERS = (0.0, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.85, 0.9)
#: Architectures that are listed at most.
MAX_LISTED = 1 << 17
#: Draws at once.
CHUNK = 8192
#: Powers of the distribution that are tried; draws of each that say how many are accepted; the
#: share of those inside, and the number, that is enough.
TEMPERS, PILOT = 12, 1024
GOOD, FEWEST = 0.2, 8
#: After so many distinct draws, of which less than this share was new, what has been drawn is left
#: out.
ENOUGH, FRESH = 256, 0.25
#: Differences of log P below are none.
SLACK = 1e-6
#: Tries to find up to where all has been drawn, and how near is near enough.
STEPS, NEAR = 16, 0.5


def improbable(
    cache: QueryCache,
    logs: Sequence[Array],
    windows: Windows,
    random: np.random.Generator,
    distinct: bool,
) -> Iterator[tuple[Array, int]]:
    """Draws, and of how many they are left; ``logs`` are the logarithms of the weights of the
    options of each decision. They come to an end where nothing has a weight; distinct ones
    do where all are listed. Raises `SpecError` where none of the ways does."""
    every = Enumerator(cache, tuple(windows)).assignments(windows, MAX_LISTED)
    if every is not None:
        yield from _from_list(every, log_weights(cache, logs, every), random, distinct)
        return
    # The search draws, too: it imports what imports this.
    from tsdsl.analysis.sampling.most_probable import MostProbableSearch

    search = MostProbableSearch(cache, logs, clipped(cache, windows) or {}, 1)
    _, proven = search.run()
    if proven and not search.count:
        return
    listed = _likely(cache, search)
    if listed is not None:
        yield from _from_list(listed, log_weights(cache, logs, listed), random, distinct)
    # Nothing inside is more probable than exp(-floor).
    floor = search.worst - SLACK if proven and search.worst < inf else search.dual
    tempered = _tempered(cache, logs, search.windows, floor, random)
    if tempered is None:
        asked = ", ".join(f"{c} {shown_window(w)}" for c, w in windows.items())
        raise rarely_inside(cache.space, 0, CHUNK, asked)
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
    """What has been drawn, with -log P."""

    def __init__(self, cache: QueryCache) -> None:
        self._cache = cache
        self._decided = [d.variable.index for d in cache.space.decisions]
        self._values: dict[bytes, float] = {}

    def _keys(self, at: Array) -> list[bytes]:
        return [row.tobytes() for row in at[:, self._decided].astype(np.int16)]

    def add(self, at: Array, values: Array) -> int:
        """How many of these are new."""
        before = len(self._values)
        self._values.update(zip(self._keys(at), values.tolist(), strict=True))
        return len(self._values) - before

    def complete(self, search: MostProbableSearch, logs: Sequence[Array]) -> float:
        """A value below which all that is inside has been drawn; -inf if none is known."""
        held = sorted(self._values.values())
        enumerator, priced = Enumerator(self._cache, tuple(search.windows)), search.priced()

        def least_new(top: float) -> float | None:
            """The least value that has not been drawn, if it is about ``top`` or less, else
            infinity; None if there are too many."""
            cutoff = top - search.dual + 2 * SLACK
            at, complete = enumerator.near_optimal(
                search.windows, priced, cutoff, MAX_LISTED, whole=True
            )
            if not complete:
                return None
            values = -log_weights(self._cache, logs, at)
            new = [k for k, key in enumerate(self._keys(at)) if key not in self._values]
            # Above the top, others may be missing.
            least = float(values[new].min(initial=inf))
            return least if least <= top + SLACK else inf

        low, high = -inf, held[-1]
        for top in (held[-1], held[len(held) // 2], held[0]):
            found = least_new(top)
            if found is not None:
                low = top
                break
            high = top
        else:
            return -inf
        step = 1.0
        for _ in range(STEPS):
            if found is not None and found < inf:
                return found
            if high > low and high - low < NEAR:
                break
            top = (low + high) / 2 if high > low else low + step
            found = least_new(top)
            if found is None:
                high = top
            else:
                low, step = top, step * 4
        return float(np.nextafter(low, inf))


class _TemperedSampler:
    """Draws of what is inside and has a -log P of ``floor`` or more. ``window_sampler`` draws from
    a power of the distribution, each accepted in proportion to the power that is missing."""

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
        #: How many of the draws were below the floor; how many are accepted on average.
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
    """The power of which most draws are accepted; None if there is none."""
    # The search draws, too: it imports what imports this.
    from tsdsl.analysis.sampling.most_probable import MostProbableSearch

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
        found = _TemperedSampler(cache, logs, inside, power, floor)
        found.draw(random, PILOT)
        if found.expected > most:
            best, most = found, found.expected
        if found.expected > max(inside.accepted * GOOD, FEWEST):
            break
        # The sharper the power, the more of what it draws is below the floor.
        if found.below * 2 > inside.accepted:
            high = power
        else:
            low = power
    return best


def _likely(cache: QueryCache, search: MostProbableSearch) -> Array | None:
    """The architectures in the windows of a search, without a tail whose weight is at most
    exp(`NEGLECTED`) times that of the best one found; None if they are too many, or none was
    found."""
    if search.worst == inf:
        return None
    tables, priced = search.tables(), search.priced()
    gap = max(search.worst - search.dual, 0.0)
    cutoff = inf
    for power in POWERS:
        # At 0, all count 1; infinity times 0 is none.
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
