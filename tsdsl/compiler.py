"""The straight line through the stages: a file to a space, an architecture to a network.

text -> syntax -> sema -> ir.SpaceGraph -> freeze -> ir.Network -> backends
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsdsl.diagnostics import Diagnostic, DiagnosticError, SpecError, did_you_mean
from tsdsl.ir.architecture import Architecture
from tsdsl.sema.check import CheckedFile, check_file
from tsdsl.space import Space

if TYPE_CHECKING:
    from torch import nn

    from tsdsl.analysis.costs.cost_table import CostTable
    from tsdsl.ir.network import Network

PathLike = str | os.PathLike[str]


def check(path: PathLike, set: Mapping[str, Any] | None = None) -> list[Diagnostic]:
    """Everything that is wrong with a file, in source order. Never raises for what is in it, nor
    for a file that cannot be read: that is a finding too."""
    try:
        return list(check_file(Path(path), set).diagnostics)
    except DiagnosticError as error:
        return list(error.diagnostics)


def load(
    path: PathLike,
    set: Mapping[str, Any] | None = None,
    space: str | None = None,
    costs: PathLike | CostTable | Sequence[PathLike | CostTable] = (),
) -> Space:
    """The space of a file: the one that no other one there extends. ``set`` gives params other
    values and fixes decisions; ``space`` names one where the file has several, or one that is
    extended, and ``set`` is for it; ``costs`` are cost tables, such as the ``latency.json`` of
    ``tsdsl measure``. Raises `SpecError`, which holds every finding, or
    `FileError`.
    """
    meant = [space] if space is not None else []
    found = select(check_file(Path(path), set, meant, bases=False), os.fspath(path), space)
    return found.with_costs(*tables(costs)) if costs else found


def tables(
    costs: PathLike | CostTable | Sequence[PathLike | CostTable],
) -> list[CostTable]:
    """Each cost once."""
    from tsdsl.analysis.costs.cost_table import CostTable

    if isinstance(costs, str | os.PathLike | CostTable):
        costs = [costs]
    known: dict[str, str] = {}
    found: list[CostTable] = []
    for given in costs:
        table = given if isinstance(given, CostTable) else CostTable.load(given)
        name = "a table" if isinstance(given, CostTable) else os.fspath(given)
        if table.name in known:
            message = f"two tables for the cost '{table.name}': {known[table.name]} and {name}"
            raise SpecError([Diagnostic("E0724", message, file=name, help="give one of them")])
        known[table.name] = name
        found.append(table)
    return found


def select(checked: CheckedFile, file: str, name: str | None = None) -> Space:
    """The one space of a checked file, or the one of that name. Raises `SpecError`."""
    if checked.has_errors:
        raise SpecError(d for d in checked.diagnostics if d.severity == "error")
    if not checked.names:
        raise SpecError(
            [_finding("this file has no space, only blocks", file, "load one that does")]
        )
    if name is None:
        if len(checked.names) > 1:
            message = f"this file has {len(checked.names)} spaces: {', '.join(checked.names)}"
            raise SpecError([_finding(message, file, f"name one: --space {checked.names[0]}")])
        name = checked.names[0]
    if name not in checked.spaces:
        known = (*checked.names, *checked.bases)
        hint = did_you_mean(name, known, f"it has: {', '.join(known)}")
        raise SpecError([_finding(f"there is no space '{name}'", file, hint)])
    found = checked.spaces[name]
    return Space(found.graph, found.sections)


def compile(space: Space, frozen: Mapping[str, Any] | PathLike | None = None) -> nn.Module:
    """The network of an architecture as a plain `nn.Module`: ``net(clip_NCTHW) -> logits``.

    ``frozen`` is an `Architecture`, a mapping or the path of an ``arch.json``; a space without
    decisions needs none. Of a space with decisions and without ``frozen``, the `Supernet`:
    ``supernet(clip_NCTHW, architecture) -> logits``. Raises `ArchitectureError`.
    """
    if frozen is None and space.decisions:
        from tsdsl.backends.supernet import Supernet

        return Supernet(space.graph)
    from tsdsl.backends.network_module import build

    return build(network(space, frozen))


def emit(space: Space, frozen: Mapping[str, Any] | PathLike | None = None) -> str:
    """The same network, or supernet, as the text of a Python module that imports torch only."""
    if frozen is None and space.decisions:
        from tsdsl.backends.supernet_source import emit_supernet

        return emit_supernet(space.graph)
    from tsdsl.backends.emit import emit as emit_source

    return emit_source(network(space, frozen))


def network(space: Space, frozen: Mapping[str, Any] | PathLike | None = None) -> Network:
    """The frozen graph of an architecture: every attribute a number, every edge a shape."""
    if isinstance(frozen, str | os.PathLike):
        frozen = Architecture.load(frozen)
    return space.network(frozen)


def _finding(message: str, file: str, hint: str | None) -> Diagnostic:
    return Diagnostic("E0513", message, file=file, help=hint)
