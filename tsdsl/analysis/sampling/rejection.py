"""Rejection sampling: all decisions are drawn independently, and what does not fit is rejected.

The accepted draws have the conditional distribution by construction: a decision that is not active
contributes nothing to the weight of an architecture, whatever option was drawn for it. Nothing is
planned and a draw is a few table look-ups, so that this is the fastest way wherever at least one
draw in a hundred fits. Options are drawn by the guide-table method (H.-C. Chen, Y. Asau, On
generating random variates from an empirical distribution, AIIE Transactions 6, 1974).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tsdsl.analysis.costs.assignments import complete_assignments
from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.elimination.cache import QueryCache
from tsdsl.analysis.windows.enumeration import Windows

#: Number of equal intervals into which the guide table divides [0, 1).
PARTS = 1 << 12
#: Entry of the guide table for an interval that more than one option shares: searched instead.
_SEVERAL = 255


class RejectionSampler:
    """Draws from the distribution in which the options of each decision have the probabilities
    ``rows``, within windows."""

    def __init__(self, cache: QueryCache, rows: Sequence[Array], windows: Windows) -> None:
        self._space = cache.space
        self._lookups = [(cache.lookup(cost), *window) for cost, window in windows.items()]
        self._sums = [_sums(row) for row in rows]
        self._guides = [_guide(sums) for sums in self._sums]
        self.drawn = self.accepted = 0

    @staticmethod
    def suits(cache: QueryCache, rows: Sequence[Array]) -> bool:
        """Whether ``rows`` are probabilities, of few enough options for the guide table."""
        return all(abs(float(row.sum()) - 1) < 1e-9 and len(row) < _SEVERAL for row in rows)

    @property
    def rate(self) -> float:
        """The share of draws that were accepted."""
        return self.accepted / self.drawn if self.drawn else 0.0

    def draw(self, random: np.random.Generator, n: int) -> Array:
        """Those of ``n`` draws that are accepted: assignments [draw, variable]."""
        options: Array = np.empty((len(self._sums), n), np.uint8)
        for k, (sums, guide) in enumerate(zip(self._sums, self._guides, strict=True)):
            part = random.integers(0, PARTS, n, dtype=np.uint16)
            guide.take(part, out=options[k], mode="clip")
            several = np.flatnonzero(options[k] == _SEVERAL)
            if len(several):
                exact = (part[several] + random.random(len(several))) / PARTS
                options[k, several] = np.searchsorted(sums, exact, side="right")
        inside = options.T
        for lookup, least, most in self._lookups:
            costs = lookup.many(inside)
            inside = inside[(costs >= least) & (costs <= most)]
        at, odd = complete_assignments(self._space, inside.astype(np.int64))
        at = at[~odd]
        self.drawn += n
        self.accepted += len(at)
        return at


def _sums(row: Array) -> Array:
    """Cumulative probabilities that end at exactly 1."""
    sums = np.cumsum(row)
    # Numbers below 1 are drawn: an option without weight at the end is never reached.
    return np.where(sums >= sums[-1], 1.0, sums / sums[-1])


def _guide(sums: Array) -> Array:
    """The guide table: the option of each interval of [0, 1), or `_SEVERAL`."""
    ends = np.arange(PARTS + 1) / PARTS
    first = np.searchsorted(sums, ends[:-1], side="right")
    last = np.searchsorted(sums, ends[1:], side="left")
    return np.where(first == last, first, _SEVERAL).astype(np.uint8)
