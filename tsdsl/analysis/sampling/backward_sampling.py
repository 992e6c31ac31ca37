"""Backward sampling from a `CostGrid`, given the bins that the cost lies in.

As in forward filtering, backward sampling for hidden Markov models: the grid's tables are the
forward pass, and draws go back from the root to the leaves, many at a time. A bin b of the root is
drawn by its mass; then, at each node and given its row r and bin,

    sum:   P(option o | r, b) = below[row(r, o), b] / mass[r, b]
    join:  P(bin j on the right | r, b) = left[r, b - j] * right[r, j] / mass[r, b]
    leaf:  P(option o | r, b) = w[r, o] / mass[r, b]    for the options in bin b.

The product of these is w(x) / (mass of all drawn bins): each architecture in proportion to its
weight.
"""

from __future__ import annotations

import numpy as np

from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.elimination.table_rows import row_of, unravel_many
from tsdsl.analysis.sampling.cost_grid import GridLeaf, GridNode

#: Number of ways to share a bin that are weighted at once.
CELLS = 1 << 17
#: A join whose narrower side has at least this many bins is sampled by rejection first, in at most
#: so many rounds.
WIDE = 96
ROUNDS = 4
#: Columns in a block: of a long row, a block is drawn first, then a column of it.
BLOCK = 16

Random = np.random.Generator


class BackwardSampler:
    """Draws assignments whose rounded cost is in the bins from ``first`` to ``end`` (not included)
    of a root. ``logs`` are added to the logarithms of the masses of these bins.

    After each draw, ``picked`` has the bins of the root, counted from ``first``, and ``left_over``
    those of the stub (a node without leaf and inputs), where the tree has one."""

    def __init__(
        self, root: GridNode, variables: int, first: int, end: int, logs: Array | None = None
    ) -> None:
        self._root = root
        self._variables = variables
        self._leaves: dict[int, tuple[Array, Array, Array]] = {}
        self._rows: dict[int, Array] = {}
        self._splits: dict[int, _BinSplit] = {}
        self._first = first
        self.left_over: Array = np.zeros(0, np.int64)
        self.picked: Array = np.zeros(0, np.int64)
        mass = root.mass[0, first:end]
        if logs is not None and mass.any():
            with np.errstate(divide="ignore"):
                total = np.log(mass) + logs
            mass = np.exp(total - total.max())
        self._sums = np.cumsum(mass)
        #: Weight of everything that can be drawn: mantissa and power of two.
        self.weight = (float(self._sums[-1]) if len(self._sums) else 0.0, root.scale)

    def draw(self, random: Random, n: int) -> Array:
        """Assignments [draw, variable]."""
        at: Array = np.zeros((n, self._variables), np.int32)
        bins = np.searchsorted(self._sums, random.random(n) * self._sums[-1], side="right")
        self.picked = np.minimum(bins, _last(self._sums))
        bins = self.picked + self._first
        waiting = [(self._root, bins)]
        while waiting:
            node, bins = waiting.pop()
            if node.leaf is not None:
                self._option(node, node.leaf[0], bins, at, random)
            elif node.right is not None:
                assert node.left is not None
                waiting += self._split(node, node.left, node.right, bins, at, random)
            elif node.left is not None:
                waiting.append((node.left, self._choose(node, node.left, bins, at, random)))
            else:
                self.left_over = bins
        return at

    def _option(
        self, node: GridNode, leaf: GridLeaf, bins: Array, at: Array, random: Random
    ) -> None:
        """Choose an option of a leaf that is in the bin of each draw, by weight."""
        if not leaf.decided:
            return
        if id(node) not in self._leaves:
            self._leaves[id(node)] = _ordered(node, leaf)
        order, sums, starts = self._leaves[id(node)]
        group = row_of(node.scope, node.shape, at) * node.mass.shape[1] + bins
        chosen = np.searchsorted(sums, group + random.random(len(bins)), side="right")
        chosen = np.clip(chosen, starts[group], starts[group + 1] - 1)
        set_options(leaf, order[chosen] % leaf.cost.shape[1], at)

    def _split(
        self,
        node: GridNode,
        left: GridNode,
        right: GridNode,
        bins: Array,
        at: Array,
        random: Random,
    ) -> list[tuple[GridNode, Array]]:
        """Divide the bin of each draw between the two nodes of a join."""
        if right.mass.shape[1] > left.mass.shape[1]:
            left, right = right, left
        if right.mass.shape[1] == 1:
            return [(left, bins), (right, np.zeros_like(bins))]
        split = self._splits.setdefault(id(node), _BinSplit(left, right))
        rights = split.right_bins(
            row_of(left.scope, left.shape, at),
            row_of(right.scope, right.shape, at),
            bins,
            random,
        )
        return [(left, bins - rights), (right, rights)]

    def _choose(
        self, node: GridNode, below: GridNode, bins: Array, at: Array, random: Random
    ) -> Array:
        """Choose the variables that a node sums out; the bin of the node below for each draw."""
        if id(node) not in self._rows:
            self._rows[id(node)] = node.summed_rows()
        mine = row_of(node.scope, node.shape, at)
        rows = self._rows[id(node)][mine]
        shifted = (bins + node.offset[mine])[:, None] - below.offset[rows]
        size = below.mass.shape[1]
        inside = (shifted >= 0) & (shifted < size)
        weights = np.where(inside, below.mass[rows, np.clip(shifted, 0, size - 1)], 0.0)
        options = _pick(weights, random)
        for axis, picked in zip(
            node.axes, unravel_many(options, below.shape, node.axes), strict=True
        ):
            at[:, below.scope[axis]] = picked
        return np.asarray(shifted[np.arange(len(bins)), options])


class _BinSplit:
    """Divides bins between two joined nodes, of which the second has fewer bins."""

    def __init__(self, left: GridNode, right: GridNode) -> None:
        self._left = left
        self._right = right
        #: Cumulative shares of the right node's bins, and 1 / the greatest mass of the left one's.
        self._proposal: tuple[Array, Array] | None = None

    def right_bins(self, rows: Array, others: Array, bins: Array, random: Random) -> Array:
        """The part of each bin that the right node has. ``rows`` and ``others`` are the rows of
        the left and of the right node."""
        rights = np.full_like(bins, -1)
        if self._right.mass.shape[1] >= WIDE:
            self._by_rejection(rows, others, bins, rights, random)
        self._by_weight(rows, others, bins, rights, random)
        return rights

    def _by_rejection(
        self, rows: Array, others: Array, bins: Array, rights: Array, random: Random
    ) -> None:
        """Propose bins of the right node by its own masses, and accept them in proportion to the
        left node's mass of the remainder; for a few rounds, while many are accepted."""
        left, right = self._left, self._right
        if self._proposal is None:
            sums = np.cumsum(right.mass, axis=1)
            with np.errstate(invalid="ignore"):
                shares = np.nan_to_num(sums / sums[:, -1:])
            flat = (shares + np.arange(len(shares))[:, None]).reshape(-1)
            self._proposal = flat, 1 / np.maximum(left.mass.max(1), 1e-300)
        flat, scale = self._proposal
        width, size = right.mass.shape[1], left.mass.shape[1]
        todo = np.arange(len(bins))
        for _ in range(ROUNDS):
            at = np.searchsorted(flat, others[todo] + random.random(len(todo)), side="right")
            proposed = np.clip(at - others[todo] * width, 0, width - 1)
            rest = bins[todo] - proposed
            weight = left.mass[rows[todo], np.clip(rest, 0, size - 1)] * scale[rows[todo]]
            # By rounding, a proposal at the edge of a row can be a bin without mass.
            weight = np.where((rest >= 0) & (rest < size), weight, 0.0)
            weight = np.where(right.mass[others[todo], proposed] > 0, weight, 0.0)
            kept = random.random(len(todo)) < weight
            rights[todo[kept]] = proposed[kept]
            before, todo = len(todo), todo[~kept]
            if len(todo) > 0.8 * before:
                break

    def _by_weight(
        self, rows: Array, others: Array, bins: Array, rights: Array, random: Random
    ) -> None:
        """Divide the bins that are not divided yet (-1), by the weight of each way to do so."""
        left, right = self._left.mass, self._right.mass
        todo = np.flatnonzero(rights < 0)
        # Small bins can be divided in few ways: in order, only as many are weighted as there are.
        todo = todo[np.argsort(bins[todo], kind="stable")]
        full = -(-right.shape[1] // BLOCK) * BLOCK
        size = left.shape[1]
        # Zeros around, so that no position needs a test.
        padded = np.zeros((len(left), size + 2 * (full - 1)))
        padded[:, full - 1 : full - 1 + size] = left
        turned = np.zeros((len(right), full))
        turned[:, full - right.shape[1] :] = right[:, ::-1]
        start = 0
        while start < len(todo):
            count = max(CELLS // full, 1)
            part = todo[start : start + count]
            width = min(-(-(int(bins[part[-1]]) + 1) // BLOCK) * BLOCK, full)
            windows = np.lib.stride_tricks.sliding_window_view(padded, width, axis=1)
            weights = windows[rows[part], bins[part] + full - width]
            weights = weights * turned[others[part], full - width :]
            rights[part] = width - 1 - _pick_long(weights, random)
            start += count


def set_options(leaf: GridLeaf, options: Array, at: Array) -> None:
    """Set the variables that a leaf decides to one of its options, for each assignment."""
    for v, size in zip(reversed(leaf.decided), reversed(leaf.sizes), strict=True):
        options, at[:, v] = np.divmod(options, size)


def _ordered(node: GridNode, leaf: GridLeaf) -> tuple[Array, Array, Array]:
    """The options of a leaf, grouped by row and bin: their positions in the leaf's table;
    cumulative weights that grow by 1 over each group, so that each keeps all its digits; the
    position at which each group starts."""
    assert node.leaf is not None
    bins, width = node.leaf[1], node.mass.shape[1]
    kept = np.flatnonzero(((leaf.weight > 0) & (bins < width)).reshape(-1))
    group = (kept // bins.shape[1]) * width + bins.reshape(-1)[kept]
    order = np.argsort(group, kind="stable")
    kept, group = kept[order], group[order]
    weights = leaf.weight.reshape(-1)[kept] / node.mass.reshape(-1)[group]
    weights = np.ldexp(weights, -node.scale)
    starts = np.searchsorted(group, np.arange(len(node.mass) * width + 1))
    sums = np.cumsum(weights)
    before = np.concatenate([[0.0], sums])[starts[group]]
    return kept, group + (sums - before), starts


def _pick(weights: Array, random: Random) -> Array:
    """A column of each row, in proportion to weight; never one without weight."""
    sums = np.cumsum(weights, axis=1)
    at = random.random(len(weights)) * sums[:, -1]
    picked: Array = (sums <= at[:, None]).sum(1)
    missed = np.flatnonzero(at >= sums[:, -1])
    for row in missed.tolist():
        picked[row] = _last(sums[row])
    return picked


def _pick_long(weights: Array, random: Random) -> Array:
    """`_pick` for many columns: first a block of them, then a column of the block."""
    blocks = weights.reshape(len(weights), -1, BLOCK)
    block = _pick(blocks.sum(2), random)
    return block * BLOCK + _pick(blocks[np.arange(len(blocks)), block], random)


def _last(sums: Array) -> int:
    """The last position with a weight, from cumulative weights."""
    return int(np.searchsorted(sums, sums[-1], side="left"))
