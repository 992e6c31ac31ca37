"""The cost of many architectures at once: a sum of look-ups for each factor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tsdsl.analysis.cost_table import Cost
from tsdsl.analysis.factors import Array, cost_factors
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.graph import Guard
from tsdsl.ir.resolve import assignment
from tsdsl.ir.space import Decision, SpaceGraph
from tsdsl.ir.values import Fault, Val


def costs(space: SpaceGraph, architectures: Sequence[Mapping[str, Any]], cost: Cost) -> Array:
    """The cost of each architecture. They are validated: raises `ArchitectureError`."""
    return cost_of(space, assignments(space, architectures), cost)


def cost_of(space: SpaceGraph, at: Array, cost: Cost) -> Array:
    """The cost of each row of an array of assignments [architecture, variable]."""
    total: Array = np.zeros(len(at), np.int64)
    for factor in cost_factors(space, cost):
        total = total + _look_up(factor.table.reshape(-1), factor.table.shape, factor.scope, at)
    return total


def assignments(space: SpaceGraph, architectures: Sequence[Mapping[str, Any]]) -> Array:
    """Option indices [architecture, variable]: what `assignment` gives for each.

    The plain case is done for all at once. An architecture with anything unusual (an earlier name,
    an option written differently, something that does not fit) goes through `assignment`.
    """
    given, odd = _given(space.decisions, architectures)
    at: Array = np.zeros((len(architectures), len(space.variables)), np.int64)
    columns = {d.variable.index: k for k, d in enumerate(space.decisions)}
    for variable in space.variables:
        index = variable.index
        if variable.definition is not None:
            entries = variable.definition.entries
            table = np.array([-1 if isinstance(e, Fault) else e for e in entries], np.int64)
            found = table_at(table, variable.definition, at)
            odd |= found < 0
            at[:, index] = np.maximum(found, 0)
        elif index in columns:
            decision = space.decisions[columns[index]]
            active = hold(decision.guards, at)
            found = given[:, columns[index]]
            odd |= active & (found < 0)
            at[:, index] = np.where(active & (found >= 0), found, decision.default)
    for requirement in space.requirements:
        fails = np.array([e is False for e in requirement.condition.entries], np.bool_)
        odd |= hold(requirement.guards, at) & table_at(fails, requirement.condition, at)
    for row in np.flatnonzero(odd).tolist():
        at[row] = assignment(space, architectures[row])
    return at


def active(space: SpaceGraph, at: Array) -> Array:
    """Which decisions are active, for each row of an array of assignments."""
    known: dict[tuple[Guard, ...], Array] = {}
    for d in space.decisions:
        if d.guards not in known:
            known[d.guards] = hold(d.guards, at)
    columns = [known[d.guards] for d in space.decisions]
    return np.stack(columns, 1) if columns else np.zeros((len(at), 0), np.bool_)


def _given(
    decisions: Sequence[Decision], architectures: Sequence[Mapping[str, Any]]
) -> tuple[Array, Array]:
    """Option index of each decision (-1: not given), and which rows need a closer look."""
    options = [
        (d.path, {(type(o) is bool, o): k for k, o in enumerate(d.options)}) for d in decisions
    ]
    rows: list[list[int]] = []
    odd: list[bool] = []
    for architecture in architectures:
        if not isinstance(architecture, Architecture):
            rows.append([-1] * len(options))
            odd.append(True)
            continue
        row: list[int] = []
        for path, known in options:
            option = architecture.get(path)
            row.append(-1 if option is None else known.get((type(option) is bool, option), -1))
        rows.append(row)
        odd.append(len(architecture) != sum(k >= 0 for k in row))
    shape = (len(rows), len(options))
    return np.array(rows, np.int64).reshape(shape), np.array(odd, np.bool_)


def hold(guards: Sequence[Guard], at: Array) -> Array:
    """In which rows all guards hold."""
    holds: Array = np.ones(len(at), np.bool_)
    for guard in guards:
        cells = [not isinstance(e, Fault) and e == guard.case for e in guard.selector.entries]
        holds &= table_at(np.array(cells, np.bool_), guard.selector, at)
    return holds


def table_at(table: Array, val: Val, at: Array) -> Array:
    """The entry of a value's table for each row."""
    sizes = [len(v) for v in val.variables]
    return _look_up(table, sizes, [v.index for v in val.variables], at)


def _look_up(table: Array, sizes: Sequence[int], scope: Sequence[int], at: Array) -> Array:
    """The entry of a row-major table for each row."""
    offsets: Array = np.zeros(len(at), np.int64)
    for size, variable in zip(sizes, scope, strict=True):
        offsets = offsets * size + at[:, variable]
    return table[offsets]
