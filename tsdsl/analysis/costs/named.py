"""Costs by the names that users write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from tsdsl.analysis.costs.cost import Cost
from tsdsl.analysis.costs.cost_table import LATENCY
from tsdsl.analysis.costs.counted import COUNTED, MACS, PARAMS
from tsdsl.diagnostics import Diagnostic, SpecError, did_you_mean

Window = TypeVar("Window")

#: Names under which users look for peak memory, which is not a `Cost` (see `cost`).
_PEAK_MEMORY = frozenset({"memory", "peak_memory", "peak", "vram", "ram"})


def counted(name: str) -> Cost | None:
    """The counted cost with this name or alias; None if there is none."""
    return next((cost for cost in COUNTED if cost.is_called(name)), None)


def cost_named(name: str, own: Mapping[str, Cost], space: str, source: str) -> Cost:
    """The counted cost with this name or alias, or else the space's ``own`` cost of this name.
    ``space`` and ``source`` are the space's name and file, for the error. Raises `SpecError`."""
    found = counted(name) or own.get(name)
    if found is not None:
        return found
    known = [*(cost.name for cost in COUNTED), *own]
    message = f"space {space} has no table for the cost '{name}'"
    if name == LATENCY:
        hint: str | None = (
            f"'tsdsl measure {source} -o latency.json' makes its table,"
            " --costs latency.json reads it"
        )
    elif name in _PEAK_MEMORY:
        message = f"'{name}' is not a cost: peak memory is not a sum over operations"
        hint = "'elements' counts the values of all results; 'tsdsl bench' measures the peak"
    else:
        hint = did_you_mean(name, known, f"the costs are: {', '.join(known)}")
    raise SpecError([Diagnostic("E0723", message, file=source, help=hint)])


def windows_by_name(
    flops: Window | None, params: Window | None, within: Mapping[str, Window | None] | None
) -> list[tuple[str, Window]]:
    """All given windows with the names of their costs: those of ``flops`` and ``params``, which
    have arguments of their own in most functions, and those of ``within`` (cost -> window). Windows
    that are None are left out."""
    given = [(MACS.name, flops), (PARAMS.name, params), *(within or {}).items()]
    return [(name, window) for name, window in given if window is not None]
