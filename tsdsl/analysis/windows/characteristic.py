"""The characteristic function of costs, exact, by elimination over complex numbers.

For one cost with period P, and for several costs with one frequency n_k for each,

    phi(n) = E[exp(2 pi i n cost / P)],    phi(n_1, n_2, ...) = E[exp(2 pi i sum n_k cost_k / P_k)].

The factor of an operation of cost c is the phase exp(2 pi i n c / P), so that costs are never
rounded, and sums of costs need no convolution. Frequencies are independent of each other: they go
through the steps of a `BucketTree` some at a time, as one more axis of every table. `cdf_bounds`
derives bounds of the distribution from the first K frequencies.

Weights may be *tilted* by exp(-theta * cost), which moves the bulk of the mass into a window, so
that answers about tails keep their precision.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, replace
from itertools import product
from math import inf, log, pi, prod
from typing import Any

import numpy as np

from tsdsl.analysis.costs.factors import MAX_INT64, Array
from tsdsl.analysis.elimination.bucket_tree import BucketTree, Potential

#: Bytes of the largest joint table of the frequencies that are computed at once: a core's cache.
CHUNK_BYTES = 1 << 20
#: The factors of a tilt are at least exp(-MAX_TILT), the total weight at least exp(-MAX_TILT / 2):
#: everything that underflows is negligible.
MAX_TILT = 600.0


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """A potential, with equal combinations of costs computed once."""

    shape: tuple[int, ...]
    #: The distinct combinations of costs, from the least of each on: [combination, cost].
    distinct: Array
    #: The combination of each entry, and its weight.
    inverse: Array
    weight: Array
    #: The axes of variables that no other potential mentions, which are summed out first.
    own: tuple[int, ...]


class CharacteristicFunction:
    """The characteristic function of all costs of a bucket tree, under weights (a table for each
    potential).

    ``ends`` are the least and the greatest of each cost. ``log_total`` is the logarithm of the
    total tilted weight, in which an architecture counts the product of
    exp(-theta * (cost - least)) over all costs.
    """

    def __init__(
        self, tree: BucketTree, weights: Sequence[Array], ends: Sequence[tuple[int, int]]
    ) -> None:
        self.tree = tree
        self.least = [low for low, _ in ends]
        self.span = [high - low for low, high in ends]
        #: For each cost, the sum of the least costs of all potentials, which no table contains.
        self._base = [0] * len(ends)
        self._first = _own_steps(tree)
        self._plain: list[_Table] = []
        for number, potential in enumerate(tree.potentials):
            weight = np.asarray(weights[number], np.float64)
            step = self._first.get(number)
            own = tree.steps[step].axes if step is not None else ()
            distinct, inverse = self._distinct(potential, weight > 0)
            self._plain.append(_Table(potential.shape, distinct, inverse, weight, own))
        most = [t.distinct.max(0).astype(np.float64) for t in self._plain]
        self._widest: Array = np.max(most, axis=0) if most else np.zeros(len(ends))
        self._tilt((0.0,) * len(ends))

    def _distinct(self, potential: Potential, possible: Array) -> tuple[Array, Array]:
        columns: list[Array] = []
        code: Array = np.zeros(possible.shape, np.int64)
        for c, table in enumerate(potential.costs):
            if table is None or not possible.any():
                columns.append(np.zeros(possible.shape, np.int64))
                continue
            base = int(table[possible].min())
            self._base[c] += base
            columns.append(np.where(possible, table - base, 0))
            values, which = np.unique(columns[-1], return_inverse=True)
            code = code * len(values) + which.reshape(possible.shape)
        _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
        rows = [column.reshape(-1)[first] for column in columns]
        return np.stack(rows, 1), inverse.reshape(possible.shape).astype(np.intp)

    def tilted(self, *theta: float) -> CharacteristicFunction:
        """The same function of tilted weights, given theta of each cost."""
        other = copy(self)
        other._tilt(theta)
        return other

    @property
    def sound(self) -> bool:
        """Whether the tilt is small enough for floats. If not, the function cannot be evaluated."""
        return self._normal >= -MAX_TILT / 2

    def _tilt(self, theta: tuple[float, ...]) -> None:
        self.theta = theta
        self._tables: list[_Table] = []
        self._which: list[int] = []
        known: dict[tuple[Any, ...], int] = {}
        self.log_total = 0.0
        #: The logarithm of the total weight, with the greatest weight of each table scaled to 1.
        self._normal = -inf
        if float(np.sum(np.abs(theta) * self._widest)) > MAX_TILT:
            return
        for t in self._plain:
            weight = t.weight
            if any(theta):
                powers = -(t.distinct.astype(np.float64) @ np.array(theta))
                self.log_total += float(powers.max())
                weight = weight * np.exp(powers - powers.max())[t.inverse]
            top = float(weight.max(initial=0.0))
            if top > 0:
                weight = weight / top
                self.log_total += log(top)
            costs = tuple(t.distinct.reshape(-1).tolist())
            key = (t.shape, t.own, costs, t.inverse.tobytes(), weight.tobytes())
            if key not in known:
                known[key] = len(self._tables)
                self._tables.append(replace(t, weight=weight))
            self._which.append(known[key])
        self._scales = [1.0] * len(self.tree.steps)
        self._one = float(self._run(1, None, scaling=True)[0].real)
        self.possible = self._one > 0
        if self.possible:
            self._normal = log(self._one) + sum(map(log, self._scales))
            # The sum of the least costs of all tables can be less than the least cost.
            shifts = zip(theta, self.least, self._base, strict=True)
            self.log_total += self._normal + sum(t * (low - base) for t, low, base in shifts)

    def mean(self, cost: int = 0) -> float:
        """The mean of a cost above its least value under the tilt, to about six digits: the slope
        of the phase of phi at 0."""
        period = max(self.span[cost], 1) << 20
        periods = [period if c == cost else 1 for c in range(len(self.span))]
        n = [int(c == cost) for c in range(len(self.span))]
        turn = self._part(periods, n, np.zeros(1, np.int64))[0] / self._one
        return float(np.angle(turn) * period / (2 * pi))

    @property
    def cells(self) -> int:
        """The number of entries of all tables: the work of one frequency."""
        tree = self.tree
        tables = sum(prod(t.shape) for t in self._tables)
        later = [s for k, s in enumerate(tree.steps) if k not in self._first.values()]
        return tables + sum(prod(s.shape) for s in later)

    def values(self, periods: Sequence[int], counts: Sequence[int]) -> Array:
        """phi of the costs above their least values, with an axis for each cost: frequencies
        0 ... counts[0] - 1 of the first one, -(count - 1) ... count - 1 of the others. phi(0) is
        1."""
        widest = max((prod(s.shape) for s in self.tree.steps), default=1)
        chunk = min(max(8, CHUNK_BYTES // (16 * widest)), max(counts[0], 1))
        n = np.arange(chunk)
        steps = [_phases(t.distinct[:, 0], n, periods[0]) for t in self._tables]
        jobs = [
            (start, others)
            for others in product(*(range(1 - count, count) for count in counts[1:]))
            for start in range(0, counts[0], chunk)
        ]

        def part(job: tuple[int, tuple[int, ...]]) -> Array:
            start, others = job
            width = min(chunk, counts[0] - start)
            return self._part(periods, (start, *others), n[:width], steps)

        if len(jobs) < 4:
            parts = [part(job) for job in jobs]
        else:
            # Frequencies are independent, and numpy's loops let other threads run.
            with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
                parts = list(pool.map(part, jobs))
        rows = np.concatenate(parts).reshape(*(2 * count - 1 for count in counts[1:]), counts[0])
        return np.asarray(np.moveaxis(rows, -1, 0) / self._one)

    def _part(
        self,
        periods: Sequence[int],
        start: Sequence[int],
        n: Array,
        steps: Sequence[Array] | None = None,
    ) -> Array:
        """phi times the total, at the frequencies ``start[0] + n`` of the first cost and
        ``start[1:]`` of the others. ``steps`` has the phases of the first cost at ``n``."""
        turned: list[Array] = []
        for k, t in enumerate(self._tables):
            phase = _turn(t.distinct, start, periods)[:, None]
            turned.append(phase if steps is None else steps[k][:, : len(n)] * phase)
        # Tables count costs from their own least values.
        off = np.array([[base - low for base, low in zip(self._base, self.least, strict=True)]])
        shift = _turn(off, start, periods) * _phases(off[:, 0], n, periods[0])[0]
        return np.asarray(self._run(len(n), turned) * shift)

    def _run(self, width: int, phases: Sequence[Array] | None, scaling: bool = False) -> Array:
        """The elimination, for ``width`` frequencies; without phases, for frequency 0. With
        ``scaling``, the scale of each step is set to its greatest value: at frequency 0, which
        bounds those at all others."""
        tree = self.tree
        count = len(tree.potentials)
        tables: list[Array] = []
        for k, t in enumerate(self._tables):
            weight = t.weight[..., None]
            table = weight.astype(complex) if phases is None else phases[k][t.inverse] * weight
            tables.append(np.add.reduce(table, t.own) if t.own else table)
        results: dict[int, Array] = {
            number: tables[which] for number, which in enumerate(self._which)
        }
        first = {step: number for number, step in self._first.items()}
        for k, step in enumerate(tree.steps):
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
            summed = summed.reshape(*step.separator_shape, width)
            if scaling:
                top = float(np.abs(summed).max(initial=0.0))
                self._scales[k] = top if top > 0 else 1.0
            results[count + k] = summed / self._scales[k]
        return results[count + len(tree.steps) - 1].reshape(width)


def _own_steps(tree: BucketTree) -> dict[int, int]:
    """For each potential that a step takes as its only input, by number, that step."""
    count = len(tree.potentials)
    return {
        step.inputs[0]: k
        for k, step in enumerate(tree.steps)
        if len(step.inputs) == 1 and step.inputs[0] < count
    }


def _phases(costs: Array, n: Array, period: int) -> Array:
    """exp(2 pi i n cost / period) as [cost, n]; n * cost is reduced modulo the period in integers,
    so that nothing is lost by rounding."""
    largest = int(np.abs(costs).max(initial=0)) * int(np.abs(n).max(initial=0))
    if costs.dtype != object and max(largest, period) >= MAX_INT64 * 4:
        costs = costs.astype(object)
    turned = (costs[:, None] * n[None, :].astype(costs.dtype)) % period
    return np.asarray(np.exp(2j * pi * (turned / period).astype(np.float64)))


def _turn(costs: Array, n: Sequence[int], periods: Sequence[int]) -> Array:
    """The product of the phases of all costs [combination, cost], each at its frequency."""
    turn: Array = np.ones(len(costs), np.complex128)
    for column, k, period in zip(costs.T, n, periods, strict=True):
        if k:
            turn = turn * _phases(column, np.array([k]), period)[:, 0]
    return turn
