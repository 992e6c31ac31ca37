"""A distribution as conditional probability tables along a bucket tree, computed in logarithms.

With x the variables that a step eliminates, r its separator, and psi(x, r) the sum of the
logarithms of everything that the step joins, the step's result is

    T(r) = log sum over x of exp(psi(x, r)),

and the distribution factorises into the conditionals of the steps (the chain rule along the tree):

    P(architecture) = product over all steps of exp(psi(x, r) - T(r)),
    log Z = T of the last step.

Nothing underflows, however improbable the requirements are. A tree whose potentials are these
conditionals gives each architecture its probability; and in every elimination over its steps, the
result of a step is a sum of probabilities that is 1 for each r, so that no sum is too small for a
float.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from tsdsl.analysis.costs.factors import Array, plus
from tsdsl.analysis.elimination.bucket_tree import (
    BucketTree,
    DecisionAxis,
    EliminationStep,
    Potential,
    Scope,
)


class ConditionalTree(NamedTuple):
    """A tree with one potential for each step, and the logarithm log Z of all weight: None and
    -inf where no architecture has a weight."""

    tree: BucketTree | None
    log_total: float


@dataclass(frozen=True, slots=True, eq=False)
class ConditionalPotential(Potential):
    """A table of conditional probabilities, which contain the weights of ``decisions`` already."""

    table: Array

    def weights(self, rows: Sequence[Array]) -> Array:
        """The table itself: the weights of options in ``rows`` are not used."""
        return self.table


def to_conditionals(tree: BucketTree, logs: Sequence[Array]) -> ConditionalTree:
    """The conditionals of the distribution with the weights exp(``logs``): a table for each
    potential of the tree."""
    count = len(tree.potentials)
    tables: list[Array | None] = list(logs)
    potentials: list[Potential] = []
    for step in tree.steps:
        psi: Array = np.zeros(step.shape)
        for n, view in zip(step.inputs, step.views, strict=True):
            table = tables[n]
            assert table is not None
            psi = psi + table.reshape(view)
            tables[n] = None
        total = log_sum(psi, step.axes)
        share = np.exp(psi - np.where(total > -np.inf, total, 0.0).reshape(step.separator_view))
        potentials.append(_conditional(tree, step, share))
        tables.append(total)
    last = tables[-1]
    assert last is not None
    if not float(last) > -np.inf:
        return ConditionalTree(None, -np.inf)
    steps = [_renumbered(step, k, count, len(tree.steps)) for k, step in enumerate(tree.steps)]
    program = replace(tree, potentials=tuple(potentials), steps=tuple(steps))
    return ConditionalTree(program, float(last))


def log_sum(logs: Array, axes: tuple[int, ...]) -> Array:
    """log sum exp over some axes; -inf where all entries are."""
    top = np.max(logs, axes, keepdims=True, initial=-np.inf)
    top = np.where(top > -np.inf, top, 0.0)
    with np.errstate(divide="ignore"):
        total = np.log(np.add.reduce(np.exp(logs - top), axes, keepdims=True)) + top
    return np.asarray(total.reshape([n for k, n in enumerate(logs.shape) if k not in axes]))


def _conditional(tree: BucketTree, step: EliminationStep, share: Array) -> ConditionalPotential:
    """The conditional of a step, with the costs and decisions of the potentials that it joins."""
    own = [
        (tree.potentials[n], view)
        for n, view in zip(step.inputs, step.views, strict=True)
        if n < len(tree.potentials)
    ]
    costs: list[Array | None] = [None] * len(tree.costs)
    for c in range(len(costs)):
        for potential, view in own:
            table, before = potential.costs[c], costs[c]
            if table is not None:
                table = np.asarray(table).reshape(view)
                costs[c] = table if before is None else plus(before, table)
    return ConditionalPotential(
        step.scope,
        step.shape,
        None,
        tuple(_moved(w, p.scope, view, step.scope) for p, view in own for w in p.decisions),
        tuple(None if t is None else np.broadcast_to(t, step.shape) for t in costs),
        share,
    )


def _moved(
    weighted: DecisionAxis, scope: Scope, view: tuple[int, ...], wide: Scope
) -> DecisionAxis:
    """A decision's axis as part of a table over a wider scope."""

    def spread(table: Array | None) -> Array | None:
        if table is None:
            return None
        sizes = dict(zip(scope, table.shape, strict=True))
        return table.reshape([sizes.get(v, 1) for v in wide])

    sizes = dict(zip(scope, weighted.view, strict=True))
    here = tuple(sizes.get(v, 1) for v in wide)
    variable = next(v for k, v in enumerate(scope) if k not in weighted.others)
    others = tuple(k for k, v in enumerate(wide) if v != variable)
    return replace(
        weighted,
        view=here,
        others=others,
        active=spread(weighted.active),
        inactive=spread(weighted.inactive),
    )


def _renumbered(step: EliminationStep, k: int, before: int, count: int) -> EliminationStep:
    """Step ``k`` with its own conditional in place of the potentials that it joined: there were
    ``before`` potentials, and there are ``count``."""
    kept = [
        (n - before + count, view, others)
        for n, view, others in zip(step.inputs, step.views, step.others, strict=True)
        if n >= before
    ]
    return replace(
        step,
        inputs=(k, *(n for n, _, _ in kept)),
        views=(step.shape, *(view for _, view, _ in kept)),
        others=((), *(others for _, _, others in kept)),
    )
