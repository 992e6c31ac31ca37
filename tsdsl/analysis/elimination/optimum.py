"""The least value of a sum of tables over all architectures, with what it takes to search near it.

One pass of (min, +) over the steps of a `BucketTree`. The *excess* of an option is how much more
than the least the whole sum gets if it is taken, everything after it at its best. So the excesses
along a path from the root are exact lower bounds of all its ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.elimination.bucket_tree import BucketTree, Potential
from tsdsl.analysis.elimination.table_rows import options_last, unravel

#: Integers below are exact as floats.
EXACT_FLOAT = 1 << 52


class Optimum:
    """Of one objective: a table for each potential of the program (None for 0)."""

    def __init__(
        self, tree: BucketTree, tables: Sequence[Array | None], allowed: Sequence[Array]
    ) -> None:
        self._tree = tree
        present = [t for t in tables if t is not None]
        exact = _bound(present) >= EXACT_FLOAT and all(t.dtype.kind != "f" for t in present)
        # Floats hold these integers exactly; larger ones are kept as Python's.
        dtype: Any = object if exact else np.float64
        limit: Any = 4 * _bound(present) + 1 if exact else np.inf
        #: Stands for impossible.
        self.infinity = limit
        values: list[Array] = []
        for t, ok in zip(tables, allowed, strict=True):
            values.append(np.full(ok.shape, limit, dtype))
            np.copyto(values[-1], 0 if t is None else t, where=ok)
        #: For each step: over its rest and, last, the options that it eliminates, in a row.
        self.rows: list[Array] = []
        self.least: list[Array] = []
        for step in tree.steps:
            joint: Any = 0
            for n, view in zip(step.inputs, step.views, strict=True):
                table = values[n].reshape(view)
                joint = joint + table if len(step.inputs) > 1 else table
            if exact:
                # Sums of tables without axes are Python's integers.
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

    def excess(self, step: int) -> Array:
        """How much more than the least the sum gets with each option of a step."""
        if step not in self._excess:
            least = self.least[step][..., None]
            rows = self.rows[step]
            with np.errstate(invalid="ignore"):
                apart = np.where(rows >= self.infinity, self.infinity, rows - least)
            self._excess[step] = apart
        return self._excess[step]

    @property
    def possible(self) -> bool:
        """Whether any assignment is."""
        return bool(self.value < self.infinity)

    def best(self) -> dict[int, int]:
        """An assignment with the least value."""
        solved: dict[int, int] = {}
        for step, rows in zip(reversed(self._tree.steps), reversed(self.rows), strict=True):
            row = rows[tuple(solved[v] for v in step.separator)]
            options = unravel(int(np.argmin(row)), step.shape, step.axes)
            solved.update(zip((step.scope[k] for k in step.axes), options, strict=True))
        return solved


def allowed(potential: Potential, rows: Sequence[Array]) -> Array:
    """Where a potential's weights are above 0."""
    return np.asarray(potential.weights(rows) > 0)


def _bound(tables: Sequence[Array]) -> int:
    """No sum of entries is larger in absolute value."""
    return sum(int(max(np.max(t), -np.min(t))) for t in tables if t.dtype.kind != "f")
