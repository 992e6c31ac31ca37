"""The weight of all architectures by their cost, on a grid of costs (a discretised distribution).

Bucket elimination over the semiring of polynomials with nonnegative coefficients: every table has
one more axis, the cost so far in multiples of a unit. Joining two tables convolves that axis,
summing out a variable adds it up:

    mass[r, b] = sum of w(x)  over all assignments x of the variables below, given the row r,
                              whose rounded cost is b.

All terms are nonnegative, so that nothing cancels and floats keep about 12 digits in every entry.

Costs are rounded once for each *leaf*: tables over the same variables are joined exactly first,
while the result is small. The sum of the rounding errors is bounded, so that for each assignment

    base + unit * bin + error[0] <= cost <= base + unit * bin + error[1].
"""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp, gcd, prod

import numpy as np

from tsdsl.analysis.costs.factors import MAX_INT64, Array
from tsdsl.analysis.elimination.bucket_tree import BucketTree, Scope
from tsdsl.analysis.elimination.table_rows import options_last, rows_of_wider
from tsdsl.ir.ordering import TooCoupled

#: Largest number of entries of a leaf, whose costs are exact.
MAX_LEAF = 1 << 16
#: Largest number of entries of a table.
MAX_ENTRIES = 1 << 25


@dataclass(frozen=True, slots=True, eq=False)
class GridLeaf:
    """Potentials over the same ``scope``, joined. A *row* is a combination of the variables of
    ``scope``, an *option* one of the variables that no other potential mentions."""

    scope: Scope
    shape: tuple[int, ...]
    #: Exact costs and weights: [row, option].
    cost: Array
    weight: Array
    #: The variables that an option decides, and how many values each has.
    decided: tuple[int, ...]
    sizes: tuple[int, ...]


@dataclass(slots=True, eq=False)
class GridNode:
    """A table of the grid. It comes from a leaf, from two nodes that are joined (``left`` and
    ``right``), or from one node (``left``), some of whose variables are summed out."""

    scope: Scope
    shape: tuple[int, ...]
    #: The bin that ``mass[row, 0]`` stands for.
    offset: Array
    #: Weight by row and bin, times 2 ** ``scale``.
    mass: Array
    scale: int
    #: The leaf, with the bin of each option.
    leaf: tuple[GridLeaf, Array] | None = None
    left: GridNode | None = None
    right: GridNode | None = None
    #: Positions in the scope of ``left`` of the variables that are summed out.
    axes: tuple[int, ...] = ()

    def nodes(self) -> list[GridNode]:
        """This node and all below it."""
        nodes = [self]
        for below in (self.left, self.right):
            nodes += below.nodes() if below is not None else []
        return nodes

    def summed_rows(self) -> Array:
        """The rows of ``left`` that each row sums: [row, option of what is summed out]."""
        assert self.left is not None
        rows = np.arange(len(self.left.mass)).reshape(self.left.shape)
        return options_last(rows, self.axes, self.shape).reshape(len(self.mass), -1)


def grid_leaves(tree: BucketTree, weights: list[Array], cost: int, sign: int) -> list[GridLeaf]:
    """The potentials of a tree as leaves, with ``sign`` times one of its costs (by its number);
    those over the same scope are joined while that is small. ``weights`` has a table for each
    potential."""
    own = {step.inputs[0]: step for step in tree.steps[: _fronts(tree)]}
    single: list[GridLeaf] = []
    for number, potential in enumerate(tree.potentials):
        table = potential.costs[cost]
        costs = np.zeros(potential.shape, np.int64) if table is None else sign * table
        step = own.get(number)
        axes = step.axes if step else ()
        kept = [k for k in range(len(potential.shape)) if k not in axes]
        rows = tuple(potential.shape[k] for k in kept)
        apart = options_last(costs, axes, rows).reshape(prod(rows), -1)
        weight = options_last(weights[number], axes, rows).reshape(prod(rows), -1)
        single.append(
            GridLeaf(
                tuple(potential.scope[k] for k in kept),
                rows,
                apart,
                weight,
                tuple(potential.scope[k] for k in axes),
                tuple(potential.shape[k] for k in axes),
            )
        )
    joined: list[GridLeaf] = []
    for leaf in sorted(single, key=lambda x: (x.scope, x.cost.shape[1])):
        last = joined[-1] if joined else None
        if last and last.scope == leaf.scope and last.cost.size * leaf.cost.shape[1] <= MAX_LEAF:
            joined[-1] = _product(last, leaf)
        else:
            joined.append(leaf)
    return joined


def _fronts(tree: BucketTree) -> int:
    """The number of steps at the beginning that only sum out a potential's own variables."""
    count = 0
    for step in tree.steps[:-1]:
        if len(step.inputs) != 1 or step.inputs[0] >= len(tree.potentials):
            break
        count += 1
    taken = [step.inputs[0] for step in tree.steps[:count]]
    # A later step may take a single potential too; it shows in their order.
    for k in range(1, count):
        if taken[k] <= taken[k - 1]:
            return k
    return count


def _product(a: GridLeaf, b: GridLeaf) -> GridLeaf:
    """Two leaves over one scope as one, whose options are the pairs of theirs."""
    rows = len(a.cost)
    return GridLeaf(
        a.scope,
        a.shape,
        (a.cost[:, :, None] + b.cost[:, None, :]).reshape(rows, -1),
        (a.weight[:, :, None] * b.weight[:, None, :]).reshape(rows, -1),
        a.decided + b.decided,
        a.sizes + b.sizes,
    )


class CostGrid:
    """The grid of one cost over a bucket tree: ``root`` has the weight of all architectures.

    Only bins up to ``limit`` above the least are kept. Raises `TooCoupled` where a table would have
    more than `MAX_ENTRIES`.
    """

    def __init__(
        self, tree: BucketTree, leaves: list[GridLeaf], unit: int, limit: int | None = None
    ) -> None:
        #: Width of a bin, in units of the cost, and the cost that bin 0 stands for.
        self.unit = unit
        self.base = 0
        #: Least and greatest difference between a cost and what its bin stands for.
        self.error = (0, 0)
        self._limit = limit if limit is not None else MAX_INT64
        self._names = [v.name for v in tree.space.variables]
        fronts = _fronts(tree)
        count = len(tree.potentials)
        waiting = [self._leaf(leaf) for leaf in leaves]
        for step in tree.steps[fronts:]:
            gone = {step.scope[k] for k in step.axes}
            touched = [node for node in waiting if not gone or gone & set(node.scope)]
            waiting = [node for node in waiting if node not in touched]
            joint = self._join_all(touched)
            node = self._sum(joint, tuple(k for k, v in enumerate(joint.scope) if v in gone))
            waiting.append(node)
        assert count and len(waiting) == 1
        self.root = waiting[0]

    def bin_range(
        self, low: int, high: int, error: tuple[int, int] | None = None
    ) -> tuple[int, int, int, int]:
        """The bins of the root that can contain a cost in a window, as the first and one past the
        last; then the same for those that contain no other costs."""
        first, last = error or self.error
        start = self.base + self.unit * int(self.root.offset[0])
        size = self.root.mass.shape[1]
        unit = self.unit

        def clip(k: int) -> int:
            return int(min(max(k, 0), size))

        return (
            clip(-((start + last - low) // unit)),
            clip((high - start - first) // unit + 1),
            clip(-((start + first - low) // unit)),
            clip((high - start - last) // unit + 1),
        )

    def _leaf(self, leaf: GridLeaf) -> GridNode:
        possible = leaf.weight > 0
        base, bins, error = round_to_bins(leaf, self.unit)
        self.base += base
        self.error = (
            self.error[0] + int(np.min(error, initial=0)),
            self.error[1] + int(np.max(error, initial=0)),
        )
        far = np.where(possible, bins, MAX_INT64)
        offset = np.where(possible.any(1), far.min(1), 0)
        bins = np.where(possible, bins - offset[:, None], 0)
        width = min(int(bins.max(initial=0)), self._limit) + 1
        kept = possible & (bins < width)
        rows = np.nonzero(kept)[0]
        mass = np.bincount(
            rows * width + bins[kept], leaf.weight[kept], len(leaf.cost) * width
        ).reshape(-1, width)
        return self._node(leaf.scope, leaf.shape, offset, mass, 0, leaf=(leaf, bins))

    def _join_all(self, touched: list[GridNode]) -> GridNode:
        """The join of all, two at a time, the pair with the smallest result first."""
        nodes = list(touched)
        if not nodes:
            return self._node((), (), np.zeros(1, np.int64), np.ones((1, 1)), 0)
        while len(nodes) > 1:
            nodes.sort(key=lambda n: (len(n.scope), n.scope, n.mass.shape[1]))
            pairs = [(a, b) for k, a in enumerate(nodes) for b in nodes[k + 1 :]]
            a, b = min(pairs, key=lambda p: _work(*p))
            nodes.remove(a)
            nodes.remove(b)
            nodes.append(self._join(a, b))
        return nodes[0]

    def _join(self, a: GridNode, b: GridNode) -> GridNode:
        """The product of two tables: weights multiply, costs add up."""
        if a.mass.shape[1] < b.mass.shape[1]:
            a, b = b, a
        extents = _extents(a, b)
        scope = tuple(sorted(extents))
        shape = tuple(extents[v] for v in scope)
        width = min(a.mass.shape[1] + b.mass.shape[1] - 1, self._limit + 1)
        self._check(scope, prod(shape), width)
        left = rows_of_wider(a.scope, a.shape, scope, shape)
        right = rows_of_wider(b.scope, b.shape, scope, shape)
        offset = a.offset[left] + b.offset[right]
        if b.mass.shape[1] == 1:
            mass = a.mass[left] * b.mass[right]
        else:
            mass = np.zeros((prod(shape), width))
            for row, (i, j) in enumerate(zip(left.tolist(), right.tolist(), strict=True)):
                mass[row] = np.convolve(a.mass[i], b.mass[j])[:width]
        return self._node(scope, shape, offset, mass, a.scale + b.scale, left=a, right=b)

    def _sum(self, node: GridNode, axes: tuple[int, ...]) -> GridNode:
        """The table with some variables, given by their positions, summed out."""
        if not axes:
            return node
        scope = tuple(v for k, v in enumerate(node.scope) if k not in axes)
        shape = tuple(n for k, n in enumerate(node.shape) if k not in axes)
        rows = options_last(np.arange(prod(node.shape)).reshape(node.shape), axes, shape)
        rows = rows.reshape(prod(shape), -1)
        used: Array = np.any(node.mass, axis=1)
        some = used[rows]
        offsets = np.where(some, node.offset[rows], MAX_INT64)
        offset = np.where(some.any(1), offsets.min(1), 0)
        shift = np.where(some, offsets - offset[:, None], 0)
        bins = node.mass.shape[1]
        width = min(int(shift.max(initial=0)) + bins, self._limit + 1)
        if width == bins == 1:
            mass = node.mass[rows, 0].sum(1)[:, None]
            return self._node(scope, shape, offset, mass, node.scale, left=node, axes=axes)
        mass = np.zeros((len(rows), width))
        for r, (sources, shifts) in enumerate(zip(rows.tolist(), shift.tolist(), strict=True)):
            for source, by in zip(sources, shifts, strict=True):
                if by < width:
                    mass[r, by : by + bins] += node.mass[source, : width - by]
        return self._node(scope, shape, offset, mass, node.scale, left=node, axes=axes)

    def _node(
        self,
        scope: Scope,
        shape: tuple[int, ...],
        offset: Array,
        mass: Array,
        scale: int,
        **made_of: object,
    ) -> GridNode:
        """A node without empty bins at its end, scaled by a power of two where that is needed:
        that is exact."""
        used = np.flatnonzero(mass.any(0))
        mass = mass[:, : int(used[-1]) + 1] if len(used) else mass[:, :1]
        exponent = frexp(float(mass.max()))[1]
        if abs(exponent) > 64:
            mass, scale = np.ldexp(mass, -exponent), scale + exponent
        return GridNode(scope, shape, offset, mass, scale, **made_of)  # type: ignore[arg-type]

    def _check(self, scope: Scope, rows: int, width: int) -> None:
        if rows * width > MAX_ENTRIES:
            names = [self._names[v] for v in scope]
            raise TooCoupled(names, rows * width, MAX_ENTRIES, "this resolution")


def round_to_bins(leaf: GridLeaf, unit: int) -> tuple[int, Array, Array]:
    """The least cost of a leaf, the bin of each cost from there on, and the rounding errors."""
    possible = leaf.weight > 0
    if not possible.any():
        return 0, np.zeros(leaf.cost.shape, np.int64), np.zeros_like(leaf.cost)
    base = int(leaf.cost[possible].min())
    apart = np.where(possible, leaf.cost - base, 0)
    bins = (apart + unit // 2) // unit
    # Costs can exceed 64 bits; the numbers of their bins do not.
    return base, bins.astype(np.int64), apart - bins * unit


def common_unit(leaves: list[GridLeaf]) -> int:
    """The greatest common divisor of all costs, counted from the least of each leaf."""
    unit = 0
    for leaf in leaves:
        possible = leaf.cost[leaf.weight > 0]
        if possible.size:
            unit = gcd(unit, int(np.gcd.reduce(possible - possible.min())))
    return max(unit, 1)


def _work(a: GridNode, b: GridNode) -> tuple[int, int, int]:
    """The order in which pairs of nodes are joined: rows of the result, then work of each."""
    rows = prod(_extents(a, b).values())
    return rows, a.mass.shape[1] * b.mass.shape[1], a.mass.shape[1]


def _extents(a: GridNode, b: GridNode) -> dict[int, int]:
    """The number of values of each variable of two nodes."""
    return dict(zip(a.scope + b.scope, a.shape + b.shape, strict=True))
