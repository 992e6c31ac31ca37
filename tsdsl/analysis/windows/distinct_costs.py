"""All distinct costs of a space, with the weight of each: exact, while they are few.

Bucket elimination whose tables contain sparse polynomials: for each row of a separator, the
distinct costs so far with their weights,

    weight[r, c] = sum of w(x)  over all assignments x of what was eliminated that have cost c.

Architectures of equal cost become one entry, so that there can be far more architectures than
entries. Several costs are packed into one integer key, with a digit for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd, prod
from typing import NamedTuple

import numpy as np

from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.elimination.bucket_tree import BucketTree, Scope
from tsdsl.analysis.elimination.table_rows import options_last, rows_of_wider

#: Largest number of entries of one table, and of all tables together.
MAX_ENTRIES = 1 << 21
MAX_WORK = 1 << 22
#: Keys are below this.
MAX_KEY = 1 << 62
#: If there are more architectures than this, and more possible sums of costs, it is not tried.
MAX_SUMS = 1 << 28


class DistinctCosts(NamedTuple):
    """The distinct combinations of a tree's costs [combination, cost], in ascending order of the
    first, and the weight of each: integers where the weights of options are."""

    costs: Array
    weight: Array


class _Node(NamedTuple):
    """A sparse table over ``scope``: row r has the entries from ``start[r]`` to ``start[r + 1]``,
    with ascending keys and their weights."""

    scope: Scope
    shape: tuple[int, ...]
    start: Array
    keys: Array
    weight: Array


def merged(tree: BucketTree, weights: Sequence[Array], architectures: int) -> DistinctCosts | None:
    """The distinct costs of all architectures; None if there are too many. ``weights`` has a table
    for each potential, floats or integers; ``architectures`` is their number."""
    try:
        return _Merger(tree, weights, architectures).run()
    except _TooMany:
        return None


class _TooMany(Exception):
    """There are too many distinct costs."""


class _Merger:
    """The elimination over sparse tables. Raises `_TooMany`."""

    def __init__(self, tree: BucketTree, weights: Sequence[Array], architectures: int) -> None:
        self._tree = tree
        self._weights = weights
        self._architectures = architectures
        self._work = 0

    def run(self) -> DistinctCosts:
        tree = self._tree
        nodes: dict[int, _Node] = dict(enumerate(self._potentials()))
        count = len(tree.potentials)
        for k, step in enumerate(tree.steps):
            inputs = sorted((nodes.pop(n) for n in step.inputs), key=lambda n: len(n.keys))
            joint = inputs[0] if inputs else self._zero_cost()
            for other in inputs[1:]:
                joint = self._join(joint, other)
            gone = {step.scope[axis] for axis in step.axes}
            nodes[count + k] = self._sum(joint, gone)
        return self._points(nodes[count + len(tree.steps) - 1])

    def _potentials(self) -> list[_Node]:
        """The potentials as sparse tables, with costs counted from the least of each, in a unit
        that divides all of them."""
        tree = self._tree
        costs: list[list[Array]] = []
        self._base = [0] * len(tree.costs)
        self._unit = [0] * len(tree.costs)
        most = [0] * len(tree.costs)
        for number, potential in enumerate(tree.potentials):
            possible = self._weights[number] > 0
            own: list[Array] = []
            for c, table in enumerate(potential.costs):
                if table is None or not possible.any():
                    own.append(np.zeros(potential.shape, np.int64))
                    continue
                base = int(table[possible].min())
                above = np.where(possible, table - base, 0)
                self._base[c] += base
                most[c] += int(above.max())
                self._unit[c] = gcd(self._unit[c], int(np.gcd.reduce(above, axis=None)))
                own.append(above)
            costs.append(own)
        self._unit = [max(unit, 1) for unit in self._unit]
        self._digits = [m // unit + 1 for m, unit in zip(most, self._unit, strict=True)]
        sums = prod(self._digits)
        if sums >= MAX_KEY or min(sums, self._architectures) > MAX_SUMS:
            raise _TooMany
        leaves: list[_Node] = []
        for own, potential, weight in zip(costs, tree.potentials, self._weights, strict=True):
            key: Array = np.zeros(potential.shape, np.int64)
            for above, unit, digit in zip(own, self._unit, self._digits, strict=True):
                key = key * digit + (above // unit).astype(np.int64)
            leaves.append(self._leaf(potential.scope, potential.shape, key, weight))
        return leaves

    def _leaf(self, scope: Scope, shape: tuple[int, ...], key: Array, weight: Array) -> _Node:
        rows = np.flatnonzero(weight.reshape(-1) > 0)
        start = np.searchsorted(rows, np.arange(prod(shape) + 1))
        return _Node(scope, shape, start, key.reshape(-1)[rows], weight.reshape(-1)[rows])

    def _zero_cost(self) -> _Node:
        """The table of a space without decisions."""
        return _Node((), (), np.array([0, 1]), np.zeros(1, np.int64), np.ones(1, np.int64))

    def _join(self, a: _Node, b: _Node) -> _Node:
        extents = dict(zip(a.scope + b.scope, a.shape + b.shape, strict=True))
        scope = tuple(sorted(extents))
        shape = tuple(extents[v] for v in scope)
        left = rows_of_wider(a.scope, a.shape, scope, shape)
        right = rows_of_wider(b.scope, b.shape, scope, shape)
        counts, others = np.diff(a.start)[left], np.diff(b.start)[right]
        sizes = counts * others
        start = np.concatenate([[0], np.cumsum(sizes)])
        total = int(start[-1])
        self._work += total
        if total > MAX_ENTRIES or self._work > MAX_WORK:
            raise _TooMany
        row = np.repeat(np.arange(len(sizes)), sizes)
        at = np.arange(total) - start[row]
        i = a.start[left][row] + at // np.maximum(others, 1)[row]
        j = b.start[right][row] + at % np.maximum(others, 1)[row]
        return _merge(scope, shape, row, a.keys[i] + b.keys[j], a.weight[i] * b.weight[j])

    def _sum(self, node: _Node, gone: set[int]) -> _Node:
        if not gone & set(node.scope):
            return node
        axes = tuple(k for k, v in enumerate(node.scope) if v in gone)
        shape = tuple(n for k, n in enumerate(node.shape) if k not in axes)
        scope = tuple(v for v in node.scope if v not in gone)
        source = options_last(np.arange(prod(node.shape)).reshape(node.shape), axes, shape)
        into: Array = np.zeros(prod(node.shape), np.int64)
        into[source.reshape(-1)] = np.repeat(np.arange(prod(shape)), source.shape[-1])
        row = np.repeat(into, np.diff(node.start))
        return _merge(scope, shape, row, node.keys, node.weight)

    def _points(self, root: _Node) -> DistinctCosts:
        keys = root.keys
        columns: list[Array] = []
        for digit, unit, base in reversed(
            list(zip(self._digits, self._unit, self._base, strict=True))
        ):
            keys, part = np.divmod(keys, digit)
            wide = base + unit * digit >= MAX_KEY
            columns.append((part.astype(object) if wide else part) * unit + base)
        costs = np.stack(columns[::-1], 1) if columns else np.zeros((len(keys), 0), np.int64)
        return DistinctCosts(costs, root.weight)


def _merge(scope: Scope, shape: tuple[int, ...], row: Array, keys: Array, weight: Array) -> _Node:
    """A sparse table of some entries: sorted by row and key, with equal keys merged."""
    order = np.lexsort((keys, row))
    row, keys, weight = row[order], keys[order], weight[order]
    first = np.ones(len(keys), np.bool_)
    first[1:] = (row[1:] != row[:-1]) | (keys[1:] != keys[:-1])
    at = np.flatnonzero(first)
    if len(at) < len(keys):
        weight = np.add.reduceat(weight, at)
        row, keys = row[at], keys[at]
    start = np.searchsorted(row, np.arange(prod(shape) + 1))
    return _Node(scope, shape, start, keys, weight)
