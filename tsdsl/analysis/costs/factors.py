"""The cost of a space as a sum of factors: small integer tables over few variables each.

    cost(architecture) = sum over factors f: f.table[values of the variables in f.scope]

An operation's cost is a function of its arguments and input shapes, which are themselves tables
over a few variables. The rule of the cost, the same that applies to a frozen network, is evaluated
on their joint combinations; this gives one table for each operation. It is 0 where a guard of the
operation fails.

Tables also range over combinations that no architecture has, because variables are tied, gated or
excluded by a requirement. Their entry is 0 if the operation is not defined there. Such combinations
are excluded by `constraints`, which are 0/1 factors over the same variables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from tsdsl.analysis.costs.cost import Cost, ResultCost
from tsdsl.ir.constraints import Constraints, Table
from tsdsl.ir.graph import Guard, PlacedOp, walk
from tsdsl.ir.op import Op, OpArgs, Shape, ShapeError
from tsdsl.ir.ordering import TooCoupled
from tsdsl.ir.space import SpaceGraph
from tsdsl.ir.values import MAX_ENTRIES, Fault, Val

Array = NDArray[Any]
#: Computes a table's entry from an operation, its arguments and the shapes of its inputs.
Rule = Callable[[type[Op], OpArgs, tuple[Shape, ...]], int]

#: Totals from here on are computed with Python integers instead of 64-bit ones.
MAX_INT64 = 1 << 60


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """A table over some variables: ``table`` has one axis for each index in ``scope``, which is
    sorted."""

    scope: tuple[int, ...]
    table: Array


@lru_cache(maxsize=4)
def constraints(space: SpaceGraph) -> Constraints:
    """The conditions under which an assignment is an architecture of the space."""
    return Constraints(space.variables, space.decisions, space.requirements, nullable=False)


def constraint_factor(table: Table, sizes: Sequence[int]) -> Factor:
    """A 0/1 table of `tsdsl.ir.constraints` as a factor of booleans."""
    cells = np.frombuffer(table.cells, np.bool_).reshape([sizes[v] for v in table.scope])
    order = sorted(range(len(table.scope)), key=table.scope.__getitem__)
    return Factor(tuple(table.scope[k] for k in order), cells.transpose(order))


@lru_cache(maxsize=16)
def cost_factors(space: SpaceGraph, cost: Cost) -> tuple[Factor, ...]:
    """The factors whose sum is a cost of the space.

    An operation without a value counts as 0 (see `elimination.coverage`). Raises `TooCoupled` if
    one operation depends on too many decisions.
    """
    sums: dict[tuple[int, ...], Array] = {}
    for _, factor in placed_factors(space, cost):
        if factor is not None:
            known = sums.get(factor.scope)
            sums[factor.scope] = factor.table if known is None else plus(known, factor.table)
    merged = _merge(sums)
    if sum(int(np.max(f.table)) for f in merged) >= MAX_INT64:
        return tuple(Factor(f.scope, f.table.astype(object)) for f in merged)
    return merged


def placed_factors(space: SpaceGraph, cost: Cost) -> Iterator[tuple[PlacedOp, Factor | None]]:
    """Every operation with the factor of its cost; None if it is always 0. Raises
    `TooCoupled`."""
    tabulator = _tabulator(space, cost)
    for placed in walk(space.root):
        if cost.is_free(placed.node.op):
            yield placed, None
        elif isinstance(cost, ResultCost):
            yield placed, tabulator.of_result(placed)
        else:
            yield placed, tabulator.of_operation(placed)


def rule_factors(space: SpaceGraph, rule: Rule) -> Iterator[tuple[PlacedOp, Factor | None]]:
    """Every operation with the factor of a rule; None if it is always 0. Raises `TooCoupled`."""
    tabulator = Tabulator(rule)
    for placed in walk(space.root):
        yield placed, tabulator.of_operation(placed)


@lru_cache(maxsize=4)
def _tabulator(space: SpaceGraph, cost: Cost) -> Tabulator:
    """The tabulator of a cost, cached with its results: breakdowns query the same operations
    repeatedly."""
    if isinstance(cost, ResultCost):
        return Tabulator(cost.value, cost.of_result)
    return Tabulator(lambda op, args, shapes: cost.value(op, args, shapes) or 0)


def expand(factor: Factor, scope: Sequence[int]) -> Array:
    """The table with an axis of extent 1 for each variable of ``scope`` that it does not have."""
    extents = dict(zip(factor.scope, factor.table.shape, strict=True))
    return factor.table.reshape([extents.get(v, 1) for v in scope])


class Tabulator:
    """Evaluates a rule for operations as tables over the variables of a space.

    Arguments and shapes have few distinct values, so the rule is called only once for each distinct
    combination of them in the whole space.
    """

    def __init__(self, rule: Rule, of_result: Callable[[Shape], int] | None = None) -> None:
        self._rule = rule
        self._of_result = of_result
        self._codes: dict[int, tuple[Val, list[Any], Array]] = {}
        self._masks: dict[tuple[int, int], Factor] = {}
        self._known: dict[tuple[Any, ...], int] = {}

    def of_operation(self, placed: PlacedOp) -> Factor | None:
        """The factor of the rule for one operation, 0 where it does not run; None if it is always
        0."""
        op, args = placed.node.op, placed.node.args
        names = tuple(args)
        vals = [*args.values(), *(edge.shape for edge in placed.node.inputs)]

        def rule(*values: Any) -> int:
            return self._value(op, names, values)

        return self._masked(placed, vals, rule, op.name)

    def of_result(self, placed: PlacedOp) -> Factor | None:
        """The factor of the rule for one operation's result shape, 0 where the operation does not
        run; None if it is always 0."""
        assert self._of_result is not None
        return self._masked(placed, [placed.node.output.shape], self._of_result, "result")

    def _masked(
        self, placed: PlacedOp, vals: Sequence[Val], rule: Callable[..., int], tag: str
    ) -> Factor | None:
        raw = self._evaluate(placed, vals, rule, tag)
        if not raw.table.any():
            return None
        masks = [self._mask(guard) for guard in placed.guards]
        joint = tuple(sorted({*raw.scope, *(v for mask in masks for v in mask.scope)}))
        table = expand(raw, joint)
        for mask in masks:
            table = table * expand(mask, joint)
        return Factor(joint, table)

    def _value(self, op: type[Op], names: tuple[str, ...], values: tuple[Any, ...]) -> int:
        """The rule for one combination of arguments and shapes; 0 if the operation is not defined
        for it (then no architecture has that combination)."""
        shapes: tuple[Shape, ...] = values[len(names) :]
        try:
            args = op.Args(**dict(zip(names, values, strict=False)))
            op.infer(args, *shapes)
        except (ShapeError, ValidationError):
            return 0
        return self._rule(op, args, shapes)

    def _evaluate(
        self, placed: PlacedOp, vals: Sequence[Val], rule: Callable[..., int], tag: str
    ) -> Factor:
        """Evaluate a function of some values as a table over all of their variables."""
        coded = [self._code(val) for val in vals]
        by_index = {v.index: v for val in vals for v in val.variables}
        scope = tuple(sorted(by_index))
        variables = [by_index[v] for v in scope]
        sizes = [len(v) for v in variables]
        if prod(sizes) > MAX_ENTRIES:
            names = [v.name for v in variables]
            what = f"the cost of '{'.'.join(placed.path)}'"
            raise TooCoupled(names, prod(sizes), MAX_ENTRIES, what)
        joint: Array = np.zeros(sizes, np.int64)
        valid: Array = np.ones(sizes, np.bool_)
        for val, (distinct, codes) in zip(vals, coded, strict=True):
            spread = expand(Factor(tuple(v.index for v in val.variables), codes), scope)
            joint = joint * max(len(distinct), 1) + spread
            valid = valid & (spread >= 0)
        # A combination with a fault would have the code of another one: it gets -1 instead.
        unique, inverse = np.unique(np.where(valid, joint, -1), return_inverse=True)
        results = [self._at(code, coded, rule, tag) for code in unique.tolist()]
        return Factor(scope, _integers(results)[inverse.reshape(-1)].reshape(sizes))

    def _at(
        self,
        code: int,
        coded: Sequence[tuple[list[Any], Array]],
        rule: Callable[..., int],
        tag: str,
    ) -> int:
        if code < 0:
            return 0
        values: list[Any] = []
        for distinct, _ in reversed(coded):
            code, at = divmod(code, len(distinct))
            values.append(distinct[at])
        values.reverse()
        key = (tag, *((type(v), v) for v in values))
        if key not in self._known:
            self._known[key] = rule(*values)
        return self._known[key]

    def _code(self, val: Val) -> tuple[list[Any], Array]:
        """A value's distinct entries, and the index of its entry for each combination (-1 for a
        fault)."""
        if id(val) not in self._codes:
            at: dict[Any, int] = {}
            codes = [
                -1 if isinstance(e, Fault) else at.setdefault((type(e), e), len(at))
                for e in val.entries
            ]
            table = np.array(codes, np.int64).reshape([len(v) for v in val.variables])
            self._codes[id(val)] = (val, [entry for _, entry in at], table)
        return self._codes[id(val)][1:]

    def _mask(self, guard: Guard) -> Factor:
        key = (id(guard.selector), guard.case)
        if key not in self._masks:
            selector = guard.selector
            cells = [not isinstance(e, Fault) and e == guard.case for e in selector.entries]
            table = np.array(cells, np.bool_).reshape([len(v) for v in selector.variables])
            self._masks[key] = Factor(tuple(v.index for v in selector.variables), table)
        return self._masks[key]


def _integers(values: list[int]) -> Array:
    return np.array(values, np.int64 if max(values, default=0) < MAX_INT64 else object)


def plus(left: Array, right: Array) -> Array:
    """The sum of two tables, in Python integers where 64 bits could overflow."""
    if int(np.max(left)) + int(np.max(right)) >= MAX_INT64:
        left, right = left.astype(object), right.astype(object)
    return np.asarray(left + right, left.dtype)


def _merge(found: dict[tuple[int, ...], Array]) -> tuple[Factor, ...]:
    """Fewer tables with the same sum: each is added to the smallest one whose variables include its
    own, if there is one."""
    holders: dict[int, set[tuple[int, ...]]] = {}
    for scope in found:
        for v in scope:
            holders.setdefault(v, set()).add(scope)
    for scope in sorted(found, key=len):
        wider = _common(holders[v] for v in scope) if scope else set(found)
        wider.discard(scope)
        if not wider:
            continue
        target = min(wider, key=lambda s: (found[s].size, s))
        found[target] = plus(found[target], expand(Factor(scope, found.pop(scope)), target))
        for v in scope:
            holders[v].discard(scope)
    return tuple(Factor(scope, table) for scope, table in found.items())


def _common(sets: Iterable[set[tuple[int, ...]]]) -> set[tuple[int, ...]]:
    return set[tuple[int, ...]].intersection(*sets)
