"""The minimum of a sum of tables over all architectures, and how far from it each choice leads.

Bucket elimination in the (min, +) semiring (R. Dechter, Bucket elimination: a unifying framework
for reasoning, Artificial Intelligence 113, 1999). For the options o that a step eliminates, given a
row r of its separator, with f the sum of all tables that were joined up to it:

    least(r) = min over o of f(o, r),    excess(o | r) = f(o, r) - least(r) >= 0.

The root's least is the minimum. From the root down, the excesses of the options on a path add up to
exactly how much more than the minimum its best completion costs: an exact, admissible bound for
branch and bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.elimination.bucket_tree import BucketTree, Potential
from tsdsl.analysis.elimination.table_rows import options_last, unravel

#: Integers below this are exact as floats.
EXACT_FLOAT = 1 << 52


class Optimum:
    """The minimum of one objective: the sum of ``tables``, one for each potential of a tree (None
    for 0), over the assignments that are ``allowed`` in every potential."""

    def __init__(
        self, tree: BucketTree, tables: Sequence[Array | None], allowed: Sequence[Array]
    ) -> None:
        self._tree = tree
        present = [t for t in tables if t is not None]
        exact = _bound(present) >= EXACT_FLOAT and all(t.dtype.kind != "f" for t in present)
        # Smaller sums of integers are exact in floats; larger ones are Python integers.
        dtype: Any = object if exact else np.float64
        limit: Any = 4 * _bound(present) + 1 if exact else np.inf
        #: The value of an impossible assignment.
        self.infinity = limit
        values: list[Array] = []
        for t, ok in zip(tables, allowed, strict=True):
            values.append(np.full(ok.shape, limit, dtype))
            np.copyto(values[-1], 0 if t is None else t, where=ok)
        #: For each step, f: [separator..., option]; and least: [separator...].
        self.rows: list[Array] = []
        self.least: list[Array] = []
        for step in tree.steps:
            joint: Any = 0
            for n, view in zip(step.inputs, step.views, strict=True):
                table = values[n].reshape(view)
                joint = joint + table if len(step.inputs) > 1 else table
            if exact:
                # numpy returns a Python integer for a sum of arrays without axes.
                joint = np.minimum(np.asarray(joint, object), limit)
            joint = np.asarray(joint, dtype)
            if joint.shape != step.shape:
                joint = np.broadcast_to(joint, step.shape)
            rows = options_last(joint, step.axes, step.separator_shape)
            values.append(np.asarray(np.min(rows, -1), dtype))
            self.rows.append(rows)
            self.least.append(values[-1])
        self.value: Any = values[-1].item()
        self._excess: dict[int, Array] = {}

    @classmethod
    def of_cost(
        cls, tree: BucketTree, allowed: Sequence[Array], sign: int = 1, number: int = 0
    ) -> Optimum:
        """The minimum of ``sign`` times one of the tree's costs, by its number."""
        costs = [potential.costs[number] for potential in tree.potentials]
        return cls(tree, [None if t is None else sign * t for t in costs], allowed)

    def excess(self, step: int) -> Array:
        """The excess of each option of a step, by its number: [separator..., option]."""
        if step not in self._excess:
            least = self.least[step][..., None]
            rows = self.rows[step]
            with np.errstate(invalid="ignore"):
                apart = np.where(rows >= self.infinity, self.infinity, rows - least)
            self._excess[step] = apart
        return self._excess[step]

    @property
    def possible(self) -> bool:
        """Whether any assignment is possible."""
        return bool(self.value < self.infinity)

    def best(self) -> dict[int, int]:
        """An assignment with the least value: the option of each eliminated variable."""
        solved: dict[int, int] = {}
        for step, rows in zip(reversed(self._tree.steps), reversed(self.rows), strict=True):
            row = rows[tuple(solved[v] for v in step.separator)]
            options = unravel(int(np.argmin(row)), step.shape, step.axes)
            solved.update(zip((step.scope[k] for k in step.axes), options, strict=True))
        return solved


def allowed(potential: Potential, rows: Sequence[Array]) -> Array:
    """Where a potential's weights are above 0, given the weights of all options."""
    return np.asarray(potential.weights(rows) > 0)


def feasible(tree: BucketTree) -> list[Array]:
    """For each potential, where its constraints hold, whatever the weights are."""
    ones = [np.ones(len(d.options)) for d in tree.space.decisions]
    return [allowed(potential, ones) for potential in tree.potentials]


def _bound(tables: Sequence[Array]) -> int:
    """An upper bound of the absolute value of any sum of one entry of each table of integers."""
    return sum(int(max(np.max(t), -np.min(t))) for t in tables if t.dtype.kind != "f")
