"""A bucket tree: the elimination of all decisions of a space, planned once for every exact query.

Bucket elimination (R. Dechter, Bucket elimination: a unifying framework for reasoning, Artificial
Intelligence 113, 1999; K. Kask, R. Dechter, J. Larrosa, A. Dechter, Unifying tree decompositions
for reasoning in graphical models, Artificial Intelligence 166, 2005). A *potential* is a table over
the variables of its scope: the constraints that lie there (requirements, derived variables,
inactive decisions at their defaults), the decisions whose weights lie there, and the part of each
cost that lies there. A table whose scope is part of a potential's is merged into it. So for every
assignment x of all variables, over all potentials psi,

    weight(x) = product of psi.weights(x),    cost_k(x) = sum of psi.costs[k](x).

A *step* joins some inputs (potentials, or results of earlier steps) over the union of their scopes,
and eliminates the variables that no other input mentions; its result is over what remains, its
*separator*. Variables that only one potential mentions go together, in a step of their own.

Inputs are numbered: potentials first, then the results of the steps in order. The last step joins
what is left, and its separator is empty: its result is the answer, in any semiring.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from tsdsl.analysis.costs.cost import Cost
from tsdsl.analysis.costs.factors import (
    Array,
    Factor,
    constraint_factor,
    constraints,
    cost_factors,
    expand,
)
from tsdsl.analysis.elimination.eliminate import MAX_ENTRIES, MAX_KEPT
from tsdsl.ir.ordering import TooCoupled, plan
from tsdsl.ir.space import SpaceGraph

Scope = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class DecisionAxis:
    """A decision whose weights are part of a potential, on one of its axes."""

    #: The decision's number in the space.
    number: int
    #: The shape that broadcasts a row of its options over the potential's axes, and the other axes.
    view: tuple[int, ...]
    others: tuple[int, ...]
    #: 1 where the decision is active; 1 where it is not and has its default. None: always active.
    active: Array | None
    inactive: Array | None

    def table(self, weights: Array) -> Array:
        """The decision's weights over the potential's axes: 1 where it is inactive."""
        row = weights.reshape(self.view)
        return row if self.active is None else self.active * row + self.inactive

    def log_table(self, logs: Array) -> Array:
        """The logarithm of `table`, from the logarithms of the weights."""
        row = logs.reshape(self.view)
        if self.active is None or self.inactive is None:
            return row
        return np.where(self.active > 0, row, np.where(self.inactive > 0, 0.0, -np.inf))


@dataclass(frozen=True, slots=True, eq=False)
class Potential:
    """Constraints, weights and costs over the variables of one scope."""

    scope: Scope
    shape: tuple[int, ...]
    #: Where the constraints hold; None for everywhere.
    holds: Array | None
    decisions: tuple[DecisionAxis, ...]
    #: The part of each cost, in the order of the tree's costs; None for 0.
    costs: tuple[Array | None, ...]

    def weights(self, rows: Sequence[Array]) -> Array:
        """The product of the weights of its decisions, 0 where a constraint is violated. ``rows``
        has the weights of the options of each decision of the space."""
        table: Array | None = self.holds
        for weighted in self.decisions:
            other = weighted.table(rows[weighted.number])
            table = other if table is None else table * other
        if table is None:
            return np.ones(self.shape)
        return table if table.shape == self.shape else np.broadcast_to(table, self.shape)

    def log_weights(self, logs: Sequence[Array]) -> Array:
        """The logarithm of `weights`, from the logarithms of the weights of all options: finite
        wherever an assignment is possible, also where the product underflows."""
        table: Array = np.zeros(self.shape)
        for weighted in self.decisions:
            table += weighted.log_table(logs[weighted.number])
        if self.holds is not None:
            table[~self.holds] = -np.inf
        return table


@dataclass(frozen=True, slots=True, eq=False)
class EliminationStep:
    """One step of the elimination: which inputs it joins, and which variables it eliminates."""

    inputs: tuple[int, ...]
    #: The variables of the joint table, and how many values each has.
    scope: Scope
    shape: tuple[int, ...]
    #: For each input, the shape that broadcasts it over ``scope``, and the axes that it lacks.
    views: tuple[tuple[int, ...], ...]
    others: tuple[tuple[int, ...], ...]
    #: Positions in ``scope`` of the variables that are eliminated.
    axes: tuple[int, ...]
    #: The variables that remain, and how many values each has; and the shape that broadcasts the
    #: result over ``scope``.
    separator: Scope
    separator_shape: tuple[int, ...]
    separator_view: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class BucketTree:
    """The planned elimination of all decisions of a space, with the tables of some costs."""

    space: SpaceGraph
    costs: tuple[Cost, ...]
    potentials: tuple[Potential, ...]
    steps: tuple[EliminationStep, ...]
    #: Number of values of each variable of the space.
    sizes: tuple[int, ...]

    def scope_of(self, number: int) -> Scope:
        """The scope of an input, by its number."""
        count = len(self.potentials)
        return (
            self.potentials[number].scope
            if number < count
            else self.steps[number - count].separator
        )

    def complete(self, solved: dict[int, int]) -> list[int]:
        """The assignment of all variables, from that of the eliminated ones."""
        return constraints(self.space).complete(solved)


def bucket_tree(
    space: SpaceGraph, costs: Sequence[Cost], tables: Collection[Scope] = ()
) -> BucketTree:
    """Plan the elimination of all decisions, with the tables of some costs. Each scope of
    ``tables`` is part of the scope of some potential. Raises `TooCoupled`."""
    known = constraints(space)
    sizes = tuple(known.sizes)
    parts = [cost_factors(space, cost) for cost in costs]
    needed = {*known.decisions, *(v for fs in parts for f in fs for v in f.scope)}
    needed.update(v for scope in tables for v in scope)
    variables, _ = known.closure(needed, every_requirement=True)
    numbers = range(len(space.requirements))
    holds = [constraint_factor(known.of_requirement(k), sizes) for k in numbers]
    for v in sorted(variables - known.decisions.keys()):
        tie = known.of_variable(v)
        holds += [constraint_factor(tie, sizes)] if tie else []
    active = {
        k: constraint_factor(known.mask(d.guards), sizes)
        for k, d in enumerate(space.decisions)
        if d.guards
    }
    own = [
        tuple(sorted({d.variable.index, *(active[k].scope if k in active else ())}))
        for k, d in enumerate(space.decisions)
    ]
    scopes = [f.scope for f in holds] + own + [f.scope for fs in parts for f in fs] + [*tables]
    homes = _MaximalScopes(scopes, sizes)
    masks: dict[Scope, Array] = {}
    for f in holds:
        home = homes.of(f.scope)
        table = expand(f, home)
        masks[home] = masks[home] & table if home in masks else table
    sums: dict[tuple[Scope, int], Array] = {}
    for c, factors in enumerate(parts):
        for f in factors:
            key = homes.of(f.scope), c
            table = expand(f, key[0])
            sums[key] = sums[key] + table if key in sums else table
    weighted: dict[Scope, list[DecisionAxis]] = {}
    for k, d in enumerate(space.decisions):
        home = homes.of(own[k])
        weighted.setdefault(home, []).append(
            _weighted(k, d.variable.index, d.default, active.get(k), home, sizes)
        )
    potentials: list[Potential] = []
    for home in homes.homes:
        shape = tuple(sizes[v] for v in home)
        mask = masks.get(home)
        costed = (sums.get((home, c)) for c in range(len(costs)))
        potentials.append(
            Potential(
                home,
                shape,
                None if mask is None else np.broadcast_to(mask, shape),
                tuple(weighted.get(home, ())),
                tuple(None if t is None else np.broadcast_to(t, shape) for t in costed),
            )
        )
    names = [v.name for v in space.variables]
    steps = _steps([p.scope for p in potentials], sizes, names)
    return BucketTree(space, tuple(costs), tuple(potentials), tuple(steps), sizes)


class PotentialIndex:
    """Finds the potential that a scope is part of."""

    def __init__(self, potentials: Sequence[Potential]) -> None:
        self._potentials = potentials
        self._known: dict[Scope, int] = {}
        self._holders: dict[int, list[int]] = {}
        for number, potential in enumerate(potentials):
            for v in potential.scope:
                self._holders.setdefault(v, []).append(number)

    def smallest(self, scope: Scope) -> int:
        """The number of the smallest potential with all of these variables. There is one for the
        scope of every table that a potential contains."""
        if scope not in self._known:
            near = self._holders[scope[0]] if scope else range(len(self._potentials))
            wider = [k for k in near if set(scope) <= set(self._potentials[k].scope)]
            self._known[scope] = min(wider, key=lambda k: prod(self._potentials[k].shape))
        return self._known[scope]


class _MaximalScopes:
    """The scopes that are part of no other, which become potentials."""

    def __init__(self, scopes: Iterable[Scope], sizes: Sequence[int]) -> None:
        self._sizes = sizes
        self.homes: list[Scope] = []
        self._holders: dict[int, list[Scope]] = {}
        for scope in sorted(set(scopes), key=lambda s: (-len(s), s)):
            if self._wider(scope) is None:
                self.homes.append(scope)
                for v in scope:
                    self._holders.setdefault(v, []).append(scope)
        self.homes.sort()

    def of(self, scope: Scope) -> Scope:
        """The smallest maximal scope that a scope is part of."""
        home = self._wider(scope)
        assert home is not None
        return home

    def _wider(self, scope: Scope) -> Scope | None:
        near = self._holders.get(scope[0], []) if scope else self.homes
        wider = [home for home in near if set(scope) <= set(home)]
        return min(wider, key=lambda s: (prod(self._sizes[v] for v in s), s), default=None)


def _weighted(
    number: int,
    variable: int,
    default: int,
    active: Factor | None,
    home: Scope,
    sizes: Sequence[int],
) -> DecisionAxis:
    """The weights of a decision as part of the potential over ``home``."""
    view = tuple(sizes[v] if v == variable else 1 for v in home)
    others = tuple(k for k, v in enumerate(home) if v != variable)
    if active is None:
        return DecisionAxis(number, view, others, None, None)
    on = expand(active, home).astype(np.float64)
    at_default: Array = np.zeros(sizes[variable])
    at_default[default] = 1.0
    return DecisionAxis(number, view, others, on, (1.0 - on) * at_default.reshape(view))


def _steps(
    scopes: Sequence[Scope], sizes: Sequence[int], names: Sequence[str]
) -> list[EliminationStep]:
    """The steps that eliminate all variables, in the order of `ordering.plan`."""
    #: The scope of each input so far.
    rests: dict[int, Scope] = dict(enumerate(scopes))
    users: dict[int, int] = {}
    for scope in scopes:
        for v in scope:
            users[v] = users.get(v, 0) + 1
    steps: list[EliminationStep] = []

    def join(inputs: tuple[int, ...], gone: set[int]) -> int:
        steps.append(_step(inputs, gone, rests, sizes))
        rests[len(scopes) + len(steps) - 1] = steps[-1].separator
        return len(scopes) + len(steps) - 1

    # Variables that one potential alone mentions go first, together.
    fronts: list[int] = []
    for number, scope in enumerate(scopes):
        own = {v for v in scope if users[v] == 1}
        fronts.append(join((number,), own) if own else number)
    order = plan([rests[number] for number in fronts], sizes)
    if order.peak > MAX_ENTRIES or order.total > MAX_KEPT:
        wide = order.peak > MAX_ENTRIES
        size, limit = (order.peak, MAX_ENTRIES) if wide else (order.total, MAX_KEPT)
        raise TooCoupled([names[v] for v in order.widest(sizes)], size, limit, "an exact answer")
    rank = {v: k for k, v in enumerate(order.order)}
    buckets: dict[int, list[int]] = {v: [] for v in order.order}
    loose: list[int] = []

    def file(number: int) -> None:
        scope = rests[number]
        (buckets[min(scope, key=rank.__getitem__)] if scope else loose).append(number)

    for number in fronts:
        file(number)
    for variable in order.order:
        file(join(tuple(buckets.pop(variable)), {variable}))
    join(tuple(loose), set())
    return steps


def _step(
    inputs: tuple[int, ...], gone: set[int], rests: dict[int, Scope], sizes: Sequence[int]
) -> EliminationStep:
    scope = tuple(sorted({v for number in inputs for v in rests[number]}))
    return EliminationStep(
        inputs,
        scope,
        tuple(sizes[v] for v in scope),
        tuple(tuple(sizes[v] if v in rests[n] else 1 for v in scope) for n in inputs),
        tuple(tuple(k for k, v in enumerate(scope) if v not in rests[n]) for n in inputs),
        tuple(k for k, v in enumerate(scope) if v in gone),
        tuple(v for v in scope if v not in gone),
        tuple(sizes[v] for v in scope if v not in gone),
        tuple(1 if v in gone else sizes[v] for v in scope),
    )
