"""Suffixes of numbers, as specs, options and outputs write them."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

#: Factors of amounts: 1.4G.
AMOUNTS = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
#: Nanoseconds per unit of time: 8ms.
TIMES = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}


def interval_text(low: float, high: float, end: Callable[[float], str] | None = None) -> str:
    """An interval as a spec writes it, ``1,000..2,000``; an infinite end is left out. ``end`` gives
    the text of an end, with all digits unless it is given."""
    number = end or (lambda value: f"{value:,}" if isinstance(value, int) else f"{value:,.0f}")
    return "..".join("" if abs(value) == inf else number(value) for value in (low, high))
