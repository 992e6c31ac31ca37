"""Draws within windows so narrow that a grid hardly ever hits them.

A part of the space, with few enough combinations to know the exact costs of all of them, is left
out of the grid. What the rest costs then says exactly which of these combinations end inside. The
rest is drawn from a grid in which the part has, for each bin, the greatest weight that can end
inside from there; accepted in proportion to the weight that does end inside from where it exactly
is; and completed by one of these combinations, by weight. So a draw is accepted by how many
combinations fit rather than by whether one does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import numpy as np

from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.elimination.optimum import arranged, unravel
from tsdsl.analysis.sampling.backward_sampling import BackwardSampler, Random, decide, row_of
from tsdsl.analysis.sampling.cost_grid import CostGrid, GridLeaf, GridNode, finest, leaves, rounded
from tsdsl.analysis.sampling.window_sampler import WindowSampler

#: Combinations of different cost that a part has at most, all rows together, before and after
#: those of equal cost are one.
MAX_JOINED = 1 << 22
MAX_POINTS = 1 << 21
#: Combinations that are looked at together.
CELLS = 1 << 20
#: Costs (together, in their units) below this fit into one integer.
MAX_KEY = 1 << 62


class WeightedKeys(NamedTuple):
    """What a node can cost and how much weight has that: for each row, keys in order."""

    keys: list[Array]
    weights: list[Array]

    @property
    def size(self) -> int:
        return sum(map(len, self.keys))


@dataclass(slots=True, eq=False)
class _Costs:
    """Several costs as one integer: the first is resolved by the grid, as its sign has it. Each is
    counted in its own unit from the least of a leaf on."""

    #: For each cost, the tables of the leaves; how many leaves there are.
    tables: list[list[GridLeaf]]
    units: list[int]
    strides: list[int]

    def keys(self, k: int) -> Array:
        """Of each option of a leaf, [row, option]."""
        joint: Array = np.zeros(self.tables[0][k].cost.shape, np.int64)
        for table, unit, stride in zip(self.tables, self.units, self.strides, strict=True):
            base = self.base(table[k])
            apart = np.where(table[k].weight > 0, table[k].cost - base, 0) // unit
            joint += apart.astype(np.int64) * stride
        return joint

    @staticmethod
    def base(leaf: GridLeaf) -> int:
        """The least cost of a leaf."""
        possible = leaf.cost[leaf.weight > 0]
        return int(possible.min()) if possible.size else 0

    def split(self, key: Array) -> list[Array]:
        """Each cost, in units."""
        found: list[Array] = []
        for stride in self.strides:
            at, key = np.divmod(key, stride)
            found.append(at)
        return found


class NoPart(Exception):
    """No part of the space can be left out of the grid, so that it could be completed."""


class MeetInTheMiddleSampler:
    """As `WindowSampler`, whose grid it takes. Raises `NoPart`, `TooCoupled`."""

    def __init__(self, inside: WindowSampler) -> None:
        self._inside = inside
        first = inside.first
        order = [first, *(k for k in range(len(inside.costs)) if k != first)]
        costs = _costs(inside, order) or _costs(inside, order[:1])
        if costs is None:
            raise NoPart("costs are too large")
        self._costs = costs
        order = order[: len(costs.units)]
        signs = [inside.sign, *(1 for _ in order[1:])]
        self._windows = [
            (least, most) if sign > 0 else (-most, -least)
            for sign, (least, most) in zip(signs, (inside.windows[k] for k in order), strict=True)
        ]
        self._rates = [inside.rates[k] for k in order]
        #: How far the rest's costs are from what its bin says of them.
        self._vague = [8.0 * inside.grid.unit, *(2 * inside.deviations[k] for k in order[1:])]
        self._number = {id(leaf): k for k, leaf in enumerate(inside.leaf)}
        self._points: dict[int, WeightedKeys] = {}
        self._part = self._best()
        mine = set(_leaves_of(self._part))
        self._others = [k for k, leaf in enumerate(inside.leaf) if id(leaf) not in mine]
        self._bases = [sum(costs.base(leaf) for leaf in table) for table in costs.tables]
        self._flatten()
        self._regrid()
        self.drawn = self.accepted = self._looked = 0

    @property
    def rate(self) -> float:
        """As that of `WindowSampler`: combinations that are looked at take time too."""
        return self.accepted / (self.drawn + self._looked / 1000) if self.drawn else 0.0

    def draw(self, random: Random, n: int) -> Array:
        """Those of ``n`` draws that are accepted: assignments [draw, variable]."""
        at = self._drawer.draw(random, n)
        part = self._part
        rows = row_of(part.scope, part.shape, at)
        ceiling = self._ceiling[rows, self._drawer.left_over]
        rests = self._rest(at)
        kept, keys = self._accepted(rows, rests, ceiling, random)
        at = at[kept]
        _Completion(self._points, self._costs, self._number, at, random).down(part, keys)
        at = self._inside.check_exact(at, len(self._windows), random)
        self.drawn += n
        self.accepted += len(at)
        return at

    def _best(self) -> GridNode:
        """The part: a node that is not all, of those whose points are known the one whose weight
        is densest, compared to what a window holds at most."""
        grid = self._inside.grid
        self._collect(grid.root)
        best: tuple[float, GridNode] | None = None
        for node in _nodes(grid.root):
            points = self._points.get(id(node))
            if points is None or node is grid.root or not points.size:
                continue
            densities = [
                float(weights.sum() / weights.max()) * self._share(keys)
                for keys, weights in zip(points.keys, points.weights, strict=True)
                if len(keys)
            ]
            density = sum(densities) / len(densities)
            if best is None or density > best[0]:
                best = density, node
        if best is None:
            raise NoPart("no part of this space is small enough")
        return best[1]

    def _share(self, keys: Array) -> float:
        """How much of what all costs of a row spread over one window is, about: the part's own
        range, and what is not known of the rest."""
        found = 1.0
        for at, (least, most), unit, vague in zip(
            self._costs.split(keys), self._windows, self._costs.units, self._vague, strict=True
        ):
            width = (most - least) // unit + 1
            found *= min(width / (int(at.max() - at.min()) + 1 + vague / unit), 1.0)
        return found

    def _collect(self, node: GridNode) -> WeightedKeys | None:
        """The points of a node and of all below it, where they are few enough."""
        found: WeightedKeys | None
        if node.leaf is not None:
            leaf = node.leaf[0]
            keys = self._costs.keys(self._number[id(leaf)])
            found = _rows([(k[w > 0], w[w > 0]) for k, w in zip(keys, leaf.weight, strict=True)])
        elif node.right is not None and node.left is not None:
            left, right = self._collect(node.left), self._collect(node.right)
            found = self._joined(node, node.left, left, node.right, right)
        elif node.left is not None:
            below = self._collect(node.left)
            found = None if below is None else self._summed(node, node.left, below)
        else:
            found = WeightedKeys([np.zeros(1, np.int64)], [np.ones(1)])
        if found is not None and found.size <= MAX_POINTS:
            self._points[id(node)] = found
            return found
        return None

    def _joined(
        self,
        node: GridNode,
        a: GridNode,
        left: WeightedKeys | None,
        b: GridNode,
        right: WeightedKeys | None,
    ) -> WeightedKeys | None:
        if left is None or right is None:
            return None
        ways = list(zip(_spread(a, node), _spread(b, node), strict=True))
        if sum(len(left.keys[i]) * len(right.keys[j]) for i, j in ways) > MAX_JOINED:
            return None
        return _rows(
            [
                (
                    (left.keys[i][:, None] + right.keys[j]).reshape(-1),
                    (left.weights[i][:, None] * right.weights[j]).reshape(-1),
                )
                for i, j in ways
            ]
        )

    def _summed(self, node: GridNode, below: GridNode, points: WeightedKeys) -> WeightedKeys | None:
        ways = _sources(node, below).tolist()
        if sum(len(points.keys[k]) for row in ways for k in row) > MAX_JOINED:
            return None
        return _rows(
            [
                (
                    np.concatenate([points.keys[k] for k in row]),
                    np.concatenate([points.weights[k] for k in row]),
                )
                for row in ways
            ]
        )

    def _flatten(self) -> None:
        """The points of the part in a row, by row and first cost."""
        points = self._points[id(self._part)]
        sizes = [len(keys) for keys in points.keys]
        self._keys = np.concatenate(points.keys)
        self._weights = np.concatenate(points.weights)
        self._at = self._costs.split(self._keys)
        self._span = int(self._at[0].max()) + 1
        self._row = np.repeat(np.arange(len(sizes)), sizes)
        self._order = self._row * self._span + self._at[0]

    def _regrid(self) -> None:
        """The grid, with the greatest weight that can end inside in place of the part."""
        inside = self._inside
        grid, unit, rows = inside.grid, inside.grid.unit, len(self._part.mass)
        low = high = 0
        for k in self._others:
            wrong = rounded(inside.leaf[k], unit)[2]
            low, high = low + int(wrong.min(initial=0)), high + int(wrong.max(initial=0))
        least, most = self._windows[0]
        total, over = divmod(least - self._bases[0], unit)
        fine = self._costs.units[0]
        start = (low - (most - least)) // unit - 2
        end = (self._span * fine + high) // unit + 2
        bins = np.arange(start, end + 1) * unit + over
        # Where the first cost of the part can begin, for a rest in each bin.
        first, last = (bins - high) // fine, -((low - bins) // fine)
        self._ceiling = np.zeros((rows, len(bins)))
        where, held = self._greatest()
        width = (most - least) // fine
        for row in range(rows):
            a, b = np.searchsorted(where, (row * self._span, (row + 1) * self._span))
            if a == b:
                continue
            begin = np.searchsorted(where[a:b], row * self._span + first)
            # What a window holds, one holds too that begins at the first point of it; of one cost,
            # that is the next one in order.
            stop = np.searchsorted(where[a:b], row * self._span + last + width, side="right")
            if len(self._at) == 1:
                after = np.searchsorted(where[a:b], row * self._span + last, side="right") + 1
                stop = np.minimum(stop, after)
            stop = np.maximum(stop, begin)
            tops = np.concatenate([held[a:b], [0.0]])
            pairs = np.stack([begin, stop], 1).reshape(-1)
            found = np.maximum.reduceat(tops, pairs)[::2]
            self._ceiling[row] = np.where(stop > begin, found, 0.0)
        made = _RegrownGrid(grid, total - start + 1)
        part = self._part
        stub = GridNode(part.scope, part.shape, np.full(rows, start), self._ceiling, 0)
        root = made.replaced(grid.root, part, stub)
        at = total - int(root.offset[0])
        if not 0 <= at < root.mass.shape[1] or not root.mass[0, at]:
            raise NoPart("nothing ends inside")
        self._drawer = BackwardSampler(root, len(inside.tree.sizes), at, at + 1)

    def _greatest(self) -> tuple[Array, Array]:
        """Where windows can begin (by row and first cost, in order), and no less than the weight
        that one which begins there can hold. Other costs count in cells: a window touches a few,
        wherever it begins."""
        cells: list[Array] = [self._row]
        taken = np.arange(len(self._keys))
        for at, (least, most), unit in zip(
            self._at[1:], self._windows[1:], self._costs.units[1:], strict=True
        ):
            width = (most - least) // unit
            cell = max((width + 2) // 2, 1)
            touched = (width + cell - 1) // cell + 1
            cells = [np.tile(c, touched) for c in cells]
            cells.append(np.concatenate([at[taken] // cell - k for k in range(touched)]))
            taken = np.tile(taken, touched)
        order = np.lexsort([self._at[0][taken], *cells[::-1]])
        taken, cells = taken[order], [c[order] for c in cells]
        new: Array = np.zeros(len(taken), np.int64)
        for c in cells:
            new[1:] |= np.diff(c) != 0
        group = np.cumsum(new)
        place = group * self._span + self._at[0][taken]
        least, most = self._windows[0]
        width = (most - least) // self._costs.units[0]
        width = min(width, self._span)
        last = (self._span - 1) - self._at[0][taken]
        stop = np.searchsorted(place, place + np.minimum(width, last), side="right")
        sums = np.concatenate([[0.0], np.cumsum(self._weights[taken])])
        held = (sums[stop] - sums[:-1]) * (1 + 1e-12) + sums[-1] * 1e-15
        where = self._order[taken]
        order = np.argsort(where, kind="stable")
        return where[order], held[order]

    def _rest(self, at: Array) -> list[Array]:
        """The costs of all but the part, each in its own units: how far the window's ends are
        from there, for the part."""
        found = [np.zeros(len(at), table[0].cost.dtype) for table in self._costs.tables]
        for k in self._others:
            leaf = self._inside.leaf[k]
            row = row_of(leaf.scope, leaf.shape, at)
            option = row_of(leaf.decided, leaf.sizes, at)
            for cost, table in zip(found, self._costs.tables, strict=True):
                cost += table[k].cost[row, option] - self._costs.base(table[k])
        return found

    def _accepted(
        self, rows: Array, rests: Sequence[Array], ceiling: Array, random: Random
    ) -> tuple[Array, Array]:
        """Which draws are accepted, and the keys that complete them."""
        low, high = [], []
        for rest, base, (least, most), unit in zip(
            rests, self._bases, self._windows, self._costs.units, strict=True
        ):
            low.append(-((rest + base - least) // unit))
            high.append((most - base - rest) // unit)
        begin = rows * self._span + np.clip(low[0], 0, self._span)
        stop = rows * self._span + np.clip(high[0], -1, self._span - 1)
        start = np.searchsorted(self._order, begin)
        count = np.searchsorted(self._order, stop, side="right") - start
        count = np.maximum(count, 0)
        luck = random.random(len(rows)) * ceiling
        kept: list[Array] = []
        keys: list[Array] = []
        sums = np.cumsum(count)
        self._looked += int(sums[-1])
        done = 0
        while done < len(rows):
            before = int(sums[done - 1]) if done else 0
            end = max(int(np.searchsorted(sums, before + CELLS, side="right")), done + 1)
            part = slice(done, end)
            draw = np.repeat(np.arange(done, end), count[part])
            point = np.arange(len(draw)) - np.repeat(sums[part] - count[part] - before, count[part])
            point += start[draw]
            power: Array = np.zeros(len(draw))
            fits: Array = np.ones(len(draw), np.bool_)
            for k in range(1, len(low)):
                mine = self._at[k][point]
                fits &= (mine >= low[k][draw]) & (mine <= high[k][draw])
                if self._rates[k]:
                    edge = high[k] if self._rates[k] > 0 else low[k]
                    apart = (mine - edge[draw]).astype(np.float64)
                    power += self._rates[k] * self._costs.units[k] * apart
            draw, point, power = draw[fits], point[fits], power[fits]
            weight = self._weights[point] * np.exp(power)
            held = np.bincount(draw - done, weight, end - done)
            good = luck[part] < held
            chosen = good[draw - done]
            draw, point, weight = draw[chosen], point[chosen], weight[chosen]
            picked = _race(draw, weight, random)
            kept.append(draw[picked])
            keys.append(self._keys[point[picked]])
            done = end
        return np.concatenate(kept), np.concatenate(keys)


class _Completion:
    """Sets the variables of a part, given its key: down through what it is made of, in
    proportion."""

    def __init__(
        self,
        points: dict[int, WeightedKeys],
        costs: _Costs,
        number: dict[int, int],
        at: Array,
        random: Random,
    ) -> None:
        self._points = points
        self._costs = costs
        self._number = number
        self._at = at
        self._random = random

    def down(self, node: GridNode, keys: Array) -> None:
        if not len(keys):
            return
        if node.leaf is not None:
            self._leaf(node.leaf[0], keys)
        elif node.right is not None and node.left is not None:
            taken = self._shared(node.left, node.right, keys)
            self.down(node.left, taken)
            self.down(node.right, keys - taken)
        elif node.left is not None:
            self._chosen(node, node.left, keys)
            self.down(node.left, keys)

    def _leaf(self, leaf: GridLeaf, keys: Array) -> None:
        if not leaf.decided:
            return
        table = self._costs.keys(self._number[id(leaf)])
        rows = row_of(leaf.scope, leaf.shape, self._at)
        options: Array = np.zeros(len(keys), np.int64)
        step = max(CELLS // table.shape[1], 1)
        for start in range(0, len(keys), step):
            part = slice(start, start + step)
            mine = rows[part]
            weight = np.where(table[mine] == keys[part, None], leaf.weight[mine], 0.0)
            draw, option = np.nonzero(weight)
            options[part] = option[_race(draw, weight[draw, option], self._random)]
        decide(leaf, options, self._at)

    def _shared(self, left: GridNode, right: GridNode, keys: Array) -> Array:
        """What the left one of two has of each key."""
        a, b = self._points[id(left)], self._points[id(right)]
        taken = np.zeros_like(keys)
        rows = row_of(left.scope, left.shape, self._at).tolist()
        others = row_of(right.scope, right.shape, self._at).tolist()
        for k, (key, i, j) in enumerate(zip(keys.tolist(), rows, others, strict=True)):
            mine, theirs = a.keys[i], b.keys[j]
            if len(mine) <= len(theirs):
                weight = a.weights[i] * _weights_at(theirs, b.weights[j], key - mine)
                taken[k] = mine[_one(weight, self._random)]
            else:
                weight = b.weights[j] * _weights_at(mine, a.weights[i], key - theirs)
                taken[k] = key - theirs[_one(weight, self._random)]
        return taken

    def _chosen(self, node: GridNode, below: GridNode, keys: Array) -> None:
        """The variables that a node sums out."""
        points, sources = self._points[id(below)], _sources(node, below)
        rows = row_of(node.scope, node.shape, self._at).tolist()
        variables = [below.scope[axis] for axis in node.axes]
        for k, (key, row) in enumerate(zip(keys.tolist(), rows, strict=True)):
            weight = np.array(
                [
                    _weights_at(points.keys[s], points.weights[s], np.array([key]))[0]
                    for s in sources[row].tolist()
                ]
            )
            options = unravel(_one(weight, self._random), below.shape, node.axes)
            self._at[k, variables] = options


class _RegrownGrid(CostGrid):
    """A resolved tree with one node in place of another."""

    def __init__(self, grid: CostGrid, limit: int) -> None:
        self._names = grid._names
        self._limit = max(limit, grid._limit)

    def replaced(self, node: GridNode, old: GridNode, new: GridNode) -> GridNode:
        """A node of the tree, made anew where it has the one that is replaced."""
        if node is old:
            return new
        if node.left is None or not any(n is old for n in _nodes(node)):
            return node
        if node.right is None:
            return self._sum(self.replaced(node.left, old, new), node.axes)
        left, right = (self.replaced(n, old, new) for n in (node.left, node.right))
        return self._join(left, right)


def _costs(inside: WindowSampler, order: Sequence[int]) -> _Costs | None:
    """Some costs as one; None where they do not fit."""
    tables: list[list[GridLeaf]] = []
    for k in order:
        if k == inside.first:
            tables.append(inside.leaf)
        else:
            tables.append(leaves(inside.tree, inside.weights, k, 1))
    units = [finest(table) for table in tables]
    ranges = []
    for table, unit in zip(tables, units, strict=True):
        span = 0
        for leaf in table:
            possible = leaf.cost[leaf.weight > 0]
            span += int(possible.max() - possible.min()) if possible.size else 0
        ranges.append(span // unit + 1)
    if prod(ranges) >= MAX_KEY:
        return None
    return _Costs(tables, units, [prod(ranges[k + 1 :]) for k in range(len(ranges))])


def _rows(rows: list[tuple[Array, Array]]) -> WeightedKeys:
    """WeightedKeys, those of equal keys together."""
    keys: list[Array] = []
    weights: list[Array] = []
    for key, weight in rows:
        unique, at = np.unique(key, return_inverse=True)
        keys.append(unique)
        weights.append(np.bincount(at, weight, len(unique)))
    return WeightedKeys(keys, weights)


def _nodes(node: GridNode) -> list[GridNode]:
    """A node and all below it."""
    found = [node]
    for below in (node.left, node.right):
        found += _nodes(below) if below is not None else []
    return found


def _leaves_of(node: GridNode) -> list[int]:
    return [id(n.leaf[0]) for n in _nodes(node) if n.leaf is not None]


def _spread(node: GridNode, wide: GridNode) -> list[int]:
    """The node's row for each row of a wider one."""
    view = [n if v in node.scope else 1 for v, n in zip(wide.scope, wide.shape, strict=True)]
    rows = np.arange(prod(node.shape)).reshape(view)
    found: list[int] = np.broadcast_to(rows, wide.shape).reshape(-1).tolist()
    return found


def _sources(node: GridNode, below: GridNode) -> Array:
    """For each row of a node, the rows that it sums, by the option of what is summed out."""
    rows = np.arange(len(below.mass)).reshape(below.shape)
    return arranged(rows, node.axes, node.shape).reshape(len(node.mass), -1)


def _weights_at(keys: Array, weights: Array, wanted: Array) -> Array:
    """The weight at some keys, 0 where there is none."""
    if not len(keys):
        return np.zeros(len(wanted))
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, weights[at], 0.0)


def _one(weight: Array, random: Random) -> int:
    """A position, by weight."""
    sums = np.cumsum(weight)
    at = int(np.searchsorted(sums, random.random() * sums[-1], side="right"))
    return min(at, int(np.searchsorted(sums, sums[-1])))


def _race(group: Array, weight: Array, random: Random) -> Array:
    """One position of each group (equal ones stand together), by weight: the first to arrive, if
    each arrives at the rate of its weight."""
    if not len(group):
        return np.zeros(0, np.int64)
    arrival = -np.log1p(-random.random(len(group))) / weight
    starts = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
    order = np.lexsort([arrival, group])
    return np.asarray(order[starts])
