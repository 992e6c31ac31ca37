"""The conditions under which an assignment of options is an architecture, as tables of 0 and 1.

There are three kinds of table, each over the few variables that it concerns:

- *tie*: a derived variable has the value that its definition gives;
- *gate*: a decision that is not active stands at its default, so that each architecture is exactly
  one assignment;
- *requirement*: where its guards hold, its condition is not false.

Tables are `bytes`, one byte for each combination, row-major: pure Python handles them at the speed
of C (`int.from_bytes` to join, slices to project) and numpy reads them without a copy.

A derived variable has no value where its definition faults. With ``nullable`` its domain has one
more value for that case (the last), so that faults can be reasoned about; without it, combinations
that fault are excluded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from math import prod
from operator import itemgetter
from typing import Any

from tsdsl.ir.graph import Guard
from tsdsl.ir.ordering import TooCoupled
from tsdsl.ir.space import Decision, Requirement
from tsdsl.ir.values import Fault, Val, Variable
from tsdsl.record import Record

#: Cells of the largest table that ties a derived variable.
MAX_TIE = 1 << 22


class Table(Record):
    """A table of 0 and 1: ``cells`` is row-major over ``scope``, the indices of its variables."""

    scope: tuple[int, ...]
    cells: bytes


class Constraints:
    """The tables of one space, built on first use."""

    def __init__(
        self,
        variables: Sequence[Variable],
        decisions: Sequence[Decision],
        requirements: Sequence[Requirement],
        *,
        nullable: bool,
    ) -> None:
        self.variables = tuple(variables)
        self.decisions = {d.variable.index: d for d in decisions}
        self.requirements = tuple(requirements)
        self._null = [False] * len(self.variables)
        if nullable:
            for v in self.variables:
                if v.definition is not None:
                    self._null[v.index] = any(
                        self._null[p.index] for p in v.definition.variables
                    ) or any(isinstance(e, Fault) for e in v.definition.entries)
        #: Number of values of each variable, the value for "faults" included.
        self.sizes = [len(v) + n for v, n in zip(self.variables, self._null, strict=True)]
        self._of_variable: dict[int, Table | None] = {}
        self._of_requirement: dict[int, Table] = {}
        #: Variable -> the requirements that its value can decide, through whatever depends on it.
        self._users: dict[int, list[int]] = {}
        for number, requirement in enumerate(self.requirements):
            for index in self.ancestors(_concerned(requirement)):
                self._users.setdefault(index, []).append(number)

    def preferred(self, variable: int) -> int:
        """The value to take for a variable where the constraints leave a choice: the default of a
        decision, the first value of a derived variable."""
        decision = self.decisions.get(variable)
        return decision.default if decision else 0

    def ancestors(self, seeds: Iterable[int]) -> set[int]:
        """The variables ``seeds`` and all variables that define or gate them, transitively."""
        found: set[int] = set()
        waiting = list(seeds)
        while waiting:
            index = waiting.pop()
            if index in found:
                continue
            found.add(index)
            definition = self.variables[index].definition
            if definition is not None:
                waiting.extend(v.index for v in definition.variables)
            elif index in self.decisions:
                for guard in self.decisions[index].guards:
                    waiting.extend(v.index for v in guard.selector.variables)
        return found

    def closure(
        self, seeds: Iterable[int], *, every_requirement: bool = False
    ) -> tuple[set[int], list[Table]]:
        """All variables that constrain ``seeds``, directly or through others, and the tables over
        them: ties, gates, and the requirements that any of these variables can decide (with
        ``every_requirement``: all requirements)."""
        found: set[int] = set()
        used: set[int] = set()
        waiting = list(seeds)
        tables: list[Table] = []
        if every_requirement:
            used.update(range(len(self.requirements)))
            for number, requirement in enumerate(self.requirements):
                tables.append(self.of_requirement(number))
                waiting.extend(_concerned(requirement))
        while waiting:
            index = waiting.pop()
            if index in found:
                continue
            found.add(index)
            table = self.of_variable(index)
            if table is not None:
                tables.append(table)
                waiting.extend(table.scope)
            for number in self._users.get(index, ()):
                if number not in used:
                    used.add(number)
                    tables.append(self.of_requirement(number))
                    waiting.extend(_concerned(self.requirements[number]))
        return found, tables

    def complete(self, solved: Mapping[int, int], base: Sequence[int] | None = None) -> list[int]:
        """Extend an assignment of some variables to all variables. An active decision that is not
        in ``solved`` takes its value from ``base``, an inactive one its default (and so do all
        without ``base``). A derived variable without a value is -1."""
        made: list[int] = []
        for variable in self.variables:
            index = variable.index
            decision = self.decisions.get(index)
            if index in solved:
                value = solved[index]
                made.append(value if value < len(variable) else -1)
            elif variable.definition is not None:
                entry = entry_at(variable.definition, made)
                made.append(-1 if entry is None or isinstance(entry, Fault) else entry)
            elif decision is None:
                made.append(0)
            elif base is not None and is_active(decision, made):
                made.append(base[index])
            else:
                made.append(decision.default)
        return made

    def of_variable(self, index: int) -> Table | None:
        """The tie of a derived variable or the gate of a decision; None if it is free."""
        if index not in self._of_variable:
            variable = self.variables[index]
            decision = self.decisions.get(index)
            made: Table | None = None
            if variable.definition is not None:
                made = self._tie(variable, variable.definition)
            elif decision is not None and decision.guards:
                made = self._gate(decision)
            self._of_variable[index] = made
        return self._of_variable[index]

    def of_requirement(self, number: int) -> Table:
        """1 where the requirement is met: a guard fails, or the condition is not false."""
        if number not in self._of_requirement:
            requirement = self.requirements[number]
            holds = self.table(requirement.condition, lambda e: e is not False, null=True)
            asked = self.mask(requirement.guards)
            scope = tuple(sorted({*holds.scope, *asked.scope}))
            cells = self.align(holds, scope)
            off = bytes(1 - b for b in self.align(asked, scope))
            self._of_requirement[number] = Table(scope, _or(cells, off))
        return self._of_requirement[number]

    def mask(self, guards: Sequence[Guard]) -> Table:
        """The table that is 1 where all guards hold."""
        return self.join([self.table(g.selector, equals(g.case)) for g in guards])

    def table(self, val: Val, test: Callable[[Any], bool], *, null: bool = False) -> Table:
        """The table that is 1 where the entry of ``val`` passes ``test``. Combinations without an
        entry, because a variable has no value there, have ``null``."""
        cells = bytes(map(bool, map(test, val.entries)))
        scope = tuple(v.index for v in val.variables)
        if any(self._null[index] for index in scope):
            offsets = self._padded(val.variables)
            cells = bytes(cells[o] if o >= 0 else null for o in offsets)
        return Table(scope, cells)

    def join(self, tables: Sequence[Table], scope: tuple[int, ...] | None = None) -> Table:
        """The conjunction of some tables, over ``scope`` (None: the union of theirs, sorted)."""
        if scope is None:
            scope = tuple(sorted({index for table in tables for index in table.scope}))
        result: bytes | None = None
        for table in tables:
            aligned = self.align(table, scope)
            result = aligned if result is None else _and(result, aligned)
        if result is None:
            result = b"\x01" * prod(self.sizes[index] for index in scope)
        return Table(scope, result)

    def align(self, table: Table, scope: tuple[int, ...]) -> bytes:
        """The table's cells broadcast to ``scope``, which includes the table's own in any order."""
        if table.scope == scope:
            return table.cells
        strides = dict.fromkeys(scope, 0)
        step = 1
        for index in reversed(table.scope):
            strides[index] = step
            step *= self.sizes[index]
        pick = gather(tuple(self.sizes[i] for i in scope), tuple(strides.values()))
        return pick(table.cells)

    def _tie(self, variable: Variable, definition: Val) -> Table:
        size = self.sizes[variable.index]
        cells = size * prod(self.sizes[v.index] for v in definition.variables)
        if cells > MAX_TIE:
            names = [v.name for v in (*definition.variables, variable)]
            raise TooCoupled(names, cells, MAX_TIE, f"'{variable.name}'")
        rows = [bytes(k == value for k in range(size)) for value in range(size)]
        none = rows[-1] if self._null[variable.index] else bytes(size)
        picked = (none if isinstance(e, Fault) else rows[e] for e in definition.entries)
        scope = tuple(v.index for v in definition.variables)
        if any(self._null[index] for index in scope):
            entries = list(picked)
            picked = (entries[o] if o >= 0 else none for o in self._padded(definition.variables))
        return Table((*scope, variable.index), b"".join(picked))

    def _gate(self, decision: Decision) -> Table:
        active = self.mask(decision.guards)
        index = decision.variable.index
        size = self.sizes[index]
        rows = (bytes(k == decision.default for k in range(size)), b"\x01" * size)
        return Table((*active.scope, index), b"".join(rows[a] for a in active.cells))

    def _padded(self, variables: Sequence[Variable]) -> list[int]:
        """Row-major offsets in a table over the plain domains, one for each combination of
        `sizes`; -1 where a variable has no value."""
        offsets = [0]
        for v in variables:
            size = len(v)
            offsets = [
                o * size + i if o >= 0 and i < size else -1
                for o in offsets
                for i in range(self.sizes[v.index])
            ]
        return offsets


def entry_at(val: Val, assignment: Sequence[int]) -> Any:
    """The entry of a value under an assignment; None if a variable has no value (-1) there."""
    offset = 0
    for variable in val.variables:
        at = assignment[variable.index]
        if at < 0:
            return None
        offset = offset * len(variable.domain) + at
    return val.entries[offset]


def is_active(decision: Decision, assignment: Sequence[int]) -> bool:
    """Whether all guards of a decision hold."""
    return all(entry_at(g.selector, assignment) == g.case for g in decision.guards)


def gather(sizes: tuple[int, ...], strides: tuple[int, ...]) -> Callable[[bytes], bytes]:
    """A function that re-indexes cells: its result has a cell for each combination of ``sizes``
    (row-major), read at the offset ``sum(index * stride)``."""
    return (_small_gather if prod(sizes) <= 1 << 12 else _gather)(sizes, strides)


def _gather(sizes: tuple[int, ...], strides: tuple[int, ...]) -> Callable[[bytes], bytes]:
    offsets = [0]
    for size, stride in zip(sizes, strides, strict=True):
        steps = [i * stride for i in range(size)]
        offsets = [o + step for o in offsets for step in steps]
    if len(offsets) == 1:
        return lambda cells: cells
    pick = itemgetter(*offsets)
    return lambda cells: bytes(pick(cells))


_small_gather = lru_cache(maxsize=1024)(_gather)


def equals(value: Any) -> Callable[[Any], bool]:
    """A test for `Constraints.table`: whether an entry equals ``value``."""

    def test(entry: Any) -> bool:
        return bool(entry == value)

    return test


def _concerned(requirement: Requirement) -> set[int]:
    vals = [requirement.condition, *(g.selector for g in requirement.guards)]
    return {v.index for val in vals for v in val.variables}


def _and(left: bytes, right: bytes) -> bytes:
    joined = int.from_bytes(left, "little") & int.from_bytes(right, "little")
    return joined.to_bytes(len(left), "little")


def _or(left: bytes, right: bytes) -> bytes:
    joined = int.from_bytes(left, "little") | int.from_bytes(right, "little")
    return joined.to_bytes(len(left), "little")


def project(cells: bytes, size: int) -> bytes:
    """Eliminate the innermost variable, which has ``size`` values: a cell of the result is 1 if any
    of its ``size`` neighbouring cells is."""
    length = len(cells) // size
    found = 0
    for k in range(size):
        found |= int.from_bytes(cells[k::size], "little")
    return found.to_bytes(length, "little")
