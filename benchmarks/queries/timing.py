"""Medians and rates."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def timed(function: Callable[[], object], repeats: int = 7) -> float:
    """Median seconds, after one call to warm up."""
    function()
    return median(seconds(function) for _ in range(repeats))


def rate(make: Callable[[], int], long: float) -> float:
    """How many per second in so many seconds, after one call to warm up."""
    make()
    made = 0
    start = time.perf_counter()
    while (took := time.perf_counter() - start) < long:
        made += make()
    return made / took
