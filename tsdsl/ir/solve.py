"""Constraint satisfaction: find an architecture with given properties, or prove that none exists.

`check` runs such a query for every fault of every shape: does an architecture that satisfies all
requirements reach the fault, and which one? So this module is pure Python, without numpy.

The algorithm is bucket elimination (Dechter, Artificial Intelligence 113, 1999). Only variables
that constrain the query are considered (`Constraints.closure`). They are eliminated one by one in
the order of `ordering.plan`, and a solution is read back in reverse order. The invariant:

    a cell of a projected table is 1  iff  some values of the variables eliminated so far extend it

Where the tables would grow too large, a variable of the largest one is instead assigned each of its
values in turn (conditioning), and the rest is solved for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from tsdsl.ir.constraints import Constraints, Table, equals, project
from tsdsl.ir.ordering import EliminationPlan, TooCoupled, plan
from tsdsl.ir.space import Decision, Requirement, SpaceGraph
from tsdsl.ir.values import Val, Variable

#: A value and a test that its entry must pass. The test is also called with the faults among the
#: entries (``lambda e: isinstance(e, Fault)`` selects them). A combination that has no entry,
#: because an earlier variable faults, passes no test.
Evidence = tuple[Val, Callable[[Any], bool]]

#: Cells of the largest table that is built. A query that needs larger ones conditions on a
#: variable.
MAX_CELLS = 1 << 20
#: Nodes of the tree of conditioned variables after which a query raises `TooCoupled`.
MAX_TRIALS = 2000


def find(space: SpaceGraph, evidence: Sequence[Evidence]) -> list[int] | None:
    """An assignment (a value index for each variable) of an architecture of the space that passes
    every test of ``evidence``; None if there is none. Defaults are preferred variable by variable,
    which does not guarantee the fewest departures from them.

    A derived variable without a value, because its definition faults, is -1. Raises `TooCoupled`.
    """
    return solver(space).find(evidence)


@lru_cache(maxsize=4)
def solver(space: SpaceGraph) -> Solver:
    """The solver of a space, with its cached tables and elimination orders."""
    return Solver(space.variables, space.decisions, space.requirements)


class Solver:
    """Answers `find` for a set of variables, decisions and requirements."""

    def __init__(
        self,
        variables: Sequence[Variable],
        decisions: Sequence[Decision],
        requirements: Sequence[Requirement] = (),
        limit: int | None = None,
    ) -> None:
        #: Remaining budget of table cells over all queries; None for no limit.
        self._left = limit
        self._all = Constraints(variables, decisions, requirements, nullable=True)
        self._base: list[int] | None = None
        self._known = False
        self._plans: dict[frozenset[tuple[int, ...]], EliminationPlan] = {}

    def base(self) -> list[int] | None:
        """An architecture that satisfies all requirements; None if there is none."""
        if not self._known:
            solved = self._solve(self._all.closure((), every_requirement=True)[1])
            self._base = None if solved is None else self._all.complete(solved)
            self._known = True
        return self._base

    def find(self, evidence: Sequence[Evidence]) -> list[int] | None:
        """An architecture that passes all tests (see `tsdsl.ir.solve.find`); None if there is
        none. Raises `TooCoupled`."""
        base = self.base()
        if base is None:
            return None
        wanted = [self._all.table(val, test) for val, test in evidence]
        if not all(1 in table.cells for table in wanted) or self._solve(wanted) is None:
            return None
        seeds = {index for table in wanted for index in table.scope}
        solved = self._solve([*self._all.closure(seeds)[1], *wanted])
        return None if solved is None else self._all.complete(solved, base)

    def options(self, variable: Variable) -> tuple[int, ...]:
        """The value indices that a variable has in some architecture. For a decision, only
        architectures in which it is active count."""
        decision = self._all.decisions.get(variable.index)
        active: list[Evidence] = [
            (g.selector, equals(g.case)) for g in (decision.guards if decision else ())
        ]
        usable: set[int] = set()
        for index in range(len(variable)):
            if index in usable:
                continue
            at = Val((variable,), tuple(range(len(variable))))
            found = self.find([*active, (at, equals(index))])
            if found is not None:
                usable.add(found[variable.index])
        return tuple(sorted(usable))

    def _solve(self, tables: Iterable[Table]) -> dict[int, int] | None:
        trials = [0]
        return self._search(list(tables), trials)

    def _search(self, tables: list[Table], trials: list[int]) -> dict[int, int] | None:
        sizes = self._all.sizes
        for table in tables:
            if not table.scope and not table.cells[0]:
                return None
        scopes = frozenset(table.scope for table in tables)
        order = self._plans.get(scopes)
        if order is None:
            order = plan(scopes, sizes)
            if len(self._plans) < 512:
                self._plans[scopes] = order
        spent = self._spend(order.total if order.peak <= MAX_CELLS else len(tables))
        if order.peak <= MAX_CELLS and not spent:
            return self._eliminate(tables, order)
        trials[0] += 1
        widest = order.widest(sizes)
        if trials[0] > MAX_TRIALS or spent:
            names = [self._all.variables[v].name for v in widest]
            raise TooCoupled(names, order.peak, MAX_CELLS, "checking this space")
        counts = {v: sum(v in table.scope for table in tables) for v in widest}
        pivot = max(widest, key=lambda v: (counts[v], v))
        first = self._all.preferred(pivot)
        for value in sorted(range(sizes[pivot]), key=lambda value: value != first):
            found = self._search([self._fix(t, pivot, value) for t in tables], trials)
            if found is not None:
                found[pivot] = value
                return found
        return None

    def _spend(self, cells: int) -> bool:
        """Subtract ``cells`` from the remaining budget. True if it is exhausted."""
        if self._left is not None:
            self._left -= cells
        return self._left is not None and self._left < 0

    def _fix(self, table: Table, variable: int, value: int) -> Table:
        """The slice of a table at one value of a variable."""
        if variable not in table.scope:
            return table
        rest = tuple(v for v in table.scope if v != variable)
        cells = self._all.align(table, (*rest, variable))
        return Table(rest, cells[value :: self._all.sizes[variable]])

    def _eliminate(self, tables: list[Table], order: EliminationPlan) -> dict[int, int] | None:
        sizes = self._all.sizes
        buckets: dict[int, list[Table]] = {v: [] for v in order.order}
        rank = {v: k for k, v in enumerate(order.order)}
        for table in tables:
            if table.scope:
                buckets[min(table.scope, key=rank.__getitem__)].append(table)
        joints: list[tuple[int, Table]] = []
        for variable in order.order:
            held = buckets.pop(variable)
            rest = tuple(sorted({v for table in held for v in table.scope if v != variable}))
            joint = self._all.join(held, (*rest, variable))
            joints.append((variable, joint))
            cells = project(joint.cells, sizes[variable])
            if 1 not in cells:
                return None
            if rest and 0 in cells:
                buckets[min(rest, key=rank.__getitem__)].append(Table(rest, cells))
        solved: dict[int, int] = {}
        for variable, joint in reversed(joints):
            offset = 0
            for v in joint.scope[:-1]:
                offset = offset * sizes[v] + solved[v]
            size = sizes[variable]
            row = joint.cells[offset * size : (offset + 1) * size]
            first = self._all.preferred(variable)
            solved[variable] = first if row[first] else row.index(1)
        return solved
