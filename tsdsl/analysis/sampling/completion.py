"""Completes assignments by the options of a small subtree, given its exact costs.

Backward sampling (see `backward_sampling`) over exact keys in place of bins: from the root of the
subtree down, each key is divided among what the node was made of,

    P(option, keys below | key) is proportional to the product of the weights below,

so that a combination z of the subtree's options has probability w(z) / (weight of its key).
"""

from __future__ import annotations

import numpy as np

from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.elimination.table_rows import row_of, unravel
from tsdsl.analysis.sampling.backward_sampling import Random, set_options
from tsdsl.analysis.sampling.cost_grid import GridLeaf, GridNode
from tsdsl.analysis.sampling.subtree_keys import SubtreeKeys

#: Entries of a table that is compared with keys at once.
CELLS = 1 << 20


class Completion:
    """Sets the variables of a subtree in some assignments ``at`` [draw, variable], in place."""

    def __init__(self, subtrees: SubtreeKeys, at: Array, random: Random) -> None:
        self._subtrees = subtrees
        self._at = at
        self._random = random

    def descend(self, node: GridNode, keys: Array) -> None:
        """Set the variables of a node and of all below it; ``keys`` has its key for each draw."""
        if not len(keys):
            return
        if node.leaf is not None:
            self._choose_options(node.leaf[0], keys)
        elif node.right is not None and node.left is not None:
            lefts = self._left_keys(node.left, node.right, keys)
            self.descend(node.left, lefts)
            self.descend(node.right, keys - lefts)
        elif node.left is not None:
            self._choose_summed(node, node.left, keys)
            self.descend(node.left, keys)

    def _choose_options(self, leaf: GridLeaf, keys: Array) -> None:
        """Choose an option of a leaf among those with the key, by weight."""
        if not leaf.decided:
            return
        table = self._subtrees.of_leaf(leaf)
        rows = row_of(leaf.scope, leaf.shape, self._at)
        options: Array = np.zeros(len(keys), np.int64)
        step = max(CELLS // table.shape[1], 1)
        for start in range(0, len(keys), step):
            part = slice(start, start + step)
            mine = rows[part]
            weight = np.where(table[mine] == keys[part, None], leaf.weight[mine], 0.0)
            draw, option = np.nonzero(weight)
            options[part] = option[pick_by_race(draw, weight[draw, option], self._random)]
        set_options(leaf, options, self._at)

    def _left_keys(self, left: GridNode, right: GridNode, keys: Array) -> Array:
        """The part of each key that the left one of two joined nodes has."""
        a, b = self._subtrees[left], self._subtrees[right]
        lefts = np.zeros_like(keys)
        left_rows = row_of(left.scope, left.shape, self._at).tolist()
        right_rows = row_of(right.scope, right.shape, self._at).tolist()
        for k, (key, i, j) in enumerate(zip(keys.tolist(), left_rows, right_rows, strict=True)):
            mine, theirs = a.keys[i], b.keys[j]
            if len(mine) <= len(theirs):
                weight = a.weights[i] * _weights_at(theirs, b.weights[j], key - mine)
                lefts[k] = mine[_pick(weight, self._random)]
            else:
                weight = b.weights[j] * _weights_at(mine, a.weights[i], key - theirs)
                lefts[k] = key - theirs[_pick(weight, self._random)]
        return lefts

    def _choose_summed(self, node: GridNode, below: GridNode, keys: Array) -> None:
        """Choose the variables that a node sums out."""
        keyed, sources = self._subtrees[below], node.summed_rows()
        rows = row_of(node.scope, node.shape, self._at).tolist()
        variables = [below.scope[axis] for axis in node.axes]
        for k, (key, row) in enumerate(zip(keys.tolist(), rows, strict=True)):
            weight = np.array(
                [
                    _weights_at(keyed.keys[s], keyed.weights[s], np.array([key]))[0]
                    for s in sources[row].tolist()
                ]
            )
            options = unravel(_pick(weight, self._random), below.shape, node.axes)
            self._at[k, variables] = options


def pick_by_race(group: Array, weight: Array, random: Random) -> Array:
    """One position of each group (equal numbers are adjacent), in proportion to weight: the first
    to arrive, where position k arrives after an exponential time of rate ``weight[k]``."""
    if not len(group):
        return np.zeros(0, np.int64)
    arrival = -np.log1p(-random.random(len(group))) / weight
    starts = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
    order = np.lexsort([arrival, group])
    return np.asarray(order[starts])


def _pick(weight: Array, random: Random) -> int:
    """A position, in proportion to weight."""
    sums = np.cumsum(weight)
    at = int(np.searchsorted(sums, random.random() * sums[-1], side="right"))
    return min(at, int(np.searchsorted(sums, sums[-1])))


def _weights_at(keys: Array, weights: Array, wanted: Array) -> Array:
    """The weight of each wanted key; 0 for one that does not occur."""
    if not len(keys):
        return np.zeros(len(wanted))
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, weights[at], 0.0)
