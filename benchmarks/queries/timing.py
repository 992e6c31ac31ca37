"""Medians and rates, by the wall's clock or by CPU seconds of this process.

On a machine that others use too, the wall's clock tells how busy they are.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
now = CLOCKS["wall"]


def choose(name: str) -> None:
    global now
    now = CLOCKS[name]


def seconds(function: Callable[[], object]) -> float:
    start = now()
    function()
    return now() - start


def timed(function: Callable[[], object], repeats: int = 7) -> float:
    """Median duration of a call in seconds, after one warm-up call."""
    function()
    return median(seconds(function) for _ in range(repeats))


def rate(make: Callable[[], int], long: float) -> float:
    """Calls per second, measured for ``long`` seconds after one warm-up call."""
    make()
    made = 0
    start = now()
    while (took := now() - start) < long:
        made += make()
    return made / took
