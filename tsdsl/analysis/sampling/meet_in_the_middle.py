"""Rejection sampling within windows that are much narrower than a bin of the grid, by meeting in
the middle (E. Horowitz, S. Sahni, Computing partitions with applications to the knapsack problem,
J. ACM 21, 1974: all sums of one half are listed in order, and looked up by what the other half
leaves).

An architecture is x = (y, z): z are the options of a small subtree of the grid (its *part*), all of
whose total costs are known exactly (`subtree_keys`), y everything else. The weight factorises, and
costs add up:

    w(x) = w(y) w(z | r(y)),    cost_k(x) = rest_k(y) + part_k(z, r(y)),

where r(y), the *row*, is the combination of the variables that y and z share. Given y, what may
follow has the weight

    W(y) = sum of w(z | r) * t(y, z)  over all z with  low_k <= rest_k(y) + part_k(z, r) <= high_k
                                      for every cost k,
    t(y, z) = product over k of exp(rate_k * (cost_k(x) - edge_k)) <= 1,

where w is tilted by exp(-rate_k * cost_k) (see `tilted`), and edge_k is the end of the window at
which t is greatest. In the grid, bin b of the rest's first cost in row r has a *ceiling*

    C(r, b) >= W(y)    for every y in row r whose rest_0(y) lies in bin b.

A draw takes y from the grid in proportion to w(y) C(r, b), accepts it if

    u * C(r, b) < W(y),    u uniform on [0, 1),

and takes z in proportion to w(z | r) t(y, z). So x comes with probability proportional to
w(y) C * (W / C) * w(z) t / W = w(x) t(y, z), which undoes the tilt: the distribution is exact, and
the ceiling only decides how many draws are accepted. Costs that do not fit into one key are checked
at the end, as in `window_sampler`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.elimination.table_rows import row_of
from tsdsl.analysis.sampling.backward_sampling import BackwardSampler, Random
from tsdsl.analysis.sampling.completion import Completion, pick_by_race
from tsdsl.analysis.sampling.cost_grid import CostGrid, GridNode, round_to_bins
from tsdsl.analysis.sampling.subtree_keys import CostKeys, SubtreeKeys
from tsdsl.analysis.sampling.window_sampler import WindowSampler

#: Pairs of a draw and a key that are looked at together.
CELLS = 1 << 20
#: Keys that are looked at cost as much time as one draw.
KEYS_PER_DRAW = 1000


class MeetInTheMiddleSampler:
    """Draws from the distribution and the windows of a `WindowSampler`, whose grid it reuses."""

    def __init__(self, sampler: WindowSampler, costs: CostKeys, order: Sequence[int]) -> None:
        """``order`` has the numbers of the costs in ``costs``. Use `of`."""
        self._sampler = sampler
        self._costs = costs
        signs = [sampler.sign, *(1 for _ in order[1:])]
        #: The window of each cost, with the sign that its keys have.
        self._windows = [
            (least, most) if sign > 0 else (-most, -least)
            for sign, (least, most) in zip(signs, (sampler.windows[k] for k in order), strict=True)
        ]
        self._rates = [sampler.rates[k] for k in order]
        #: About how far the rest's costs are from what its bin says of them.
        self._vague = [8.0 * sampler.grid.unit, *(2 * sampler.deviations[k] for k in order[1:])]
        #: The least cost of all leaves together, from which keys count.
        self._bases = [sum(costs.least(leaf) for leaf in table) for table in costs.tables]
        self._subtrees = SubtreeKeys(costs, sampler.grid.root)
        self.drawn = self.accepted = self._looked = 0

    @classmethod
    def of(cls, sampler: WindowSampler) -> MeetInTheMiddleSampler | None:
        """None where not even the grid's cost fits into a key, where no subtree is small enough,
        or where none of its combinations ends inside. Raises `TooCoupled`."""
        first = sampler.first
        others = [k for k in range(len(sampler.costs)) if k != first]
        tree, weights, leaves = sampler.tree, sampler.weights, sampler.leaves
        costs = CostKeys.of(tree, weights, leaves, others)
        if costs is None:
            others = []
            costs = CostKeys.of(tree, weights, leaves, others)
        if costs is None:
            return None
        meeting = cls(sampler, costs, [first, *others])
        part = meeting._densest_part()
        if part is None:
            return None
        meeting._set_part(part)
        return meeting if meeting._regrid() else None

    @property
    def rate(self) -> float:
        """Accepted draws per draw, where every `KEYS_PER_DRAW` keys that are looked at count as
        one more draw: comparable with `WindowSampler.rate`."""
        work = self.drawn + self._looked / KEYS_PER_DRAW
        return self.accepted / work if self.drawn else 0.0

    def draw(self, random: Random, n: int) -> Array:
        """Those of ``n`` draws that are accepted: assignments [draw, variable]."""
        at = self._backward.draw(random, n)
        part = self._part
        rows = row_of(part.scope, part.shape, at)
        ceiling = self._ceiling[rows, self._backward.left_over]
        kept, keys = self._accepted(rows, self._rest(at), ceiling, random)
        at = at[kept]
        Completion(self._subtrees, at, random).descend(part, keys)
        at = self._sampler.check_exact(at, len(self._windows), random)
        self.drawn += n
        self.accepted += len(at)
        return at

    # ------------------------------------------------------------ the part and its ceilings

    def _densest_part(self) -> GridNode | None:
        """Choose the subtree to complete: of the listed ones that are not the whole tree, the one
        with the most weight per window width."""
        root = self._sampler.grid.root
        best: tuple[float, GridNode] | None = None
        for node in root.nodes():
            listed = self._subtrees.get(node)
            if listed is None or node is root or not listed.size:
                continue
            densities = [
                float(weights.sum() / weights.max()) * self._window_share(keys)
                for keys, weights in zip(listed.keys, listed.weights, strict=True)
                if len(keys)
            ]
            density = sum(densities) / len(densities)
            if best is None or density > best[0]:
                best = density, node
        return best[1] if best else None

    def _window_share(self, keys: Array) -> float:
        """About which share of a row's costs one window covers: they spread over the row's own
        range, and over what is not known of the rest."""
        share = 1.0
        for cost, (least, most), unit, vague in zip(
            self._costs.split(keys), self._windows, self._costs.units, self._vague, strict=True
        ):
            width = (most - least) // unit + 1
            share *= min(width / (int(cost.max() - cost.min()) + 1 + vague / unit), 1.0)
        return share

    def _set_part(self, part: GridNode) -> None:
        leaves = self._sampler.leaves
        inside = {id(node.leaf[0]) for node in part.nodes() if node.leaf is not None}
        #: The leaves outside of the part, by number.
        self._others = [k for k, leaf in enumerate(leaves) if id(leaf) not in inside]
        self._part = part
        self._flatten()

    def _flatten(self) -> None:
        """The keys of all rows of the part in one array, by row and first cost."""
        listed = self._subtrees[self._part]
        sizes = [len(keys) for keys in listed.keys]
        self._keys = np.concatenate(listed.keys)
        self._weights = np.concatenate(listed.weights)
        self._key_costs = self._costs.split(self._keys)
        #: Number of values of the part's first cost: a place is row * span + first cost.
        self._span = int(self._key_costs[0].max()) + 1
        self._row = np.repeat(np.arange(len(sizes)), sizes)
        self._place = self._row * self._span + self._key_costs[0]

    def _regrid(self) -> bool:
        """Compute C(r, b), and the grid with C in place of the part; False where nothing ends
        inside."""
        sampler = self._sampler
        grid, unit, rows = sampler.grid, sampler.grid.unit, len(self._part.mass)
        #: Least and greatest rounding error of the rest's first cost.
        low = high = 0
        for k in self._others:
            error = round_to_bins(sampler.leaves[k], unit)[2]
            low, high = low + int(error.min(initial=0)), high + int(error.max(initial=0))
        least, most = self._windows[0]
        total, over = divmod(least - self._bases[0], unit)
        fine = self._costs.units[0]
        start = (low - (most - least)) // unit - 2
        end = (self._span * fine + high) // unit + 2
        bins = np.arange(start, end + 1) * unit + over
        # Where the first cost of the part can begin, for a rest in each bin.
        first, last = (bins - high) // fine, -((low - bins) // fine)
        self._ceiling = np.zeros((rows, len(bins)))
        places, heaviest = self._heaviest_windows()
        width = (most - least) // fine
        for row in range(rows):
            a, b = np.searchsorted(places, (row * self._span, (row + 1) * self._span))
            if a == b:
                continue
            begin = np.searchsorted(places[a:b], row * self._span + first)
            # A window that begins between two keys contains no more than the one that begins at
            # the next key; of one cost, that is the next one in order.
            stop = np.searchsorted(places[a:b], row * self._span + last + width, side="right")
            if len(self._key_costs) == 1:
                after = np.searchsorted(places[a:b], row * self._span + last, side="right") + 1
                stop = np.minimum(stop, after)
            stop = np.maximum(stop, begin)
            padded = np.concatenate([heaviest[a:b], [0.0]])
            ranges = np.stack([begin, stop], 1).reshape(-1)
            greatest = np.maximum.reduceat(padded, ranges)[::2]
            self._ceiling[row] = np.where(stop > begin, greatest, 0.0)
        part = self._part
        stub = GridNode(part.scope, part.shape, np.full(rows, start), self._ceiling, 0)
        root = _RegrownGrid(grid, total - start + 1).replaced(grid.root, part, stub)
        at = total - int(root.offset[0])
        if not 0 <= at < root.mass.shape[1] or not root.mass[0, at]:
            return False
        self._backward = BackwardSampler(root, len(sampler.tree.sizes), at, at + 1)
        return True

    def _heaviest_windows(self) -> tuple[Array, Array]:
        """The places (row and first cost, ascending) at which a window can begin, and for each an
        upper bound of the weight of a window that begins there. Other costs than the first are
        divided into cells of half a window: a window touches few of them, wherever it begins."""
        cells: list[Array] = [self._row]
        taken = np.arange(len(self._keys))
        for cost, (least, most), unit in zip(
            self._key_costs[1:], self._windows[1:], self._costs.units[1:], strict=True
        ):
            width = (most - least) // unit
            cell = max((width + 2) // 2, 1)
            touched = (width + cell - 1) // cell + 1
            cells = [np.tile(c, touched) for c in cells]
            cells.append(np.concatenate([cost[taken] // cell - k for k in range(touched)]))
            taken = np.tile(taken, touched)
        first_cost = self._key_costs[0]
        order = np.lexsort([first_cost[taken], *cells[::-1]])
        taken, cells = taken[order], [c[order] for c in cells]
        new: Array = np.zeros(len(taken), np.int64)
        for c in cells:
            new[1:] |= np.diff(c) != 0
        group = np.cumsum(new)
        place = group * self._span + first_cost[taken]
        least, most = self._windows[0]
        width = (most - least) // self._costs.units[0]
        width = min(width, self._span)
        last = (self._span - 1) - first_cost[taken]
        stop = np.searchsorted(place, place + np.minimum(width, last), side="right")
        sums = np.concatenate([[0.0], np.cumsum(self._weights[taken])])
        # A little more, so that rounding of the sums does not make it less than the true weight.
        weight = (sums[stop] - sums[:-1]) * (1 + 1e-12) + sums[-1] * 1e-15
        places = self._place[taken]
        order = np.argsort(places, kind="stable")
        return places[order], weight[order]

    # ------------------------------------------------------------ draws

    def _rest(self, at: Array) -> list[Array]:
        """rest_k(y) of each draw, from the least cost of the leaves outside of the part on."""
        rests = [np.zeros(len(at), table[0].cost.dtype) for table in self._costs.tables]
        for k in self._others:
            leaf = self._sampler.leaves[k]
            row = row_of(leaf.scope, leaf.shape, at)
            option = row_of(leaf.decided, leaf.sizes, at)
            for cost, table in zip(rests, self._costs.tables, strict=True):
                cost += table[k].cost[row, option] - self._costs.least(table[k])
        return rests

    def _accepted(
        self, rows: Array, rests: Sequence[Array], ceiling: Array, random: Random
    ) -> tuple[Array, Array]:
        """The numbers of the draws y with u * C < W(y), and for each the key of its z."""
        # The window of each cost, less the rest: where the part's costs have to be, in units.
        low, high = [], []
        for rest, base, (least, most), unit in zip(
            rests, self._bases, self._windows, self._costs.units, strict=True
        ):
            low.append(-((rest + base - least) // unit))
            high.append((most - base - rest) // unit)
        begin = rows * self._span + np.clip(low[0], 0, self._span)
        stop = rows * self._span + np.clip(high[0], -1, self._span - 1)
        start = np.searchsorted(self._place, begin)
        count = np.searchsorted(self._place, stop, side="right") - start
        count = np.maximum(count, 0)
        threshold = random.random(len(rows)) * ceiling
        kept: list[Array] = []
        keys: list[Array] = []
        sums = np.cumsum(count)
        self._looked += int(sums[-1])
        done = 0
        while done < len(rows):
            before = int(sums[done - 1]) if done else 0
            end = max(int(np.searchsorted(sums, before + CELLS, side="right")), done + 1)
            part = slice(done, end)
            # Every pair of a draw and a key whose first cost ends inside.
            draw = np.repeat(np.arange(done, end), count[part])
            key = np.arange(len(draw)) - np.repeat(sums[part] - count[part] - before, count[part])
            key += start[draw]
            power: Array = np.zeros(len(draw))
            fits: Array = np.ones(len(draw), np.bool_)
            for k in range(1, len(low)):
                cost = self._key_costs[k][key]
                fits &= (cost >= low[k][draw]) & (cost <= high[k][draw])
                if self._rates[k]:
                    edge = high[k] if self._rates[k] > 0 else low[k]
                    apart = (cost - edge[draw]).astype(np.float64)
                    power += self._rates[k] * self._costs.units[k] * apart
            draw, key, power = draw[fits], key[fits], power[fits]
            weight = self._weights[key] * np.exp(power)
            total = np.bincount(draw - done, weight, end - done)
            accepted = (threshold[part] < total)[draw - done]
            draw, key, weight = draw[accepted], key[accepted], weight[accepted]
            picked = pick_by_race(draw, weight, random)
            kept.append(draw[picked])
            keys.append(self._keys[key[picked]])
            done = end
        return np.concatenate(kept), np.concatenate(keys)


class _RegrownGrid(CostGrid):
    """The nodes of a grid with one of them replaced, which are computed anew."""

    def __init__(self, grid: CostGrid, limit: int) -> None:
        self._names = grid._names
        self._limit = max(limit, grid._limit)

    def replaced(self, node: GridNode, old: GridNode, new: GridNode) -> GridNode:
        """The subtree of ``node`` with ``new`` in place of ``old``; what does not contain ``old``
        is shared."""
        if node is old:
            return new
        if node.left is None or not any(n is old for n in node.nodes()):
            return node
        if node.right is None:
            return self._sum(self.replaced(node.left, old, new), node.axes)
        left, right = (self.replaced(n, old, new) for n in (node.left, node.right))
        return self._join(left, right)
