"""What the first frequencies of a cost's characteristic function prove of its distribution.

How much mass lies below an edge is the mean of a step function. Of all trigonometric polynomials of
degree K, Vaaler's comes nearest to a step in the mean, and differs from it nowhere by more than a
Fejer kernel over 2K + 2 (J. D. Vaaler, Some extremal functions in Fourier analysis, Bull. Amer.
Math. Soc. 12, 1985, theorem 18; the window of two such steps is Selberg's). The means of both are
sums over the frequencies, so that every edge gets an estimate and a proven distance from it: about
half a K-th of the period times the density there.
"""

from __future__ import annotations

from math import log2, pi

import numpy as np

from tsdsl.analysis.costs.factors import Array

#: What sums of floats can be off by, as a share of all mass.
ROUNDING = 1e-11
#: DistinctCosts for each frequency at which a whole distribution is told.
FINENESS = 4
#: Edges times frequencies that are done at once.
CELLS = 1 << 20


class CdfBounds:
    """``values`` are the characteristic function at n = 0 ... K; costs go from 0 to
    ``period - empty``."""

    def __init__(self, values: Array, period: int, empty: int) -> None:
        self.period = period
        self.empty = empty
        count = len(values)
        self._n = np.arange(1, count)
        # Twice, for the frequencies below 0, of which real parts add up.
        self._step = 2 * vaaler(self._n, count) * values[1:]
        self._width = 2 * fejer(self._n, count) * values[1:]
        self._share = 1 / (2 * count)

    def at(self, edges: Array) -> tuple[Array, Array]:
        """For each edge, a number and how far off it is at most: the mass between two edges is
        their difference of these, plus their distance as a share of the period, give or take both
        errors."""
        steps: Array = np.zeros(len(edges))
        errors: Array = np.zeros(len(edges))
        turns = np.asarray(edges, np.float64) / self.period
        some = max(CELLS // max(len(self._n), 1), 1)
        for start in range(0, len(edges), some):
            part = slice(start, start + some)
            phase = np.exp(-2j * pi * ((turns[part, None] * self._n) % 1.0))
            steps[part] = (phase @ self._step).real
            errors[part] = (phase @ self._width).real
        return steps, np.maximum(errors, 0.0) + self._share + ROUNDING

    def grid(self) -> tuple[Array, Array, Array]:
        """Points from 0 to the period; of each, as `at` has them."""
        size = FINENESS << int(log2(max(len(self._n), 1)) + 1)
        padded: Array = np.zeros(size, np.complex128)
        padded[self._n] = self._step
        steps = np.fft.fft(padded).real
        padded[self._n] = self._width
        errors = np.maximum(np.fft.fft(padded).real, 0.0) + self._share + ROUNDING
        return np.arange(size) * (self.period / size), steps, errors

    def between(self, low: float, high: float) -> tuple[float, float, float]:
        """The mass between two edges: estimate, least and most."""
        steps, errors = self.at(np.array([low, high]))
        mass = float((high - low) / self.period + steps[1] - steps[0])
        off = float(errors.sum())
        return min(max(mass, 0.0), 1.0), max(mass - off, 0.0), min(mass + off, 1.0)

    def below(self, points: Array | None = None) -> tuple[Array, Array, Array, Array]:
        """Points (left out: a grid from 0 to the period), and the mass below each: estimate, least
        and most."""
        if points is None:
            points, steps, errors = self.grid()
        else:
            points = np.asarray(points, np.float64)
            steps, errors = self.at(points)
        # An edge in the empty arc, below which there is nothing.
        start = np.array([-self.empty / 2])
        first, off = self.at(start)
        mass = (points - start) / self.period + steps - first
        errors = errors + off
        low = np.clip(np.maximum.accumulate(mass - errors), 0.0, 1.0)
        high = np.clip(np.minimum.accumulate((mass + errors)[::-1])[::-1], 0.0, 1.0)
        return points, np.clip(mass, low, high), low, high


def vaaler(n: Array, count: int) -> Array:
    """Coefficients of the polynomial of degree count - 1 that comes nearest to x - floor(x) - 1/2,
    without the one at 0, which is 0."""
    some = n != 0
    x = np.abs(n[some]) / count
    smooth = pi * x * (1 - x) / np.tan(pi * x) + x
    found: Array = np.zeros(len(n), np.complex128)
    found[some] = -smooth / (2j * pi * n[some])
    return found


def fejer(n: Array, count: int) -> Array:
    """Coefficients of the kernel that bounds how far `vaaler` is off."""
    return np.asarray((1 - np.abs(n) / count) / (2 * count))
