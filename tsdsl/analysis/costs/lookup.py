"""The cost of given architectures, as fast as tables allow.

Small cost tables are added up into fewer, larger ones. Many architectures at once: the few columns
of option indices that a table depends on give the positions in it, and each table is read once for
all. (One product of matrices would give all positions too, but most of it is zeros, and its threads
wait for each other wherever something else runs.) One architecture: the positions in all tables are
the digits of one large integer, to which each decision adds its part; which decisions are given is
kept in bits of the same integer, so that an architecture is validated by the same sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from tsdsl.analysis.costs.cost import Cost
from tsdsl.analysis.costs.factors import Array, Factor, cost_factors, expand
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.graph import Guard
from tsdsl.ir.space import SpaceGraph
from tsdsl.ir.values import Fault, Val

#: Entries of a joint table: it should stay in a processor's cache.
MAX_JOINT = 1 << 15
#: Rows that are looked up at once.
CHUNK = 4096
#: Bits of a position in a table.
DIGIT = 24


class TableSum:
    """Sums of tables over the variables of a space: of integers of one type."""

    def __init__(self, space: SpaceGraph, factors: Sequence[Factor]) -> None:
        self._space = space
        factors = _joined(factors, [len(v) for v in space.variables])
        self._tables = [np.ascontiguousarray(f.table).reshape(-1) for f in factors]
        self._dtype: Any = np.result_type(*self._tables) if factors else np.int64
        self._steps: list[dict[int, int]] = []
        for f in factors:
            step = 1
            steps: dict[int, int] = {}
            for v, size in zip(reversed(f.scope), reversed(f.table.shape), strict=True):
                steps[v] = step
                step *= size
            self._steps.append(steps)
        self._decided = [d.variable.index for d in space.decisions]
        self._derived = [
            _Derived.of(v.index, v.definition) for v in space.variables if v.definition is not None
        ]
        rows = {v: k for k, v in enumerate(self._decided)}
        #: Variables that tables depend on: rows of decisions come first, then derived ones.
        for d in self._derived:
            rows[d.at] = len(rows)
        self._derived = [d.numbered(rows) for d in self._derived]
        self._terms = [[(rows[v], step) for v, step in steps.items()] for steps in self._steps]

    def many(self, options: Array) -> Array:
        """The sum for each row of option indices [architecture, decision], one column for each
        decision of the space in order; what a decision that is not active has does not count.
        They are taken to be architectures: nothing is validated."""
        given = np.asarray(options)
        if given.ndim != 2 or given.shape[1] != len(self._decided):
            raise ValueError(f"{len(self._decided)} columns are needed, not {given.shape}")
        if given.dtype.kind not in "iu" and given.size:
            raise ValueError(f"option indices are integers, not {given.dtype}")
        total: Array = np.zeros(len(given), self._dtype)
        for start in range(0, len(given), CHUNK):
            columns = self._columns(given[start : start + CHUNK])
            into = total[start : start + CHUNK]
            for table, terms in zip(self._tables, self._terms, strict=True):
                into += table.take(_places(columns, terms, len(into)), mode="clip")
        return total

    def assigned(self, at: Array) -> Array:
        """The sum for each row of an array of assignments [architecture, variable], of which only
        the decisions count."""
        return self.many(at[:, self._decided])

    def _columns(self, options: Array) -> list[Array]:
        """Option indices: an array for each decision, then for each derived variable."""
        columns = list(np.ascontiguousarray(options.T))
        for d in self._derived:
            columns.append(d.cells.take(_places(columns, d.terms, len(options)), mode="clip"))
        return columns


class CostLookup(TableSum):
    """One cost of one space. Raises `TooCoupled`."""

    def __init__(self, space: SpaceGraph, cost: Cost) -> None:
        super().__init__(space, cost_factors(space, cost))
        self._single: _Single | None = None

    def one(self, architecture: Architecture) -> int | None:
        """The cost of an architecture; None if it has anything unusual."""
        if self._single is None:
            self._single = _Single(self._space, self._steps, self._tables)
        return self._single.cost(architecture)


class _Derived(NamedTuple):
    """A derived variable's definition as a flat table."""

    at: int
    #: Variables and what one step of each moves by.
    terms: list[tuple[int, int]]
    cells: Array

    @classmethod
    def of(cls, at: int, definition: Val) -> _Derived:
        step = 1
        terms: list[tuple[int, int]] = []
        for v in reversed(definition.variables):
            terms.append((v.index, step))
            step *= len(v)
        return cls(at, terms, np.maximum(_indices(definition), 0).astype(np.intp))

    def numbered(self, rows: Mapping[int, int]) -> _Derived:
        return self._replace(terms=[(rows[v], step) for v, step in self.terms])


def _places(columns: Sequence[Array], terms: Sequence[tuple[int, int]], count: int) -> Array:
    """Positions in a flat table."""
    found: Array = np.zeros(count, np.intp)
    for k, (row, step) in enumerate(terms):
        if k == 0:
            np.multiply(columns[row], step, out=found, casting="unsafe", dtype=np.intp)
        else:
            found += columns[row].astype(np.intp) * step
    return found


def _joined(factors: Sequence[Factor], sizes: Sequence[int]) -> list[Factor]:
    """The same sum with fewer tables: neighbours together while the joint one stays small."""
    made: list[Factor] = []
    for factor in sorted(factors, key=lambda f: f.scope):
        for k, other in enumerate(made):
            scope = tuple(sorted({*factor.scope, *other.scope}))
            if prod(sizes[v] for v in scope) <= MAX_JOINT:
                shape = [sizes[v] for v in scope]
                table = np.broadcast_to(expand(factor, scope) + expand(other, scope), shape)
                made[k] = Factor(scope, table)
                break
        else:
            made.append(factor)
    return made


class _Careful(dict[Any, int]):
    """Options that a boolean could be taken for."""

    def __getitem__(self, option: Any) -> int:
        return super().__getitem__((type(option) is bool, option))


class _Single:
    """One architecture at a time. The large integer has, from its lowest bit on: a digit for each
    table, one for each variable of a derived variable's definition or a guard or requirement
    (its *checks*), and a bit for each decision that says that it is given."""

    def __init__(
        self, space: SpaceGraph, steps: Sequence[Mapping[int, int]], tables: Sequence[Array]
    ) -> None:
        checks: list[Val] = []
        digits = list(steps)

        def digit(val: Val) -> int:
            """The number of the digit that holds the position in a value's table."""
            for k, known in enumerate(checks):
                if known is val:
                    return len(steps) + k
            checks.append(val)
            found: dict[int, int] = {}
            step = 1
            for v in reversed(val.variables):
                found[v.index] = step
                step *= len(v)
            digits.append(found)
            return len(digits) - 1

        derived = [
            (v.index, digit(v.definition), _indices(v.definition))
            for v in space.variables
            if v.definition is not None
        ]
        always = 0
        gates: dict[tuple[Guard, ...], int] = {}
        for k, d in enumerate(space.decisions):
            if d.guards:
                gates[d.guards] = gates.get(d.guards, 0) | 1 << k
            else:
                always |= 1 << k
        # Guards on the same value are one table of which decisions it makes active.
        simple: dict[int, list[int]] = {}
        self._gates: list[tuple[list[tuple[int, list[bool]]], int]] = []
        for guards, mask in gates.items():
            if len(guards) == 1:
                at = digit(guards[0].selector)
                entries = guards[0].selector.entries
                table = simple.setdefault(at, [0] * len(entries))
                for k, e in enumerate(entries):
                    if not isinstance(e, Fault) and e == guards[0].case:
                        table[k] |= mask
            else:
                self._gates.append(([(digit(g.selector), _holds(g)) for g in guards], mask))
        self._simple = list(simple.items())
        self._requirements = [
            (
                digit(r.condition),
                [e is False for e in r.condition.entries],
                [(digit(g.selector), _holds(g)) for g in r.guards],
            )
            for r in space.requirements
        ]
        self._always = always
        self._shift = DIGIT * len(digits)
        parts: dict[int, int] = {}
        for k, found in enumerate(digits):
            for v, step in found.items():
                parts[v] = parts.get(v, 0) + (step << DIGIT * k)
        self._derived = [(at, cells, parts.get(v, 0)) for v, at, cells in derived]
        self._parts: dict[str, dict[Any, int]] = {}
        self._start = 0
        for k, d in enumerate(space.decisions):
            part = parts.get(d.variable.index, 0)
            start = part * d.default
            self._start += start
            bit = 1 << self._shift + k
            keys = [(type(o) is bool, o) for o in d.options]
            plain = all(type(o) is str or o not in (0, 1) for o in d.options)
            made: dict[Any, int] = {} if plain else _Careful()
            for option, (key, written) in enumerate(zip(keys, d.options, strict=True)):
                made[written if plain else key] = part * option - start + bit
            self._parts[d.path] = made
        self._tables = [table.tolist() for table in tables]

    def cost(self, architecture: Architecture) -> int | None:
        parts = self._parts
        total = self._start
        try:
            for path, option in architecture._decisions.items():
                total += parts[path][option]
        except (KeyError, TypeError):
            return None
        mask = (1 << DIGIT) - 1
        for at, cells, part in self._derived:
            value = cells[total >> DIGIT * at & mask]
            if value < 0:
                return None
            total += value * part
        active = self._always
        given = total >> self._shift
        data = (total & (1 << self._shift) - 1).to_bytes(self._shift // 8 + 1, "little")
        position = _positions(data, self._shift // DIGIT)
        for at, masks in self._simple:
            active |= masks[position[at]]
        for guards, gated in self._gates:
            if all(holds[position[at]] for at, holds in guards):
                active |= gated
        if active != given:
            return None
        for at, fails, guards in self._requirements:
            if fails[position[at]] and all(holds[position[k]] for k, holds in guards):
                return None
        cost = 0
        for table, at in zip(self._tables, position, strict=False):
            cost += table[at]
        return cost


def _positions(data: bytes, count: int) -> list[int]:
    """The digits of three bytes each."""
    return [data[k] | data[k + 1] << 8 | data[k + 2] << 16 for k in range(0, 3 * count, 3)]


def _indices(val: Val) -> list[int]:
    """The entries of a definition; -1 for a fault."""
    return [-1 if isinstance(e, Fault) else e for e in val.entries]


def _holds(guard: Guard) -> list[bool]:
    return [not isinstance(e, Fault) and e == guard.case for e in guard.selector.entries]
