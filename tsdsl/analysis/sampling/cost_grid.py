"""The weight of all architectures by cost, on a grid, for each combination of what remains.

Elimination whose tables have one more axis: the cost so far, in multiples of a unit. Joining two
tables convolves that axis, summing out a variable adds up. Every number is a sum of products of
weights that are not negative, so that floats keep about 12 digits wherever they are.

Rounding happens once for each *leaf*: tables over the same variables are joined exactly first,
while that is small. How far all roundings together can move a cost is known (``error``): what
lies in a bin has a cost of ``base + unit * bin`` and something in between these two.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp, gcd, prod

import numpy as np

from tsdsl.analysis.costs.factors import MAX_INT64, Array
from tsdsl.analysis.elimination.bucket_tree import BucketTree, Scope
from tsdsl.analysis.elimination.optimum import arranged
from tsdsl.ir.ordering import TooCoupled

#: Entries of a leaf, in which costs are exact.
MAX_LEAF = 1 << 16
#: Entries of the largest table.
MAX_ENTRIES = 1 << 25


@dataclass(frozen=True, slots=True, eq=False)
class GridLeaf:
    """Tables over the same ``scope``, joined: exact costs [row, option] and weights."""

    scope: Scope
    shape: tuple[int, ...]
    cost: Array
    weight: Array
    #: The variables that an option decides, and how many values each has.
    decided: tuple[int, ...]
    sizes: tuple[int, ...]


@dataclass(slots=True, eq=False)
class GridNode:
    """``mass[row, bin]`` times 2 ** ``scale``, where the bin counts from ``offset[row]``."""

    scope: Scope
    shape: tuple[int, ...]
    offset: Array
    mass: Array
    scale: int
    #: What it is made of: a leaf with the bin of each option; two nodes; or one, with the
    #: variables that are summed out (their positions in its scope).
    leaf: tuple[GridLeaf, Array] | None = None
    left: GridNode | None = None
    right: GridNode | None = None
    axes: tuple[int, ...] = ()


def leaves(tree: BucketTree, weights: list[Array], cost: int, sign: int) -> list[GridLeaf]:
    """The potentials, without the variables that each has for itself, joined where that is
    small. ``weights`` has a table for each potential."""
    own = {step.inputs[0]: step for step in tree.steps[: _fronts(tree)]}
    single: list[GridLeaf] = []
    for number, potential in enumerate(tree.potentials):
        table = potential.costs[cost]
        costs = np.zeros(potential.shape, np.int64) if table is None else sign * table
        step = own.get(number)
        axes = step.axes if step else ()
        kept = [k for k in range(len(potential.shape)) if k not in axes]
        rows = tuple(potential.shape[k] for k in kept)
        apart = arranged(costs, axes, rows).reshape(prod(rows), -1)
        weight = arranged(weights[number], axes, rows).reshape(prod(rows), -1)
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
    """How many steps only take a potential's own variables."""
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
    """The weight of all architectures by cost. ``limit`` bins above the least are kept."""

    def __init__(
        self, tree: BucketTree, leaf: list[GridLeaf], unit: int, limit: int | None = None
    ) -> None:
        self.unit = unit
        self.base = 0
        #: Least and greatest difference between a cost and what its bin stands for.
        self.error = (0, 0)
        self._limit = limit if limit is not None else MAX_INT64
        self._names = [v.name for v in tree.space.variables]
        fronts = _fronts(tree)
        count = len(tree.potentials)
        waiting = [self._leaf(x) for x in leaf]
        sums: list[GridNode] = []
        for step in tree.steps[fronts:]:
            gone = {step.scope[k] for k in step.axes}
            held = [node for node in waiting if not gone or gone & set(node.scope)]
            waiting = [node for node in waiting if node not in held]
            joint = self._all(held)
            node = self._sum(joint, tuple(k for k, v in enumerate(joint.scope) if v in gone))
            waiting.append(node)
            sums.append(node)
        assert count and len(waiting) == 1
        self.root = waiting[0]

    def range(
        self, low: int, high: int, error: tuple[int, int] | None = None
    ) -> tuple[int, int, int, int]:
        """Bins of the root that can hold a cost in a window: the first, and one past the last;
        then those that hold nothing else."""
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
        base, bins, wrong = rounded(leaf, self.unit)
        self.base += base
        self.error = (
            self.error[0] + int(np.min(wrong, initial=0)),
            self.error[1] + int(np.max(wrong, initial=0)),
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

    def _all(self, held: list[GridNode]) -> GridNode:
        """Joined two by two, the smallest result first."""
        nodes = list(held)
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
        if a.mass.shape[1] < b.mass.shape[1]:
            a, b = b, a
        extents = {
            **dict(zip(a.scope, a.shape, strict=True)),
            **dict(zip(b.scope, b.shape, strict=True)),
        }
        scope = tuple(sorted(extents))
        shape = tuple(extents[v] for v in scope)
        width = min(a.mass.shape[1] + b.mass.shape[1] - 1, self._limit + 1)
        self._check(scope, prod(shape), width)
        left, right = _spread(a, scope, shape), _spread(b, scope, shape)
        offset = a.offset[left] + b.offset[right]
        if b.mass.shape[1] == 1:
            mass = a.mass[left] * b.mass[right]
        else:
            mass = np.zeros((prod(shape), width))
            for row, (i, j) in enumerate(zip(left.tolist(), right.tolist(), strict=True)):
                mass[row] = np.convolve(a.mass[i], b.mass[j])[:width]
        return self._node(scope, shape, offset, mass, a.scale + b.scale, left=a, right=b)

    def _sum(self, node: GridNode, axes: tuple[int, ...]) -> GridNode:
        if not axes:
            return node
        scope = tuple(v for k, v in enumerate(node.scope) if k not in axes)
        shape = tuple(n for k, n in enumerate(node.shape) if k not in axes)
        rows = arranged(np.arange(prod(node.shape)).reshape(node.shape), axes, shape)
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
        """Scaled by a power of two, which is exact; without bins at the end that hold nothing."""
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


def rounded(leaf: GridLeaf, unit: int) -> tuple[int, Array, Array]:
    """The least cost of a leaf, the bin of each cost from there on, and what that is off by."""
    possible = leaf.weight > 0
    if not possible.any():
        return 0, np.zeros(leaf.cost.shape, np.int64), np.zeros_like(leaf.cost)
    base = int(leaf.cost[possible].min())
    apart = np.where(possible, leaf.cost - base, 0)
    bins = (apart + unit // 2) // unit
    # Costs beyond 64 bits have bins within.
    return base, bins.astype(np.int64), apart - bins * unit


def finest(leaf: list[GridLeaf]) -> int:
    """A unit that all costs are multiples of, beyond the least of each leaf."""
    unit = 0
    for x in leaf:
        possible = x.cost[x.weight > 0]
        if possible.size:
            unit = gcd(unit, int(np.gcd.reduce(possible - possible.min())))
    return max(unit, 1)


def _work(a: GridNode, b: GridNode) -> tuple[int, int, int]:
    shapes = {
        **dict(zip(a.scope, a.shape, strict=True)),
        **dict(zip(b.scope, b.shape, strict=True)),
    }
    rows = prod(shapes.values())
    return rows, a.mass.shape[1] * b.mass.shape[1], a.mass.shape[1]


def _extents(a: GridNode, b: GridNode) -> dict[int, int]:
    """How many values each variable of two nodes has."""
    return dict(zip(a.scope + b.scope, a.shape + b.shape, strict=True))


def _spread(node: GridNode, scope: Scope, shape: tuple[int, ...]) -> Array:
    """The node's row for each row of a wider scope."""
    view = [n if v in node.scope else 1 for v, n in zip(scope, shape, strict=True)]
    rows = np.arange(prod(node.shape)).reshape(view)
    return np.broadcast_to(rows, shape).reshape(-1)
