"""Draws of all decisions at once, each by itself, of which those that fit are kept.

Where a few in a hundred fit, nothing is faster: no plan is made, and a draw is a look-up. It is
exact: a decision that is not active has no part in the weight of an architecture, whatever option
was drawn for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tsdsl.analysis.costs.assignments import complete_assignments
from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.elimination.cache import QueryCache
from tsdsl.analysis.windows.enumeration import Windows

#: Equal parts of 1 that are looked up; a part with several options in it is looked at closely.
PARTS = 1 << 12
_SEVERAL = 255


class RejectionSampler:
    """Draws from one distribution (``rows``: probabilities of the options of each decision) within
    windows."""

    def __init__(self, cache: QueryCache, rows: Sequence[Array], windows: Windows) -> None:
        self._space = cache.space
        self._lookups = [(cache.lookup(cost), *window) for cost, window in windows.items()]
        self._sums = [_sums(row) for row in rows]
        self._guides = [_guide(sums) for sums in self._sums]
        #: Of all draws so far.
        self.drawn = self.accepted = 0

    @staticmethod
    def suits(cache: QueryCache, rows: Sequence[Array]) -> bool:
        """Whether these are probabilities, and options few enough."""
        return all(abs(float(row.sum()) - 1) < 1e-9 and len(row) < _SEVERAL for row in rows)

    @property
    def rate(self) -> float:
        """How many draws are accepted."""
        return self.accepted / self.drawn if self.drawn else 0.0

    def draw(self, random: np.random.Generator, n: int) -> Array:
        """Those of ``n`` draws that fit: assignments [draw, variable]."""
        options: Array = np.empty((len(self._sums), n), np.uint8)
        for k, (sums, guide) in enumerate(zip(self._sums, self._guides, strict=True)):
            part = random.integers(0, PARTS, n, dtype=np.uint16)
            guide.take(part, out=options[k], mode="clip")
            several = np.flatnonzero(options[k] == _SEVERAL)
            if len(several):
                exact = (part[several] + random.random(len(several))) / PARTS
                options[k, several] = np.searchsorted(sums, exact, side="right")
        found = options.T
        for lookup, least, most in self._lookups:
            costs = lookup.many(found)
            found = found[(costs >= least) & (costs <= most)]
        at, odd = complete_assignments(self._space, found.astype(np.int64))
        at = at[~odd]
        self.drawn += n
        self.accepted += len(at)
        return at


def _sums(row: Array) -> Array:
    sums = np.cumsum(row)
    # What is drawn is less than 1: nothing lies beyond the last option with a weight.
    return np.where(sums >= sums[-1], 1.0, sums / sums[-1])


def _guide(sums: Array) -> Array:
    """The option of each part of 1, if it has one only."""
    ends = np.arange(PARTS + 1) / PARTS
    first = np.searchsorted(sums, ends[:-1], side="right")
    last = np.searchsorted(sums, ends[1:], side="left")
    return np.where(first == last, first, _SEVERAL).astype(np.uint8)
