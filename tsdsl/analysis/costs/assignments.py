"""Architectures as numbers: which value each variable of a space has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tsdsl.analysis.costs.factors import Array
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.graph import Guard
from tsdsl.ir.resolve import assignment
from tsdsl.ir.space import Decision, SpaceGraph
from tsdsl.ir.values import Fault, Val

_NONE = object()


def assignments(space: SpaceGraph, architectures: Sequence[Mapping[str, Any]]) -> Array:
    """Option indices [architecture, variable]: what `assignment` gives for each.

    The plain case is done for all at once. An architecture with anything unusual (an earlier name,
    an option written differently, something that does not fit) goes through `assignment`.
    """
    given, odd = _given(space.decisions, architectures)
    at, misfit = complete_assignments(space, given)
    for row in np.flatnonzero(odd | misfit).tolist():
        at[row] = assignment(space, architectures[row])
    return at


def assignments_from_indices(space: SpaceGraph, options: Array) -> Array:
    """Assignments [architecture, variable] of option indices [architecture, decision]. Raises
    `ValueError` for an index that is none; requirements are not looked at."""
    given = np.asarray(options)
    sizes = np.array([len(d.options) for d in space.decisions], np.int64)
    if given.ndim != 2 or given.shape[1] != len(sizes) or given.dtype.kind not in "iu":
        raise ValueError(f"{len(sizes)} columns of integers are needed, not {given.shape}")
    wrong = np.argwhere((given < 0) | (given >= sizes))
    if len(wrong):
        row, column = wrong[0].tolist()
        path = space.decisions[column].path
        raise ValueError(f"row {row}: '{path}' has no option {int(given[row, column])}")
    return complete_assignments(space, given.astype(np.int64))[0]


def complete_assignments(space: SpaceGraph, given: Array) -> tuple[Array, Array]:
    """Assignments of option indices (-1: not given), defaults where a decision is not active; and
    which rows lack something or violate a requirement."""
    odd: Array = np.zeros(len(given), np.bool_)
    at: Array = np.zeros((len(given), len(space.variables)), np.int64)
    columns = {d.variable.index: k for k, d in enumerate(space.decisions)}
    for variable in space.variables:
        index = variable.index
        if variable.definition is not None:
            entries = variable.definition.entries
            table = np.array([-1 if isinstance(e, Fault) else e for e in entries], np.int64)
            found = entries_at(table, variable.definition, at)
            odd |= found < 0
            at[:, index] = np.maximum(found, 0)
        elif index in columns:
            decision = space.decisions[columns[index]]
            running = guards_hold(decision.guards, at)
            found = given[:, columns[index]]
            odd |= running & (found < 0)
            at[:, index] = np.where(running & (found >= 0), found, decision.default)
    for requirement in space.requirements:
        fails = np.array([e is False for e in requirement.condition.entries], np.bool_)
        odd |= guards_hold(requirement.guards, at) & entries_at(fails, requirement.condition, at)
    return at, odd


def active_decisions(space: SpaceGraph, at: Array) -> Array:
    """Which of the space's own decisions are active, for each row of an array of assignments."""
    known: dict[tuple[Guard, ...], Array] = {}
    for d in space.own:
        if d.guards not in known:
            known[d.guards] = guards_hold(d.guards, at)
    columns = [known[d.guards] for d in space.own]
    return np.stack(columns, 1) if columns else np.zeros((len(at), 0), np.bool_)


def _given(
    decisions: Sequence[Decision], architectures: Sequence[Mapping[str, Any]]
) -> tuple[Array, Array]:
    """Option index of each decision (-1: not given), and which rows need a closer look."""
    known: list[tuple[str, dict[Any, int]]] = [
        (d.path, {option: k for k, option in enumerate(d.options)}) for d in decisions
    ]
    # A byte for each where they suffice: numpy reads lists of integers slowly.
    small = all(len(options) < 255 for _, options in known)
    missing = 255 if small else -1
    # True equals 1 in Python, but not in a spec.
    alike = [
        (path, k, any(type(o) is bool for o in options))
        for k, (path, options) in enumerate(known)
        if 0 in options or 1 in options
    ]
    odd: list[bool] = []
    rows: list[list[int]] = []
    for architecture in architectures:
        if not isinstance(architecture, Architecture):
            rows.append([missing] * len(known))
            odd.append(True)
            continue
        chosen = architecture._decisions
        get = chosen.get
        row = [options.get(get(path, _NONE), missing) for path, options in known]
        wrong = len(known) - row.count(missing) != len(chosen)
        if alike:
            wrong = wrong or any(
                path in chosen and (type(chosen[path]) is bool) is not boolean
                for path, _, boolean in alike
            )
        rows.append(row)
        odd.append(wrong)
    flat: Array = np.frombuffer(b"".join(map(bytes, rows)), np.uint8) if small else np.array(rows)
    table = flat.reshape(len(rows), len(known)).astype(np.int64)
    return np.where(table == missing, -1, table), np.array(odd, np.bool_)


def guards_hold(guards: Sequence[Guard], at: Array) -> Array:
    """In which rows all guards hold."""
    holds: Array = np.ones(len(at), np.bool_)
    for guard in guards:
        cells = [not isinstance(e, Fault) and e == guard.case for e in guard.selector.entries]
        holds &= entries_at(np.array(cells, np.bool_), guard.selector, at)
    return holds


def entries_at(table: Array, val: Val, at: Array) -> Array:
    """The entry of a value's table for each row."""
    sizes = [len(v) for v in val.variables]
    return _look_up(table, sizes, [v.index for v in val.variables], at)


def _look_up(table: Array, sizes: Sequence[int], scope: Sequence[int], at: Array) -> Array:
    """The entry of a row-major table for each row."""
    offsets: Array = np.zeros(len(at), np.int64)
    for size, variable in zip(sizes, scope, strict=True):
        offsets = offsets * size + at[:, variable]
    return table[offsets]
