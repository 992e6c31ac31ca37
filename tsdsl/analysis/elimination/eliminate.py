"""Bucket elimination: sums over all assignments of a product of factors, in any semiring.

R. Dechter, Bucket elimination: a unifying framework for reasoning, Artificial Intelligence 113,
1999. For factors f_1, f_2, ... over subsets of the variables x,

    sum over x of f_1(x) * f_2(x) * ...

is computed one variable at a time: the factors that mention it are joined, and it is summed out of
the result, which is a factor again. "Sum" and "product" are those of a `Semiring`: (min, +) finds
the cheapest architecture, (or, and) whether there is one, (+, *) counts, or adds up probabilities.
`ordering.plan` finds an order of elimination with small tables. The joint table of each step can be
kept, so that an answer is traced back to an assignment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import log2
from typing import Any

import numpy as np

from tsdsl.analysis.costs.factors import MAX_INT64, Array, Factor, expand
from tsdsl.ir.ordering import TooCoupled, plan

#: Largest number of entries of a table.
MAX_ENTRIES = 1 << 22
#: Largest number of entries of all tables together that are kept to trace an answer back.
MAX_KEPT = 1 << 24


@dataclass(frozen=True, slots=True)
class Semiring:
    """A commutative semiring over arrays: ``zero`` is the value of an impossible assignment,
    ``one`` is neutral in products."""

    zero: Any
    one: Any
    dtype: Any
    times: Callable[[Array, Array], Array]
    #: Sums a table over one of its axes.
    plus: Callable[[Array, int], Array]

    def embed(self, holds: Array) -> Array:
        """``one`` where a 0/1 table holds, ``zero`` elsewhere."""
        table = np.full(holds.shape, self.zero, self.dtype)
        table[holds] = self.one
        return table


@dataclass(frozen=True, slots=True)
class TracedStep:
    """The elimination of one variable: ``kept`` is a table over the variables ``rest`` that remain
    (and, if it is the joint table, over the eliminated variable as its last axis)."""

    variable: int
    rest: tuple[int, ...]
    kept: Array


def minimising(bound: int) -> Semiring:
    """(min, +) for costs, possibly negative, whose absolute values sum to at most ``bound``."""
    exact = bound >= MAX_INT64 >> 1
    infinity = 4 * bound if exact else MAX_INT64 << 1
    dtype = object if exact else np.int64
    # An array: a sum of arrays of rank 0 is a scalar, which numpy would convert inexactly.
    limit: Array = np.asarray(infinity, dtype)
    return Semiring(
        zero=infinity,
        one=0,
        dtype=dtype,
        times=lambda a, b: np.minimum(np.asarray(a + b, dtype), limit),
        plus=lambda table, axis: np.min(table, axis),
    )


def counting(sizes: Iterable[int]) -> Semiring:
    """(+, *) over integers, exact for the number of assignments of variables of these sizes."""
    small = sum(map(log2, sizes)) < 62
    return Semiring(
        zero=0,
        one=1,
        dtype=np.int64 if small else object,
        times=lambda a, b: a * b,
        plus=lambda table, axis: np.sum(table, axis),
    )


PROBABILITY = Semiring(
    zero=0.0,
    one=1.0,
    dtype=np.float64,
    times=lambda a, b: a * b,
    plus=lambda table, axis: np.sum(table, axis),
)

POSSIBLE = Semiring(
    zero=False,
    one=True,
    dtype=np.bool_,
    times=lambda a, b: a & b,
    plus=lambda table, axis: np.any(table, axis),
)


def eliminate(
    factors: Sequence[Factor],
    sizes: Sequence[int],
    names: Sequence[str],
    ring: Semiring,
    keep: Callable[[Array], Array] | None = None,
) -> tuple[Any, list[TracedStep]]:
    """The sum over all assignments of the product of ``factors``, and the steps that gave it.

    ``keep`` maps the joint table of a step, whose last axis is the eliminated variable, to what is
    kept of it. ``sizes`` and ``names`` are those of all variables. Raises `TooCoupled`.
    """
    narrow = [_squeeze(f) for f in factors]
    order = plan((f.scope for f in narrow), sizes)
    if order.peak > MAX_ENTRIES:
        widest = [names[v] for v in order.widest(sizes)]
        raise TooCoupled(widest, order.peak, MAX_ENTRIES, "an exact answer")
    if keep is not None and order.total > MAX_KEPT:
        widest = [names[v] for v in order.widest(sizes)]
        raise TooCoupled(widest, order.total, MAX_KEPT, "an exact answer")
    rank = {v: k for k, v in enumerate(order.order)}
    buckets: dict[int, list[Factor]] = {v: [] for v in order.order}
    value: Array = np.full((), ring.one, ring.dtype)
    steps: list[TracedStep] = []
    for factor in narrow:
        if factor.scope:
            buckets[min(factor.scope, key=rank.__getitem__)].append(factor)
        else:
            value = np.asarray(ring.times(value, factor.table), ring.dtype)
    for variable in order.order:
        bucket = buckets.pop(variable)
        scope = tuple(sorted({v for f in bucket for v in f.scope}))
        joint = _join(bucket, scope, ring)
        axis = scope.index(variable)
        rest = scope[:axis] + scope[axis + 1 :]
        if keep is not None:
            steps.append(TracedStep(variable, rest, keep(np.moveaxis(joint, axis, -1))))
        summed = np.asarray(ring.plus(joint, axis), ring.dtype)
        if rest:
            buckets[min(rest, key=rank.__getitem__)].append(Factor(rest, summed))
        else:
            value = np.asarray(ring.times(value, summed), ring.dtype)
    return value.item(), steps


def trace(steps: Sequence[TracedStep]) -> dict[int, int]:
    """The assignment of an optimum, from steps that kept the best option (`best`)."""
    assignment: dict[int, int] = {}
    for step in reversed(steps):
        assignment[step.variable] = int(step.kept[tuple(assignment[v] for v in step.rest)])
    return assignment


def best(joint: Array) -> Array:
    """The option of least cost of the eliminated variable, to be kept for `trace`."""
    return np.asarray(np.argmin(joint, -1))


def _join(bucket: Sequence[Factor], scope: tuple[int, ...], ring: Semiring) -> Array:
    """The product of some factors over a scope, small ones first."""
    ordered = sorted(bucket, key=lambda f: f.table.size)
    joint = expand(ordered[0], scope)
    for factor in ordered[1:]:
        joint = np.asarray(ring.times(joint, expand(factor, scope)), ring.dtype)
    return joint


def _squeeze(factor: Factor) -> Factor:
    """The same factor without the variables that have only one value."""
    if 1 not in factor.table.shape:
        return factor
    scope = tuple(v for v, size in zip(factor.scope, factor.table.shape, strict=True) if size > 1)
    return Factor(scope, factor.table.reshape([s for s in factor.table.shape if s > 1]))
