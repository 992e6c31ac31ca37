"""Tighter bounds than the sum of all roundings: few architectures have all of them one way.

How much of all weight has a total rounding of at least t is at most exp(-rate * t) times the mean
of exp(rate * rounding) (Chernoff), and that mean is a product over leaves, which one elimination
gives exactly. So a window's mass is the mass of bins that are inside by t, less that weight, at
least; and that of bins that are not outside by t, and that weight, at most: for every t.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tsdsl.analysis.factors import Array
from tsdsl.analysis.program import Program
from tsdsl.analysis.resolved import Leaf, Resolved, rounded

#: Per unit.
RATES = (0.5, 1.0, 1.75, 2.75, 4.0)
STEPS = 64


def bounds(
    made: Program, leaf: list[Leaf], found: Resolved, window: tuple[int, int]
) -> tuple[float, float]:
    """At least and at most: the mass in a window of the cost that was resolved, as multiples of
    2 ** ``found.root.scale``."""
    mass = found.root.mass[0]
    sums = np.concatenate([[0.0], np.cumsum(mass)])

    def inside(error: tuple[int, int]) -> tuple[float, float]:
        first, end, inner, inner_end = found.range(*window, error)
        return float(sums[max(inner_end, inner)] - sums[inner]), float(sums[end] - sums[first])

    low, high = inside(found.error)
    if found.error == (0, 0):
        return low, high
    unit = found.unit
    rates, above, below = np.array(RATES), [], []
    for rate in RATES:
        above.append(_mean(made, leaf, unit, rate, found.root.scale))
        below.append(_mean(made, leaf, unit, -rate, found.root.scale))
    worst = max(-found.error[0], found.error[1])
    for t in np.linspace(0, worst, STEPS)[1:-1].tolist():
        decay = np.exp(-rates * t / unit)
        beyond = float(np.min(above * decay) + np.min(below * decay))
        least, most = inside((-int(t), int(t)))
        low, high = max(low, least - beyond), min(high, most + beyond)
    return max(low, 0.0), high


def _mean(made: Program, leaf: list[Leaf], unit: int, rate: float, scale: int) -> float:
    """The weight of all, each times exp(rate * its rounding in units)."""
    tilted: list[Leaf] = []
    for x in leaf:
        _, _, wrong = rounded(x, unit)
        weight: Array = np.where(x.weight > 0, x.weight * np.exp(rate * wrong / unit), 0.0)
        tilted.append(replace(x, cost=np.zeros_like(x.cost), weight=weight))
    root = Resolved(made, tilted, 1, 0).root
    return float(np.ldexp(root.mass.sum(), root.scale - scale))
