"""Several windows at once: proven bounds of the mass that lies in all of them.

For each window a trigonometric polynomial above it and one below (Selberg's, see `cdf_bounds`);
their products bound the product of all windows, and the mean of a product is a sum over the
frequencies of the joint characteristic function. Where the windows lie in a tail, weights are
tilted, and the polynomials bound exp(theta * cost) in the window, taken as a sum of windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod
from typing import NamedTuple

import numpy as np

from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.windows.cdf_bounds import ROUNDING, fejer, vaaler
from tsdsl.analysis.windows.characteristic import CharacteristicFunction

#: Steps that a factor exp(theta * cost) has in a window, at most.
STEPS = 200
#: Frequencies of one cost, at most.
MAX_COUNT = 4096


class SelbergPolynomials(NamedTuple):
    """Coefficients at n = 1 - count ... count - 1: near a window, above it and below it."""

    near: Array
    above: Array
    below: Array


def jointly(
    function: CharacteristicFunction, windows: Sequence[tuple[float, float]], frequencies: int
) -> tuple[float, float, float]:
    """The weight inside of all windows (edges above the least of each cost), where a cost counts
    exp(theta * (cost - the dearer edge)), as a share of all tilted weight: an estimate, at least,
    at most."""
    periods = [span + max(span // 50, 8) for span in function.span]
    counts = _counts(function, windows, periods, frequencies)
    values = function.values(periods, counts)
    axes = [
        polynomials(*window, theta, period, count)
        for window, theta, period, count in zip(
            windows, function.theta, periods, counts, strict=True
        )
    ]
    most = _mean(values, [axis.above for axis in axes])
    # One polynomial below and the others above, for each, less all above: below the product.
    least = sum(
        _mean(values, [b.below if a is b else b.above for b in axes]) for a in axes
    ) - most * (len(axes) - 1)
    slack = ROUNDING * prod(float(np.abs(axis.above).sum()) for axis in axes)
    low, high = max(least - slack, 0.0), min(most + slack, 1.0)
    return min(max(_mean(values, [axis.near for axis in axes]), low), high), low, high


def polynomials(a: float, b: float, theta: float, period: int, count: int) -> SelbergPolynomials:
    """Of the window from ``a`` to ``b``, in which x counts exp(theta * (x - b)), or, where theta
    is negative, exp(theta * (x - a))."""
    steps = min(max(ceil(abs(theta) * (b - a) / 0.02), 1), STEPS)
    points = np.linspace(a, b, steps + 1)
    values = np.exp(-abs(theta) * np.abs(points - (b if theta > 0 else a)))
    if theta < 0:
        points, values = points[::-1], values[::-1]
    # From the side of the least values on: windows that begin at each point, and what they add.
    starts, end = points[:-1], points[-1]
    above = np.diff(values, prepend=0.0)[1:]
    above[0] = values[1]
    below = np.diff(values[:-1], prepend=0.0)
    n = np.arange(1 - count, count)
    turns = np.exp(-2j * np.pi * ((np.append(starts, end)[:, None] / period * n) % 1.0))
    sign = -1.0 if theta < 0 else 1.0
    step, width = vaaler(n, count), fejer(n, count)
    windows = sign * step * (turns[-1] - turns[:-1])
    windows[:, count - 1] = np.abs(end - starts) / period
    edges = width * (turns[-1] + turns[:-1])
    near = (above + below) / 2
    return SelbergPolynomials(near @ windows, above @ (windows + edges), below @ (windows - edges))


def _mean(values: Array, coefficients: Sequence[Array]) -> float:
    """Of a product of polynomials of the costs."""
    for axis in coefficients[:0:-1]:
        values = values @ axis
    first = coefficients[0][len(values) - 1 :]
    return float((first[0] * values[0]).real + 2 * (first[1:] @ values[1:]).real)


def _counts(
    function: CharacteristicFunction,
    windows: Sequence[tuple[float, float]],
    periods: Sequence[int],
    frequencies: int,
) -> list[int]:
    """Frequencies of each cost: more for narrower windows."""
    needs = []
    for (a, b), theta, period in zip(windows, function.theta, periods, strict=True):
        width = min(b - a, 1 / abs(theta)) if theta else b - a
        needs.append(period / max(width, 1.0))
    # All but the first have negative ones too.
    share = (frequencies / 2 ** (len(needs) - 1) / prod(needs)) ** (1 / len(needs))
    return [
        int(min(max(share * need, 4), period // 2 + 1, MAX_COUNT))
        for need, period in zip(needs, periods, strict=True)
    ]
