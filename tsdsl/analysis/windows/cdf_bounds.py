"""Bounds of the distribution function of a cost from the first frequencies of its characteristic
function.

The mass below an edge is the mean of a step function. Of all trigonometric polynomials of degree K,
Vaaler's is nearest to a step in the mean, and differs from it nowhere by more than a Fejer kernel
over 2K + 2 (J. D. Vaaler, Some extremal functions in Fourier analysis, Bull. Amer. Math. Soc. 12,
1985, theorem 18; the window of two such steps is Selberg's). The means of both are sums over the
frequencies of the characteristic function phi. With period P, v_n and f_n the coefficients of the
two, and F(x) the mass below x,

    |F(b) - F(a) - (b - a) / P - s(b) + s(a)| <= e(a) + e(b),
    s(x) = sum of v_n phi(n) exp(-2 pi i n x / P),    e(x) = sum of f_n phi(n) exp(-2 pi i n x / P).

The error e(x) is about half of P / K times the density at x.
"""

from __future__ import annotations

from math import log2, pi

import numpy as np

from tsdsl.analysis.costs.factors import Array

#: Rounding error of sums of floats, as a share of all mass, at most.
ROUNDING = 1e-11
#: Points per frequency of the grid on which a whole distribution is bounded.
FINENESS = 4
#: Edges times frequencies that are computed at once.
CELLS = 1 << 20


class CdfBounds:
    """Bounds from ``values``, the characteristic function phi at n = 0 ... K of costs from 0 to
    ``period - empty``."""

    def __init__(self, values: Array, period: int, empty: int) -> None:
        self.period = period
        self.empty = empty
        count = len(values)
        self._n = np.arange(1, count)
        # Twice: the terms of negative frequencies are the conjugates of these.
        self._step = 2 * vaaler(self._n, count) * values[1:]
        self._width = 2 * fejer(self._n, count) * values[1:]
        self._share = 1 / (2 * count)

    def at(self, edges: Array) -> tuple[Array, Array]:
        """s(x) and e(x) of each edge x: the mass between two edges a and b is
        (b - a) / period + s(b) - s(a), up to e(a) + e(b)."""
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
        """Points from 0 to the period, with s and e of each (see `at`), by one FFT."""
        size = FINENESS << int(log2(max(len(self._n), 1)) + 1)
        padded: Array = np.zeros(size, np.complex128)
        padded[self._n] = self._step
        steps = np.fft.fft(padded).real
        padded[self._n] = self._width
        errors = np.maximum(np.fft.fft(padded).real, 0.0) + self._share + ROUNDING
        return np.arange(size) * (self.period / size), steps, errors

    def between(self, low: float, high: float) -> tuple[float, float, float]:
        """The mass between two edges: an estimate, a lower and an upper bound."""
        steps, errors = self.at(np.array([low, high]))
        mass = float((high - low) / self.period + steps[1] - steps[0])
        off = float(errors.sum())
        return min(max(mass, 0.0), 1.0), max(mass - off, 0.0), min(mass + off, 1.0)

    def below(self, points: Array | None = None) -> tuple[Array, Array, Array, Array]:
        """Points (by default a grid from 0 to the period), and the mass below each: an estimate, a
        lower and an upper bound. Bounds are ascending, as the mass is."""
        if points is None:
            points, steps, errors = self.grid()
        else:
            points = np.asarray(points, np.float64)
            steps, errors = self.at(points)
        # An edge in the empty arc, below which there is no mass.
        start = np.array([-self.empty / 2])
        first, off = self.at(start)
        mass = (points - start) / self.period + steps - first
        errors = errors + off
        low = np.clip(np.maximum.accumulate(mass - errors), 0.0, 1.0)
        high = np.clip(np.minimum.accumulate((mass + errors)[::-1])[::-1], 0.0, 1.0)
        return points, np.clip(mass, low, high), low, high


def vaaler(n: Array, count: int) -> Array:
    """Coefficients, at frequencies ``n``, of Vaaler's polynomial of degree count - 1, which
    approximates the sawtooth x - floor(x) - 1/2. The coefficient at 0 is 0."""
    some = n != 0
    x = np.abs(n[some]) / count
    smooth = pi * x * (1 - x) / np.tan(pi * x) + x
    coefficients: Array = np.zeros(len(n), np.complex128)
    coefficients[some] = -smooth / (2j * pi * n[some])
    return coefficients


def fejer(n: Array, count: int) -> Array:
    """Coefficients of the Fejer kernel over 2 * count, which bounds the error of `vaaler`."""
    return np.asarray((1 - np.abs(n) / count) / (2 * count))
