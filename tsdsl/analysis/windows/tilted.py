"""Exponential tilting: weights that make windows of several costs likely at the same time.

The tilted weight w(x) exp(-sum of theta_k cost_k(x)) is again a product of tables over the bucket
tree, so that every exact query applies to it. The rates theta minimise the convex function

    log(sum over x of w(x) exp(-sum of theta_k cost_k(x)))
        + sum over k of log(mean of exp(theta_k u) over u in window k)

over the costs whose mean would lie outside of its window (the saddle point of H. E. Daniels,
Saddlepoint approximations in statistics, Ann. Math. Statist. 25, 1954). At the minimum, the tilted
mean of each of these costs is the mean of its window under exp(theta_k u). It is found by Newton's
method with step halving; one elimination gives the exact gradient and Hessian (means and
covariances). With the upper end of window k in place of the mean over it if theta_k > 0, else the
lower end, the value is the Chernoff bound of the weight within all windows (`bound`).

Rates only decide how many draws are inside, never their distribution: samplers accept each draw
with a probability proportional to exp(sum of theta_k cost_k(x)), which is bounded in the windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement
from math import frexp, ldexp, log

import numpy as np

from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.elimination.bucket_tree import BucketTree

#: Largest number of steps of Newton's method.
STEPS = 40
#: Rates, per range of a cost: a step may always change them by the first; beyond the second, all
#: weight is at one end, since costs are distinguished in parts of a million.
GENTLE, STEEPEST = 30.0, 1e6
#: Least width of a window, as a share of the cost's range: a narrower one gains nothing.
NARROWEST = 1e-3


class ExponentialTilt:
    """The tilt of some weights (a table for each potential of the tree) towards ``windows`` of all
    costs of the tree; ``ends`` are the least and the greatest of each cost."""

    def __init__(
        self,
        tree: BucketTree,
        weights: Sequence[Array],
        windows: Sequence[tuple[int, int]],
        ends: Sequence[tuple[int, int]],
    ) -> None:
        self._tree = tree
        self._weights = [np.asarray(weight, np.float64) for weight in weights]
        span = [max(high - low, 1) for low, high in ends]
        self._span = span
        # Costs as shares of their range, counted from the least of each table.
        self._tables: list[list[Array | None]] = []
        base = [0] * len(span)
        for p in tree.potentials:
            own: list[Array | None] = []
            for k, table in enumerate(p.costs):
                if table is None:
                    own.append(None)
                    continue
                least = int(np.min(table))
                base[k] += least
                own.append(np.asarray((table - least) / span[k], np.float64))
            self._tables.append(own)
        inside = [
            ((least - b) / s, (most - b) / s)
            for (least, most), b, s in zip(windows, base, span, strict=True)
        ]
        self._low: Array = np.array([low for low, _ in inside])
        self._high: Array = np.array([high for _, high in inside])
        #: For each cost, theta per range of the cost, and the standard deviation under the tilt as
        #: a share of the range.
        self.rates: Array = np.zeros(len(span))
        self.deviation: Array = np.sqrt(np.diag(self._solve()))
        # Rounded to few digits, so that they are the same on every machine.
        self.rates = np.array([_rough(rate) for rate in self.rates.tolist()])

    def rate(self, cost: int) -> float:
        """theta of a cost, per unit of the cost."""
        return float(self.rates[cost]) / self._span[cost]

    @property
    def bound(self) -> float:
        """An upper bound (Chernoff's) of the logarithm of the weight within all windows."""
        value, _, _ = self._moments(self.rates)
        edges = np.maximum(self.rates * self._low, self.rates * self._high)
        return float(value + edges.sum())

    def tables(self, without: int) -> list[Array]:
        """The weights tilted by all costs but one, each table scaled so that nothing overflows."""
        rates = self.rates.copy()
        rates[without] = 0.0
        return [self._tilted(number, rates)[0] for number in range(len(self._weights))]

    def _tilted(self, number: int, rates: Array) -> tuple[Array, float]:
        """The tilted weights of a potential, and the logarithm of the factor that they were divided
        by."""
        weight = self._weights[number]
        power: Array = np.zeros(())
        for rate, table in zip(rates.tolist(), self._tables[number], strict=True):
            if rate and table is not None:
                power = power - rate * table
        if not power.shape:
            return weight, 0.0
        power = np.where(weight > 0, power, -np.inf)
        top = float(power.max())
        if top == -np.inf:
            return weight, 0.0
        # Weights that underflow stay positive: what is possible stays possible.
        least = np.finfo(np.float64).tiny
        return np.where(weight > 0, np.maximum(weight * np.exp(power - top), least), 0.0), top

    def _solve(self) -> Array:
        """Find the rates by Newton's method; returns the covariance of the costs under them."""
        count = len(self._span)
        active: list[int] = []
        value, mean, spread = self._moments(self.rates)
        half = np.maximum(self._high - self._low, NARROWEST) / 2
        middle = (self._low + self._high) / 2
        for _ in range(count):
            outside = (mean < self._low) | (mean > self._high)
            wanted = sorted({*active, *np.flatnonzero(outside).tolist()})
            if wanted == active:
                break
            active = wanted
            for _ in range(STEPS):
                edge, slope, curve = _uniform(self.rates * half)
                pull = (middle - mean + half * slope)[active]
                bend = spread + np.diag(half**2 * curve + 1e-12)
                if (np.abs(pull) < 0.1 * half[active]).all():
                    break
                step = np.zeros(count)
                step[active] = np.linalg.solve(bend[np.ix_(active, active)], pull)
                # Rates at most double in a step, so that it does not end where all weight is at one
                # end of the range.
                share = min(float(np.min((GENTLE + np.abs(self.rates)) / (np.abs(step) + 1))), 1.0)
                start = value + self.rates @ middle + edge.sum()
                while share > 1e-4:
                    rates = self.rates - share * step
                    value, mean, spread = self._moments(rates)
                    if value + rates @ middle + _uniform(rates * half)[0].sum() < start:
                        break
                    share /= 2
                else:
                    value, mean, spread = self._moments(self.rates)
                    break
                self.rates = rates
                if np.abs(rates).max() > STEEPEST:
                    return spread
        return spread

    def _moments(self, rates: Array) -> tuple[float, Array, Array]:
        """The logarithm of the total tilted weight, the means of the costs and their covariance."""
        tree = self._tree
        count = len(self._span)
        pairs = list(combinations_with_replacement(range(count), 2))
        scale = 0.0
        mass: list[Array] = []
        mean: list[list[Array | None]] = [list(own) for own in self._tables]
        both: list[list[Array | None]] = [[None] * len(pairs) for _ in self._tables]
        for number in range(len(self._weights)):
            table, top = self._tilted(number, rates)
            mass.append(table)
            scale += top
        for step in tree.steps:
            psi: Array = np.ones(())
            means: list[Array] = [np.zeros(())] * count
            spreads: list[Array] = [np.zeros(())] * len(pairs)
            for n, view in zip(step.inputs, step.views, strict=True):
                psi = psi * mass[n].reshape(view)
                means = [_plus(m, t, view) for m, t in zip(means, mean[n], strict=True)]
                spreads = [_plus(s, t, view) for s, t in zip(spreads, both[n], strict=True)]
            psi = np.broadcast_to(psi, step.shape)
            total = np.asarray(psi.sum(step.axes))
            share = psi / np.where(total > 0, total, 1.0).reshape(step.separator_view)
            below = [np.asarray((share * m).sum(step.axes)) for m in means]
            apart = [m - b.reshape(step.separator_view) for m, b in zip(means, below, strict=True)]
            both.append(
                [
                    np.asarray((share * (apart[i] * apart[j] + spread)).sum(step.axes))
                    for (i, j), spread in zip(pairs, spreads, strict=True)
                ]
            )
            top = float(total.max())
            power = frexp(top)[1] if top > 0 else 0
            scale += power * log(2.0)
            mass.append(np.ldexp(total, -power))
            mean.append(list(below))
        spread: Array = np.zeros((count, count))
        for (i, j), found in zip(pairs, both[-1], strict=True):
            spread[i, j] = spread[j, i] = float(found) if found is not None else 0.0
        last: Array = np.array([0.0 if m is None else float(m) for m in mean[-1]])
        total_mass = float(mass[-1])
        return (log(total_mass) + scale if total_mass > 0 else -np.inf), last, spread


def _plus(total: Array, table: Array | None, view: tuple[int, ...]) -> Array:
    return total if table is None else total + table.reshape(view)


def _uniform(x: Array) -> tuple[Array, Array, Array]:
    """log(sinh(x) / x), the logarithm of the mean of exp(x u) over u in [-1, 1], and its first two
    derivatives."""
    near = np.abs(x) < 1e-2
    at = np.where(near, 1.0, np.abs(x))
    value = at + np.log1p(-np.exp(-2 * at)) - np.log(2 * at)
    slope = np.sign(x) * (1 / np.tanh(at) - 1 / at)
    curve = 1 / at**2 - 1 / np.sinh(np.minimum(at, 300.0)) ** 2
    return (
        np.where(near, x**2 / 6, value),
        np.where(near, x / 3, slope),
        np.where(near, 1 / 3, curve),
    )


def _rough(rate: float) -> float:
    """A rate rounded to 8 bits of mantissa."""
    mantissa, exponent = frexp(rate)
    return ldexp(round(mantissa * 256) / 256, exponent)
