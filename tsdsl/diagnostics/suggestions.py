"""Suggestions for misspelt names: the known name that was most likely meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache

#: Most names that a misspelt one is compared with, and their greatest length.
MAX_CANDIDATES, MAX_LENGTH = 500, 100


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that a misspelt name most likely means; None where none is similar.

    The work of one call is bounded by `MAX_CANDIDATES` and `MAX_LENGTH`, and results are cached: a
    mistake in a block that is used a thousand times is looked up once. A caller that reports
    findings in a loop must bound their number, by `Collector.is_full` or `Collector.LIMIT`.
    """
    if len(name) > MAX_LENGTH:
        return None
    pool = tuple(dict.fromkeys(candidates))
    if len(pool) > MAX_CANDIDATES:
        pool = tuple(c for c in pool if c[:1] == name[:1])[:MAX_CANDIDATES]
    return _nearest(name, pool)


@lru_cache(maxsize=256)
def _nearest(name: str, pool: tuple[str, ...]) -> str | None:
    usable = [c for c in pool if len(c) <= MAX_LENGTH]
    folded = [c for c in usable if c.lower() == name.lower()]
    if folded:
        return folded[0]
    found = get_close_matches(name, usable, n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(name: str, candidates: Iterable[str], otherwise: str | None = None) -> str | None:
    """A help line with the nearest name, or ``otherwise``."""
    found = nearest(name, candidates)
    return f"did you mean '{found}'?" if found else otherwise
