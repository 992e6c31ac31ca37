"""The cost of given architectures by table lookup.

Small cost tables are first added up into fewer, larger ones: `cost = sum over tables t of
t[position of the architecture in t]`, where the position is linear in the option indices x:

    position_t(x) = sum over variables v of t:  stride_t(v) * x[v]

Many architectures are looked up table by table: the columns of x that a table depends on give all
positions at once. (One matrix product would give the positions in all tables, but most of the
matrix is zeros, and the threads of the product wait for each other on a machine that is not idle.)

One architecture is looked up in pure Python (`_SingleLookup`): the positions in all tables are the
digits of one large integer, to which each decision adds one precomputed part.
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

#: Entries of the largest table that smaller ones are added up to: it fits a processor's cache.
MAX_JOINT = 1 << 15
#: Architectures per pass over all tables, so that their columns stay in the cache, too.
CHUNK = 4096
#: Bits of a position in a table. Whole bytes are fast to take apart, and tables have far fewer than
#: 2**24 entries (assumed; that of an operation has at most 2**18 before its guards).
DIGIT = 24

#: The types of `Option`. Options of other types are possible and looked up, too, if they are
#: hashable.
_OPTION_TYPES = frozenset({int, float, bool, str})


class TableSum:
    """A sum of tables of integers over the variables of a space, such as a cost."""

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
        # Rows of `_columns`: decisions first, then derived variables.
        for d in self._derived:
            rows[d.at] = len(rows)
        self._derived = [d.numbered(rows) for d in self._derived]
        self._terms = [[(rows[v], step) for v, step in steps.items()] for steps in self._steps]

    def many(self, options: Array) -> Array:
        """The sum for each row of option indices [architecture, decision], with a column for each
        decision of the space in order. Option indices of inactive decisions are ignored.

        Only the shape and type of the array are validated (`ValueError`): rows are assumed to be
        architectures."""
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
        """The sum for each row of assignments [architecture, variable]. Derived variables are
        computed again from the decisions."""
        return self.many(at[:, self._decided])

    def _columns(self, options: Array) -> list[Array]:
        """Value indices, one array for each decision and then for each derived variable."""
        columns = list(np.ascontiguousarray(options.T))
        for d in self._derived:
            columns.append(d.cells.take(_places(columns, d.terms, len(options)), mode="clip"))
        return columns


class CostLookup(TableSum):
    """Looks up one cost of one space. The constructor raises `TooCoupled` if the cost of an
    operation depends on too many decisions."""

    def __init__(self, space: SpaceGraph, cost: Cost) -> None:
        super().__init__(space, cost_factors(space, cost))
        self._single: _SingleLookup | None = None

    def one(self, architecture: Architecture) -> int | None:
        """The cost of an architecture; None if it is invalid, or written in a way that only
        `tsdsl.ir.resolve` understands (an earlier path, an option in another notation)."""
        if self._single is None:
            self._single = _SingleLookup(self._space, self._steps, self._tables)
        return self._single.cost(architecture)


class _Derived(NamedTuple):
    """A derived variable's definition as a flat table."""

    at: int
    #: Pairs of a variable and its stride in `cells`.
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
    """Positions of ``count`` architectures in a flat table; ``terms`` are pairs of a row of
    ``columns`` and its stride."""
    found: Array = np.zeros(count, np.intp)
    for k, (row, step) in enumerate(terms):
        if k == 0:
            np.multiply(columns[row], step, out=found, casting="unsafe", dtype=np.intp)
        else:
            found += columns[row].astype(np.intp) * step
    return found


def _joined(factors: Sequence[Factor], sizes: Sequence[int]) -> list[Factor]:
    """The same sum with fewer tables: each factor, in order of scope, is added to the first table
    with which it has at most `MAX_JOINT` entries."""
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


class _SingleLookup:
    """Validates and looks up one architecture at a time, in microseconds.

    The state of a look-up is one large integer with three fields, from its lowest bit on:

    - for each cost table, a digit of `DIGIT` bits: the architecture's position in it;
    - for each value that decides whether the architecture is valid (definitions of derived
      variables, guards, conditions of requirements), such a digit: the position in its table;
    - for each decision, a bit: whether the architecture has an option for it.

    Every decision starts at its default, and each given option adds one precomputed integer, which
    moves all digits to that option and sets the bit. Digits cannot carry, as each sum is a position
    in its table. The architecture is valid if the bits are those of the active decisions and all
    requirements hold."""

    def __init__(
        self, space: SpaceGraph, steps: Sequence[Mapping[int, int]], tables: Sequence[Array]
    ) -> None:
        checks: list[Val] = []
        digits = list(steps)

        def digit(val: Val) -> int:
            """The number of the digit for the position in the table of ``val``."""
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
        # Single guards on the same value share a table: entry -> bits of the decisions that it
        # makes active.
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
        #: (path, option) -> the integer that the option adds.
        self._parts: dict[tuple[str, Any], int] = {}
        #: Decisions with an option that equals a boolean in Python (True == 1), and whether their
        #: options are booleans.
        self._ambiguous: list[tuple[str, bool]] = []
        self._start = 0
        for k, d in enumerate(space.decisions):
            part = parts.get(d.variable.index, 0)
            start = part * d.default
            self._start += start
            bit = 1 << self._shift + k
            if 0 in d.options or 1 in d.options:
                self._ambiguous.append((d.path, any(type(o) is bool for o in d.options)))
            for index, option in enumerate(d.options):
                self._parts[d.path, option] = part * index - start + bit
        self._tables = [table.tolist() for table in tables]

    def cost(self, architecture: Architecture) -> int | None:
        """See `CostLookup.one`."""
        chosen = architecture._decisions
        options = chosen.values()
        if not _OPTION_TYPES.issuperset(map(type, options)) and not all(map(_is_hashable, options)):
            return None
        found = map(self._parts.get, chosen.items())
        parts = [part for part in found if part is not None]
        if len(parts) < len(chosen):
            return None
        for path, boolean in self._ambiguous:
            if path in chosen and (type(chosen[path]) is bool) is not boolean:
                return None
        total = sum(parts, self._start)
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
    """The first ``count`` digits (`DIGIT` bits, that is three bytes each)."""
    return [data[k] | data[k + 1] << 8 | data[k + 2] << 16 for k in range(0, 3 * count, 3)]


def _indices(val: Val) -> list[int]:
    """The entries of a definition; -1 for a fault."""
    return [-1 if isinstance(e, Fault) else e for e in val.entries]


def _is_hashable(option: object) -> bool:
    try:
        hash(option)
    except TypeError:
        return False
    return True


def _holds(guard: Guard) -> list[bool]:
    """Whether the guard holds, for each entry of its selector."""
    return [not isinstance(e, Fault) and e == guard.case for e in guard.selector.entries]
