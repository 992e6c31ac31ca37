"""The straight line through the stages: a file to a space, an architecture to a network.

text -> syntax -> sema -> ir.SpaceGraph -> freeze -> ir.Network -> backends
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsdsl.arguments import check_type
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
    """Find everything that is wrong with a spec: a list of `Diagnostic`, in source order, empty for
    a good one. A file that cannot be read is a finding too: nothing is raised.

    - ``path``: the file. ``set``: values of params, and options for decisions, as in `load`.

        >>> for finding in tsdsl.check("broken.tsnet"):
        ...     print(finding.code, finding.message)
        E0201 'wdith' is not known here
    """
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
    """Load the space of a spec file.

    - ``path``: the file.
    - ``set``: values of params, and options for decisions, which are then fixed:
      ``{"crop": 182, "main.s1.width": 16}``. Settings of sections have paths too: ``train.lr``.
    - ``space``: the name of the space, where the file has several; left out, the one that no other
      one extends.
    - ``costs``: cost tables, or their files, such as the ``latency.json`` of `measure`.

    Raises `SpecError`, whose ``diagnostics`` are all findings of the spec, and `FileError`.

        >>> tsdsl.load("small.tsnet", set={"main.s1.width": 16})
        <Space Small: 3 decisions, clip 3x4x16x16>
    """
    meant = [space] if space is not None else []
    found = select(check_file(Path(path), set, meant, bases=False), os.fspath(path), space)
    return found.with_costs(*tables(costs)) if costs else found


def tables(
    costs: PathLike | CostTable | Sequence[PathLike | CostTable],
) -> list[CostTable]:
    """Cost tables from files and objects. Raises `SpecError` for two of the same name."""
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
    """Compile a network to a plain `torch.nn.Module`, with initial weights from torch's generator.

    - ``space``: a space. Without decisions, its network: ``net(clip_NCTHW)`` returns logits
      [N, classes].
    - ``frozen``: the architecture whose network is compiled: an `Architecture`, a mapping or the
      path of an ``arch.json``. Left out for a space with decisions, the result is its `Supernet`:
      ``supernet(clip_NCTHW, architecture)`` returns logits.

    Raises `ArchitectureError` and `FileError`.

        >>> net = tsdsl.compile(space, frozen=arch)
        >>> net(torch.rand(2, *space.input_shape)).shape
        torch.Size([2, 4])
    """
    _check_space(space)
    if frozen is None and space.decisions:
        from tsdsl.backends.supernet import Supernet

        return Supernet(space.graph)
    from tsdsl.backends.network_module import build

    return build(network(space, frozen))


def emit(space: Space, frozen: Mapping[str, Any] | PathLike | None = None) -> str:
    """Emit the source of a Python module that defines the same network, or supernet, as `compile`.
    It imports torch and nothing else.

    - ``space``, ``frozen``: as in `compile`.

    Raises `ArchitectureError` and `FileError`.

        >>> source = tsdsl.emit(space, frozen=arch)
        >>> [line for line in source.splitlines() if "import" in line.split()]
        ['from torch import Tensor, nn']
    """
    _check_space(space)
    if frozen is None and space.decisions:
        from tsdsl.backends.supernet_source import emit_supernet

        return emit_supernet(space.graph)
    from tsdsl.backends.emit import emit as emit_source

    return emit_source(network(space, frozen))


def network(space: Space, frozen: Mapping[str, Any] | PathLike | None = None) -> Network:
    """The frozen graph of an architecture, which may be a file."""
    if isinstance(frozen, str | os.PathLike):
        frozen = Architecture.load(frozen)
    return space.network(frozen)


def _check_space(space: Space) -> None:
    check_type("space", space, Space, "tsdsl.load(path) reads a spec")


def _finding(message: str, file: str, hint: str | None) -> Diagnostic:
    return Diagnostic("E0513", message, file=file, help=hint)
