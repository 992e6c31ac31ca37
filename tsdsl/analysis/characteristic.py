"""The characteristic function of a cost: the mean of exp(2 pi i n cost / period) over all
architectures, for n = 0, 1, 2, ...

Elimination over complex numbers: the factor of an operation that costs c is a phase, so that costs
are exact and nothing is rounded or convolved. All frequencies are independent of each other; they
go through the steps of a `Program` some at a time, as one more axis of every table. What the first
K frequencies say of the distribution is told by `edges`.

Weights may be *tilted* by exp(-theta * cost), which moves the bulk of all mass to wherever a
question is asked, so that answers about tails keep their digits.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, replace
from math import gcd, inf, log, pi, prod
from typing import Any

import numpy as np

from tsdsl.analysis.factors import MAX_INT64, Array
from tsdsl.analysis.program import Program

#: Bytes of the largest joint table of all frequencies that are done at once: a core's cache.
CHUNK_BYTES = 1 << 20
#: No factor of a tilt is smaller than exp of minus this, and no total than exp of half of it, so
#: that what is too small for a float does not count.
MAX_TILT = 600.0


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """A potential, without what it shares with others of the same content: which of its distinct
    costs (from its least on) each entry has, and weights."""

    shape: tuple[int, ...]
    distinct: Array
    inverse: Array
    weight: Array
    #: Axes that it alone has, which are summed out at once.
    own: tuple[int, ...]


class Characteristic:
    """Of the first cost of a program, under weights: a table for each potential.

    ``least`` and ``greatest`` are the costs' exact ends, and ``unit`` divides all differences of
    costs. ``log_total`` is the logarithm of all tilted weight, where a cost c is tilted by
    exp(-theta * (c - least)).
    """

    def __init__(self, made: Program, weights: Sequence[Array], ends: tuple[int, int]) -> None:
        self.made = made
        self.least, self.greatest = ends
        #: What stands in no table: the least cost of each.
        self._base = 0
        self._first = _own_steps(made)
        self._plain: list[_Table] = []
        for number, potential in enumerate(made.potentials):
            weight = np.asarray(weights[number], np.float64)
            possible = weight > 0
            table = potential.costs[0]
            costs: Array = np.zeros(potential.shape, np.int64) if table is None else table
            base = int(costs[possible].min()) if possible.any() else 0
            self._base += base
            distinct, inverse = np.unique(np.where(possible, costs - base, 0), return_inverse=True)
            step = self._first.get(number)
            own = made.steps[step].axes if step is not None else ()
            inverse = inverse.reshape(potential.shape).astype(np.intp)
            self._plain.append(_Table(potential.shape, distinct, inverse, weight, own))
        self.unit = max(gcd(*(int(np.gcd.reduce(t.distinct)) for t in self._plain)), 1)
        self._tilt(0.0)

    def tilted(self, theta: float) -> Characteristic:
        """The same with other weights."""
        other = copy(self)
        other._tilt(theta)
        return other

    @property
    def sound(self) -> bool:
        """Whether the tilt is small enough for floats."""
        widest = max((int(t.distinct[-1]) for t in self._plain), default=0)
        return self._normal >= -MAX_TILT / 2 and abs(self.theta) * widest <= MAX_TILT

    def _tilt(self, theta: float) -> None:
        self.theta = theta
        self._tables: list[_Table] = []
        self._which: list[int] = []
        known: dict[tuple[Any, ...], int] = {}
        self.log_total = 0.0
        for t in self._plain:
            weight = t.weight
            if theta:
                powers = -theta * t.distinct.astype(np.float64)
                self.log_total += float(powers.max())
                weight = weight * np.exp(powers - powers.max())[t.inverse]
            top = float(weight.max(initial=0.0))
            if top > 0:
                weight = weight / top
                self.log_total += log(top)
            key = (t.shape, t.own, *t.distinct.tolist(), t.inverse.tobytes(), weight.tobytes())
            if key not in known:
                known[key] = len(self._tables)
                self._tables.append(replace(t, weight=weight))
            self._which.append(known[key])
        self._scales = [1.0] * len(self.made.steps)
        self._one = float(self._run(1, None, scaling=True)[0].real)
        self.possible = self._one > 0
        #: The logarithm of all weight, where the largest of each table is 1.
        self._normal = -inf
        if self.possible:
            self._normal = log(self._one) + sum(map(log, self._scales))
            # What the least costs of all tables add up to can be less than any architecture has.
            self.log_total += self._normal + theta * (self.least - self._base)

    @property
    def span(self) -> int:
        return self.greatest - self.least

    def mean(self) -> float:
        """Of the tilted cost above ``least``, to six digits or so: the slope of the phase."""
        period = max(self.span, 1) << 20
        turn = self.values(period, 2)[1]
        return float(np.angle(turn) * period / (2 * pi))

    @property
    def cells(self) -> int:
        """What one frequency takes: entries of all tables."""
        made = self.made
        tables = sum(prod(t.shape) for t in self._tables)
        later = [s for k, s in enumerate(made.steps) if k not in self._first.values()]
        return tables + sum(prod(s.shape) for s in later)

    def values(self, period: int, count: int) -> Array:
        """At n = 0 ... count - 1, for the cost above ``least``; 1 at 0."""
        widest = max((prod(s.shape) for s in self.made.steps), default=1)
        chunk = min(max(8, CHUNK_BYTES // (16 * widest)), max(count, 1))
        n = np.arange(chunk)
        phases = [_phases(t.distinct, n, period) for t in self._tables]
        # Tables count from their own least costs on.
        base = _phases(np.array([self._base - self.least]), n, period)[0]

        def part(start: int) -> Array:
            at = np.array([start])
            width = min(chunk, count - start)
            turned = [
                p[:, :width] * _phases(t.distinct, at, period)
                for p, t in zip(phases, self._tables, strict=True)
            ]
            shift = _phases(np.array([self._base - self.least]), at, period)[0]
            return np.asarray(self._run(width, turned) * base[:width] * shift)

        starts = range(0, count, chunk)
        if len(starts) < 4:
            parts = [part(start) for start in starts]
        else:
            # Frequencies are independent, and numpy's loops let other threads run.
            with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
                parts = list(pool.map(part, starts))
        return np.asarray(np.concatenate(parts) / self._one)

    def _run(self, width: int, phases: Sequence[Array] | None, scaling: bool = False) -> Array:
        """The sum over all assignments, for each of some frequencies; without phases, for 0.
        ``scaling`` finds the scales of the steps, which the size at 0 bounds for all others."""
        made = self.made
        count = len(made.potentials)
        tables: list[Array] = []
        for k, t in enumerate(self._tables):
            weight = t.weight[..., None]
            table = weight.astype(complex) if phases is None else phases[k][t.inverse] * weight
            tables.append(np.add.reduce(table, t.own) if t.own else table)
        results: dict[int, Array] = {
            number: tables[which] for number, which in enumerate(self._which)
        }
        first = {step: number for number, step in self._first.items()}
        for k, step in enumerate(made.steps):
            if k in first:
                summed = results.pop(first[k])
            else:
                joint: Array | None = None
                pairs = sorted(zip(step.inputs, step.views, strict=True), key=lambda p: prod(p[1]))
                for number, view in pairs:
                    table = results.pop(number).reshape(*view, width)
                    joint = table if joint is None else joint * table
                summed = np.ones(width, complex) if joint is None else joint
                if step.axes:
                    summed = np.add.reduce(summed, step.axes)
            summed = summed.reshape(*step.rest_shape, width)
            if scaling:
                top = float(np.abs(summed).max(initial=0.0))
                self._scales[k] = top if top > 0 else 1.0
            results[count + k] = summed / self._scales[k]
        return results[count + len(made.steps) - 1].reshape(width)


def _own_steps(made: Program) -> dict[int, int]:
    """Potential -> the step that only takes variables out of it."""
    count = len(made.potentials)
    return {
        step.inputs[0]: k
        for k, step in enumerate(made.steps)
        if len(step.inputs) == 1 and step.inputs[0] < count
    }


def _phases(costs: Array, n: Array, period: int) -> Array:
    """exp(2 pi i n cost / period) [cost, n], with the product reduced as integers."""
    if (
        costs.dtype != object
        and int(np.abs(costs).max(initial=0)) * int(n.max(initial=0)) >= MAX_INT64 * 8
    ):
        costs = costs.astype(object)
    turned = (costs[:, None] * n[None, :].astype(costs.dtype)) % period
    return np.asarray(np.exp(2j * pi * (turned / period).astype(np.float64)))
