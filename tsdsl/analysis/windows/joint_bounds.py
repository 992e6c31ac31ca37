"""Proven bounds of the mass within windows of several costs at once.

For each window k, with indicator 1_k, Selberg's trigonometric polynomials (see `cdf_bounds`) bound
it from both sides, B_k <= 1_k <= A_k. Products of them bound the product of all indicators,

    sum over k of B_k * product of A_j, j != k,  less (n - 1) * product of all A_j
        <= product of all 1_k <= product of all A_j,

and the mean of a product of polynomials is a sum over the frequencies of the joint characteristic
function. Where the windows lie in a tail, weights are tilted by exp(-theta * cost), and the
polynomials bound exp(theta * cost) within the window, as a sum of nested windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod
from typing import NamedTuple

import numpy as np

from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.windows.cdf_bounds import ROUNDING, fejer, vaaler
from tsdsl.analysis.windows.characteristic import CharacteristicFunction

#: Largest number of steps that approximate exp(theta * cost) within a window.
STEPS = 200
#: Largest number of frequencies of one cost.
MAX_COUNT = 4096


class SelbergPolynomials(NamedTuple):
    """Fourier coefficients at n = 1 - count ... count - 1 of three polynomials for one window: an
    approximation, a majorant and a minorant."""

    near: Array
    above: Array
    below: Array


def joint_mass(
    function: CharacteristicFunction, windows: Sequence[tuple[float, float]], frequencies: int
) -> tuple[float, float, float]:
    """Returns (estimate, lower, upper) of the weight in all windows as a fraction of the total
    tilted weight, where a cost x in a window counts exp(theta * (x - edge)), with edge its upper
    end if theta > 0, else the lower one. The windows are edges counted from the least costs."""
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
    # The lower bound of the docstring: one minorant and the other majorants, for each cost.
    least = sum(
        _mean(values, [b.below if a is b else b.above for b in axes]) for a in axes
    ) - most * (len(axes) - 1)
    slack = ROUNDING * prod(float(np.abs(axis.above).sum()) for axis in axes)
    low, high = max(least - slack, 0.0), min(most + slack, 1.0)
    return min(max(_mean(values, [axis.near for axis in axes]), low), high), low, high


def polynomials(a: float, b: float, theta: float, period: int, count: int) -> SelbergPolynomials:
    """The polynomials of the function that is exp(theta * (x - b)) in the window from ``a`` to
    ``b`` (exp(theta * (x - a)) if theta is negative) and 0 outside."""
    steps = min(max(ceil(abs(theta) * (b - a) / 0.02), 1), STEPS)
    points = np.linspace(a, b, steps + 1)
    values = np.exp(-abs(theta) * np.abs(points - (b if theta > 0 else a)))
    if theta < 0:
        points, values = points[::-1], values[::-1]
    # The function is a sum of windows that begin at each point, from the side of its least values:
    # how much each of them adds, at most and at least.
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
    """The mean of a product of one polynomial for each cost."""
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
    """The number of frequencies of each cost: more for narrower windows, with the product about
    ``frequencies``."""
    needs = []
    for (a, b), theta, period in zip(windows, function.theta, periods, strict=True):
        width = min(b - a, 1 / abs(theta)) if theta else b - a
        needs.append(period / max(width, 1.0))
    # Costs other than the first one have negative frequencies, too.
    share = (frequencies / 2 ** (len(needs) - 1) / prod(needs)) ** (1 / len(needs))
    return [
        int(min(max(share * need, 4), period // 2 + 1, MAX_COUNT))
        for need, period in zip(needs, periods, strict=True)
    ]
