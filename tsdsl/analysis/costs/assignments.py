"""Architectures as arrays: the value index of each variable of a space.

An *assignment* has a column for every variable, derived ones included. *Option indices* have a
column for every decision.
"""

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
    """The assignments [architecture, variable] of some architectures, as `assignment` gives them.
    Raises `ArchitectureError`.

    Architectures with today's paths and the space's own notation of options are processed together,
    with numpy. All others (an earlier path, another notation, an option that does not fit) are
    given to `assignment` one by one.
    """
    given, unusual = _option_indices(space.decisions, architectures)
    at, invalid = complete_assignments(space, given)
    for row in np.flatnonzero(unusual | invalid).tolist():
        at[row] = assignment(space, architectures[row])
    return at


def assignments_from_indices(space: SpaceGraph, options: Array) -> Array:
    """The assignments [architecture, variable] of option indices [architecture, decision]. Raises
    `ValueError` for an index out of range. Requirements are not checked."""
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
    """Complete option indices [architecture, decision] (-1: not given) to assignments
    [architecture, variable]: inactive decisions get their default, derived variables are computed.

    The second result marks the rows that are not architectures: an active decision is not given, a
    derived variable has no value, or a requirement is violated. Their assignments mean nothing.
    """
    invalid: Array = np.zeros(len(given), np.bool_)
    at: Array = np.zeros((len(given), len(space.variables)), np.int64)
    columns = {d.variable.index: k for k, d in enumerate(space.decisions)}
    for variable in space.variables:
        index = variable.index
        if variable.definition is not None:
            entries = variable.definition.entries
            table = np.array([-1 if isinstance(e, Fault) else e for e in entries], np.int64)
            found = entries_at(table, variable.definition, at)
            invalid |= found < 0
            at[:, index] = np.maximum(found, 0)
        elif index in columns:
            decision = space.decisions[columns[index]]
            active = guards_hold(decision.guards, at)
            found = given[:, columns[index]]
            invalid |= active & (found < 0)
            at[:, index] = np.where(active & (found >= 0), found, decision.default)
    for requirement in space.requirements:
        fails = np.array([e is False for e in requirement.condition.entries], np.bool_)
        failed = entries_at(fails, requirement.condition, at)
        invalid |= guards_hold(requirement.guards, at) & failed
    return at, invalid


def active_decisions(space: SpaceGraph, at: Array) -> Array:
    """Whether each decision of the spec (`SpaceGraph.own`) is active, as booleans
    [architecture, decision], for assignments [architecture, variable]."""
    known: dict[tuple[Guard, ...], Array] = {}
    for d in space.own:
        if d.guards not in known:
            known[d.guards] = guards_hold(d.guards, at)
    columns = [known[d.guards] for d in space.own]
    return np.stack(columns, 1) if columns else np.zeros((len(at), 0), np.bool_)


def _option_indices(
    decisions: Sequence[Decision], architectures: Sequence[Mapping[str, Any]]
) -> tuple[Array, Array]:
    """Option indices [architecture, decision] (-1: not given), and the rows that are unusual: they
    are not an `Architecture`, or contain a path or option that is not written as in the space."""
    known: list[tuple[str, dict[Any, int]]] = [
        (d.path, {option: k for k, option in enumerate(d.options)}) for d in decisions
    ]
    # One byte per index where that suffices: numpy converts lists of integers slowly.
    small = all(len(options) < 255 for _, options in known)
    missing = 255 if small else -1
    # True equals 1 in Python, but not in a spec: decisions for which types have to be compared.
    ambiguous = [
        (path, k, any(type(o) is bool for o in options))
        for k, (path, options) in enumerate(known)
        if 0 in options or 1 in options
    ]
    unusual: list[bool] = []
    rows: list[list[int]] = []
    for architecture in architectures:
        if not isinstance(architecture, Architecture):
            rows.append([missing] * len(known))
            unusual.append(True)
            continue
        chosen = architecture._decisions
        get = chosen.get
        row = [options.get(get(path, _NONE), missing) for path, options in known]
        wrong = len(known) - row.count(missing) != len(chosen)
        if ambiguous:
            wrong = wrong or any(
                path in chosen and (type(chosen[path]) is bool) is not boolean
                for path, _, boolean in ambiguous
            )
        rows.append(row)
        unusual.append(wrong)
    flat: Array = np.frombuffer(b"".join(map(bytes, rows)), np.uint8) if small else np.array(rows)
    table = flat.reshape(len(rows), len(known)).astype(np.int64)
    return np.where(table == missing, -1, table), np.array(unusual, np.bool_)


def guards_hold(guards: Sequence[Guard], at: Array) -> Array:
    """Whether all guards hold, for each row of assignments."""
    holds: Array = np.ones(len(at), np.bool_)
    for guard in guards:
        cells = [not isinstance(e, Fault) and e == guard.case for e in guard.selector.entries]
        holds &= entries_at(np.array(cells, np.bool_), guard.selector, at)
    return holds


def entries_at(table: Array, val: Val, at: Array) -> Array:
    """The entry of ``table``, row-major over the variables of ``val``, for each row of
    assignments."""
    sizes = [len(v) for v in val.variables]
    return _look_up(table, sizes, [v.index for v in val.variables], at)


def _look_up(table: Array, sizes: Sequence[int], scope: Sequence[int], at: Array) -> Array:
    """The entry of a row-major table over the variables ``scope`` for each row of assignments."""
    offsets: Array = np.zeros(len(at), np.int64)
    for size, variable in zip(sizes, scope, strict=True):
        offsets = offsets * size + at[:, variable]
    return table[offsets]
