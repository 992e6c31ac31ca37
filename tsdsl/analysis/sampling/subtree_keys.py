"""All total costs of a small subtree of a `CostGrid`, exact, with the weight of each.

The costs of a combination of options are packed into one integer *key*: with cost k counted in its
own unit u_k from the least cost of each leaf on, and R_k the number of values that it can take,

    key = sum over k of ((cost_k - least_k) / u_k) * stride_k,    stride_k = R_(k+1) * R_(k+2) * ...

Keys add up where costs do, and their order is that of the first cost. So a subtree has, for each
row (each combination of the variables that it shares with the rest of the tree), a sorted list of
distinct keys with their weights. It is computed from the leaves up: a join adds every pair of
keys, summing out a variable merges lists, and equal keys become one (as in the dynamic program of
subset sums).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import numpy as np

from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.elimination.bucket_tree import BucketTree
from tsdsl.analysis.elimination.table_rows import rows_of_wider
from tsdsl.analysis.sampling.cost_grid import GridLeaf, GridNode, common_unit, grid_leaves

#: Largest number of keys of a subtree, over all rows, before equal ones are merged, and after.
MAX_JOINED = 1 << 22
MAX_KEYS = 1 << 21
#: Keys are below this, so that a sum of two fits into 64 bits.
MAX_KEY = 1 << 62


class WeightedKeys(NamedTuple):
    """The distinct keys of each row, in ascending order, and the weight of each."""

    keys: list[Array]
    weights: list[Array]

    @property
    def size(self) -> int:
        """The number of keys in all rows."""
        return sum(map(len, self.keys))


@dataclass(slots=True, eq=False)
class CostKeys:
    """Packs several costs into one integer; see the module's docstring. The first cost has the
    sign that the grid gives it."""

    #: For each cost, its table over each leaf: [cost][leaf].
    tables: list[list[GridLeaf]]
    #: For each cost, u_k and stride_k.
    units: list[int]
    strides: list[int]

    @classmethod
    def of(
        cls, tree: BucketTree, weights: list[Array], leaves: list[GridLeaf], others: Sequence[int]
    ) -> CostKeys | None:
        """Keys of the cost of ``leaves`` and of ``others`` (by their number in the tree); None
        where they exceed `MAX_KEY`."""
        tables = [leaves, *(grid_leaves(tree, weights, k, 1) for k in others)]
        units = [common_unit(table) for table in tables]
        ranges = []
        for table, unit in zip(tables, units, strict=True):
            span = 0
            for leaf in table:
                possible = leaf.cost[leaf.weight > 0]
                span += int(possible.max() - possible.min()) if possible.size else 0
            ranges.append(span // unit + 1)
        if prod(ranges) >= MAX_KEY:
            return None
        return cls(tables, units, [prod(ranges[k + 1 :]) for k in range(len(ranges))])

    def of_leaf(self, number: int) -> Array:
        """The key of each option of a leaf: [row, option]."""
        joint: Array = np.zeros(self.tables[0][number].cost.shape, np.int64)
        for table, unit, stride in zip(self.tables, self.units, self.strides, strict=True):
            leaf = table[number]
            above = np.where(leaf.weight > 0, leaf.cost - self.least(leaf), 0) // unit
            joint += above.astype(np.int64) * stride
        return joint

    @staticmethod
    def least(leaf: GridLeaf) -> int:
        """The least cost of a possible option of a leaf."""
        possible = leaf.cost[leaf.weight > 0]
        return int(possible.min()) if possible.size else 0

    def split(self, key: Array) -> list[Array]:
        """The costs that keys stand for, each in its own unit."""
        costs: list[Array] = []
        for stride in self.strides:
            cost, key = np.divmod(key, stride)
            costs.append(cost)
        return costs


class SubtreeKeys:
    """The `WeightedKeys` of every subtree that has few enough, by the ``id`` of its root."""

    def __init__(self, costs: CostKeys, root: GridNode) -> None:
        self._costs = costs
        self._number = {id(leaf): k for k, leaf in enumerate(costs.tables[0])}
        self._known: dict[int, WeightedKeys] = {}
        self._collect(root)

    def get(self, node: GridNode) -> WeightedKeys | None:
        """The keys of a subtree; None where there are too many."""
        return self._known.get(id(node))

    def __getitem__(self, node: GridNode) -> WeightedKeys:
        return self._known[id(node)]

    def of_leaf(self, leaf: GridLeaf) -> Array:
        """The key of each option of a leaf: [row, option]."""
        return self._costs.of_leaf(self._number[id(leaf)])

    def _collect(self, node: GridNode) -> WeightedKeys | None:
        """The keys of a subtree, remembered with those of all subtrees of it."""
        listed: WeightedKeys | None
        if node.leaf is not None:
            leaf = node.leaf[0]
            keys = self.of_leaf(leaf)
            listed = _merged((k[w > 0], w[w > 0]) for k, w in zip(keys, leaf.weight, strict=True))
        elif node.right is not None and node.left is not None:
            left, right = self._collect(node.left), self._collect(node.right)
            listed = _joined(node, node.left, left, node.right, right)
        elif node.left is not None:
            below = self._collect(node.left)
            listed = None if below is None else _summed(node, below)
        else:
            listed = WeightedKeys([np.zeros(1, np.int64)], [np.ones(1)])
        if listed is not None and listed.size <= MAX_KEYS:
            self._known[id(node)] = listed
            return listed
        return None


def _joined(
    node: GridNode,
    a: GridNode,
    left: WeightedKeys | None,
    b: GridNode,
    right: WeightedKeys | None,
) -> WeightedKeys | None:
    """The keys of a join of two nodes; None where there are too many."""
    if left is None or right is None:
        return None
    lefts = rows_of_wider(a.scope, a.shape, node.scope, node.shape).tolist()
    rights = rows_of_wider(b.scope, b.shape, node.scope, node.shape).tolist()
    pairs = list(zip(lefts, rights, strict=True))
    if sum(len(left.keys[i]) * len(right.keys[j]) for i, j in pairs) > MAX_JOINED:
        return None
    return _merged(
        (
            (left.keys[i][:, None] + right.keys[j]).reshape(-1),
            (left.weights[i][:, None] * right.weights[j]).reshape(-1),
        )
        for i, j in pairs
    )


def _summed(node: GridNode, below: WeightedKeys) -> WeightedKeys | None:
    """The keys of a node that sums out variables of another; None where there are too many."""
    rows = node.summed_rows().tolist()
    if sum(len(below.keys[k]) for row in rows for k in row) > MAX_JOINED:
        return None
    return _merged(
        (
            np.concatenate([below.keys[k] for k in row]),
            np.concatenate([below.weights[k] for k in row]),
        )
        for row in rows
    )


def _merged(rows: Iterable[tuple[Array, Array]]) -> WeightedKeys:
    """Keys and weights of each row, with the weights of equal keys added up."""
    merged = WeightedKeys([], [])
    for keys, weights in rows:
        distinct, at = np.unique(keys, return_inverse=True)
        merged.keys.append(distinct)
        merged.weights.append(np.bincount(at, weights, len(distinct)))
    return merged
