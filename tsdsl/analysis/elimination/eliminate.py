"""Variable elimination: sums over all assignments of a product of factors, in any semiring.

"Sum" and "product" are whatever a `Semiring` says: (min, +) finds the cheapest architecture,
(or, and) whether there is one, (+, x) counts or adds up probabilities. Eliminating a variable joins
the factors that mention it and sums it out; `ordering.plan` finds an order with small tables. What
each step joined is kept on request, so that an answer can be traced back to an assignment, or one
be drawn at random.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import log2
from typing import Any

import numpy as np

from tsdsl.analysis.costs.factors import MAX_INT64, Array, Factor, expand
from tsdsl.ir.ordering import TooCoupled, plan

#: Entries of the largest table that is built.
MAX_ENTRIES = 1 << 22
#: Entries of all tables together that are kept for tracing back.
MAX_KEPT = 1 << 24


@dataclass(frozen=True, slots=True)
class Semiring:
    """``zero`` is what an impossible assignment has, ``one`` what changes nothing."""

    zero: Any
    one: Any
    dtype: Any
    times: Callable[[Array, Array], Array]
    #: The sum over an axis.
    plus: Callable[[Array, int], Array]

    def embed(self, holds: Array) -> Array:
        """``one`` where a 0/1 table holds, ``zero`` elsewhere."""
        table = np.full(holds.shape, self.zero, self.dtype)
        table[holds] = self.one
        return table


@dataclass(frozen=True, slots=True)
class TracedStep:
    """One variable eliminated: ``kept`` is over ``rest`` (and, last, the variable, if it is the
    joint table)."""

    variable: int
    rest: tuple[int, ...]
    kept: Array


def minimising(bound: int) -> Semiring:
    """(min, +) for costs, negative ones too, whose absolute values add up to ``bound`` at most."""
    exact = bound >= MAX_INT64 >> 1
    infinity = 4 * bound if exact else MAX_INT64 << 1
    dtype = object if exact else np.int64
    # Arrays of rank 0 are not left as such by sums, and plain integers would not be kept exact.
    limit: Array = np.asarray(infinity, dtype)
    return Semiring(
        zero=infinity,
        one=0,
        dtype=dtype,
        times=lambda a, b: np.minimum(np.asarray(a + b, dtype), limit),
        plus=lambda table, axis: np.min(table, axis),
    )


def counting(sizes: Iterable[int]) -> Semiring:
    """(+, x) over integers, exact for any number of assignments of variables of these sizes."""
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

    ``keep`` says what a step keeps of its joint table, whose last axis is the eliminated variable.
    ``sizes`` and ``names`` are those of all variables. Raises `TooCoupled`.
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
        held = buckets.pop(variable)
        scope = tuple(sorted({v for f in held for v in f.scope}))
        joint = _join(held, scope, ring)
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
    """The assignment that steps which kept the best option of their variable lead back to."""
    found: dict[int, int] = {}
    for step in reversed(steps):
        found[step.variable] = int(step.kept[tuple(found[v] for v in step.rest)])
    return found


def best(joint: Array) -> Array:
    """What `trace` needs: the option of least cost."""
    return np.asarray(np.argmin(joint, -1))


def _join(held: Sequence[Factor], scope: tuple[int, ...], ring: Semiring) -> Array:
    ordered = sorted(held, key=lambda f: f.table.size)
    joint = expand(ordered[0], scope)
    for factor in ordered[1:]:
        joint = np.asarray(ring.times(joint, expand(factor, scope)), ring.dtype)
    return joint


def _squeeze(factor: Factor) -> Factor:
    """Without variables that have one value only."""
    if 1 not in factor.table.shape:
        return factor
    scope = tuple(v for v, size in zip(factor.scope, factor.table.shape, strict=True) if size > 1)
    return Factor(scope, factor.table.reshape([s for s in factor.table.shape if s > 1]))
