"""Draws from windows that are improbable under a settled distribution.

Of a distribution that has settled far from a window, an architecture inside may have a probability
of exp(-1000), and what lies next to the window much more. Three ways, the first that does:

- All architectures inside are listed, with the logarithms of their weights.
- With the price of each cost at which `Search` bounds -log P, x weighs exp(-excess(x)), where
  excess(x) = -log P(x) + price * cost(x), less the least of it over all architectures. Inside of
  the windows, P(x) <= exp(-dual - excess(x)). So those up to an excess of t are listed, and what is
  left out is, compared to the best known, exp(-dual - gap), at most

      exp(gap - (1 - s) t) * sum over all x of exp(-s * excess(x)),    for any s from 0 to 1.

  t is such that this is less than `NEGLECTED`.
- Draws from the weights exp(-excess(x)), as conditional probabilities (`normalised`), from a grid
  of one cost. Its bins are drawn in proportion to exp(price * cost), which undoes the tilt; what
  costs differ within a bin, and the tilt by other costs, is mended by accepting.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.elimination.engine import Engine
from tsdsl.analysis.elimination.normalised import normalised
from tsdsl.analysis.elimination.nothing import rarely_inside
from tsdsl.analysis.sampling.inside import Inside, Prepared, Underflow
from tsdsl.analysis.windows.listing import Lister, Windows
from tsdsl.analysis.windows.window import clipped, log_weights, shown_window

if TYPE_CHECKING:
    from tsdsl.analysis.sampling.probable import Search

#: The logarithm of the share that may be left out: probabilities are right to nine digits.
NEGLECTED = -21.0
#: Powers s of the bound that are tried.
POWERS = (0.0, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.85, 0.9)
#: Architectures that are listed at most.
MAX_LISTED = 1 << 17
#: Draws at once.
CHUNK = 8192


def improbable(
    known: Engine,
    logs: Sequence[Array],
    windows: Windows,
    random: np.random.Generator,
    distinct: bool,
) -> Iterator[tuple[Array, int]]:
    """Draws, and of how many they are left; ``logs`` are the logarithms of the weights of the
    options of each decision. They come to an end where nothing has a weight; distinct ones
    do where all are listed. Raises `SpecError` where none of the ways does."""
    every = Lister(known, tuple(windows)).list(windows, MAX_LISTED)
    if every is not None:
        yield from _from_list(every, log_weights(known, logs, every), random, distinct)
        return
    # The search draws, too: it imports what imports this.
    from tsdsl.analysis.sampling.probable import Search

    search = Search(known, logs, clipped(known, windows) or {}, 1)
    _, proven = search.run()
    if proven and not search.count:
        return
    listed = _likely(known, search)
    if listed is not None:
        yield from _from_list(listed, log_weights(known, logs, listed), random, distinct)
    made, _ = normalised(search.made, [-table for table in search.tables()])
    if made is None:
        return
    weights = [potential.weights(()) for potential in made.potentials]
    prepared = Prepared(made, weights, search.prices)
    try:
        inside = Inside(known, known.ones, search.windows, prepared=prepared)
    except Underflow:
        asked = ", ".join(f"{c} {shown_window(w)}" for c, w in windows.items())
        raise rarely_inside(known.space, 0, CHUNK, asked) from None
    while True:
        yield inside.draw(random, CHUNK), CHUNK


def _likely(known: Engine, search: Search) -> Array | None:
    """All but a share of exp(`NEGLECTED`) of what is inside of the windows of a search, compared to
    the best that it has found; None if they are too many, or nothing was found."""
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
        total = normalised(search.made, logs).log_total + power * float(priced.value)
        cutoff = min(cutoff, (gap + total - NEGLECTED) / (1 - power))
    lister = Lister(known, tuple(search.windows))
    at, complete = lister.near(search.windows, priced, cutoff, MAX_LISTED)
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
