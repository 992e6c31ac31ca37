"""Assignments drawn from a `CostGrid` distribution, given which bins their cost lies in.

Backwards through its nodes, for many draws at once: a bin of the root, then at each node what it
was made of, in proportion. That gives every architecture of these bins exactly in proportion to its
weight.
"""

from __future__ import annotations

import numpy as np

from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.elimination.optimum import arranged, unravel_many
from tsdsl.analysis.sampling.cost_grid import GridLeaf, GridNode

#: Cells that are weighed at once.
CELLS = 1 << 17
#: From this many bins on, some are guessed; how often.
WIDE = 96
GUESSES = 4
#: Columns that are weighed together first.
BLOCK = 16

Random = np.random.Generator


class BackwardSampler:
    """Draws from the bins ``first`` to ``end`` (not included) of a root; ``logs`` are added to the
    logarithms of their masses. After each draw, ``picked`` has the bins of the root, from ``first``
    on, and ``left_over`` those of a node that is made of nothing, where the tree has one."""

    def __init__(
        self, root: GridNode, variables: int, first: int, end: int, logs: Array | None = None
    ) -> None:
        self._root = root
        self._variables = variables
        self._leaves: dict[int, tuple[Array, Array, Array]] = {}
        self._rows: dict[int, Array] = {}
        self._splits: dict[int, _Split] = {}
        self._first = first
        self.left_over: Array = np.zeros(0, np.int64)
        self.picked: Array = np.zeros(0, np.int64)
        mass = root.mass[0, first:end]
        if logs is not None and mass.any():
            with np.errstate(divide="ignore"):
                total = np.log(mass) + logs
            mass = np.exp(total - total.max())
        self._sums = np.cumsum(mass)
        #: Weight of all that can be drawn: mantissa and power of two.
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
        """What a leaf decides: an option in its bin, by weight."""
        if not leaf.decided:
            return
        if id(node) not in self._leaves:
            self._leaves[id(node)] = _ordered(node, leaf)
        order, sums, starts = self._leaves[id(node)]
        group = row_of(node.scope, node.shape, at) * node.mass.shape[1] + bins
        chosen = np.searchsorted(sums, group + random.random(len(bins)), side="right")
        chosen = np.clip(chosen, starts[group], starts[group + 1] - 1)
        decide(leaf, order[chosen] % leaf.cost.shape[1], at)

    def _split(
        self,
        node: GridNode,
        left: GridNode,
        right: GridNode,
        bins: Array,
        at: Array,
        random: Random,
    ) -> list[tuple[GridNode, Array]]:
        """How a bin is shared between two nodes."""
        if right.mass.shape[1] > left.mass.shape[1]:
            left, right = right, left
        if right.mass.shape[1] == 1:
            return [(left, bins), (right, np.zeros_like(bins))]
        split = self._splits.setdefault(id(node), _Split(left, right))
        taken = split.taken(
            row_of(left.scope, left.shape, at),
            row_of(right.scope, right.shape, at),
            bins,
            random,
        )
        return [(left, bins - taken), (right, taken)]

    def _choose(
        self, node: GridNode, below: GridNode, bins: Array, at: Array, random: Random
    ) -> Array:
        """The variables that were summed out; what bin the node below has then."""
        if id(node) not in self._rows:
            rows = np.arange(len(below.mass)).reshape(below.shape)
            self._rows[id(node)] = arranged(rows, node.axes, node.shape).reshape(len(node.mass), -1)
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


class _Split:
    """How bins are shared between two joined nodes, of which the second is the narrower."""

    def __init__(self, left: GridNode, right: GridNode) -> None:
        self._left = left
        self._right = right
        self._guesses: tuple[Array, Array] | None = None

    def taken(self, rows: Array, others: Array, bins: Array, random: Random) -> Array:
        """What the narrower node has of each bin. ``rows`` and ``others``: the row of each node."""
        taken = np.full_like(bins, -1)
        if self._right.mass.shape[1] >= WIDE:
            self._guess(rows, others, bins, taken, random)
        self._weigh(rows, others, bins, taken, random)
        return taken

    def _guess(self, rows: Array, others: Array, bins: Array, taken: Array, random: Random) -> None:
        """Take bins of the narrower node by its own masses, keep them in proportion to what the
        wider one has for the rest; a few times, for as long as many are kept."""
        left, right = self._left, self._right
        if self._guesses is None:
            sums = np.cumsum(right.mass, axis=1)
            with np.errstate(invalid="ignore"):
                shares = np.nan_to_num(sums / sums[:, -1:])
            flat = (shares + np.arange(len(shares))[:, None]).reshape(-1)
            self._guesses = flat, 1 / np.maximum(left.mass.max(1), 1e-300)
        flat, scale = self._guesses
        width, size = right.mass.shape[1], left.mass.shape[1]
        todo = np.arange(len(bins))
        for _ in range(GUESSES):
            found = np.searchsorted(flat, others[todo] + random.random(len(todo)), side="right")
            guess = np.clip(found - others[todo] * width, 0, width - 1)
            rest = bins[todo] - guess
            weight = left.mass[rows[todo], np.clip(rest, 0, size - 1)] * scale[rows[todo]]
            # A guess at the edge of a row can be one without mass: rounding.
            weight = np.where((rest >= 0) & (rest < size), weight, 0.0)
            weight = np.where(right.mass[others[todo], guess] > 0, weight, 0.0)
            kept = random.random(len(todo)) < weight
            taken[todo[kept]] = guess[kept]
            before, todo = len(todo), todo[~kept]
            if len(todo) > 0.8 * before:
                break

    def _weigh(self, rows: Array, others: Array, bins: Array, taken: Array, random: Random) -> None:
        """How the bins that are not taken yet (-1) are shared, by the weight of each way."""
        left, right = self._left.mass, self._right.mass
        todo = np.flatnonzero(taken < 0)
        # Those with few ways together, so that only these are weighed.
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
            taken[part] = width - 1 - _pick_long(weights, random)
            start += count


def row_of(scope: tuple[int, ...], shape: tuple[int, ...], at: Array) -> Array:
    """The row of a table over a scope that each assignment has."""
    row: Array = np.zeros(len(at), np.int64)
    for v, n in zip(scope, shape, strict=True):
        row = row * n + at[:, v]
    return row


def decide(leaf: GridLeaf, options: Array, at: Array) -> None:
    """Set the variables of a leaf to an option of it, for each assignment."""
    for v, size in zip(reversed(leaf.decided), reversed(leaf.sizes), strict=True):
        options, at[:, v] = np.divmod(options, size)


def _ordered(node: GridNode, leaf: GridLeaf) -> tuple[Array, Array, Array]:
    """Options by row and bin: their positions; cumulative weights that grow by 1 over each group
    (so each keeps all its digits); where each group starts."""
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
    """A column of each row, by weight; never one without weight."""
    sums = np.cumsum(weights, axis=1)
    at = random.random(len(weights)) * sums[:, -1]
    picked: Array = (sums <= at[:, None]).sum(1)
    missed = np.flatnonzero(at >= sums[:, -1])
    for row in missed.tolist():
        picked[row] = _last(sums[row])
    return picked


def _pick_long(weights: Array, random: Random) -> Array:
    """`_pick` for many columns: a block of them, then one of the block."""
    blocks = weights.reshape(len(weights), -1, BLOCK)
    block = _pick(blocks.sum(2), random)
    return block * BLOCK + _pick(blocks[np.arange(len(blocks)), block], random)


def _last(sums: Array) -> int:
    """The last that has a weight."""
    return int(np.searchsorted(sums, sums[-1], side="left"))
