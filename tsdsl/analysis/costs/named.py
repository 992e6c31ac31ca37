"""Costs by the names that users write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from tsdsl.analysis.costs.cost import Cost
from tsdsl.analysis.costs.cost_table import LATENCY
from tsdsl.analysis.costs.counted import COUNTED, MACS, PARAMS
from tsdsl.diagnostics import Diagnostic, Span, SpecError, did_you_mean, nearest

Window = TypeVar("Window")

#: Names under which users look for peak memory, which is not a `Cost` (see `cost`).
_PEAK_MEMORY = frozenset({"memory", "peak_memory", "peak", "vram", "ram"})


def counted(name: str) -> Cost | None:
    """The counted cost with this name or alias; None if there is none."""
    return next((cost for cost in COUNTED if cost.is_called(name)), None)


def misspelt_cost(name: str) -> str | None:
    """The counted cost, or latency, from which a name differs by one slip: a character that is
    added, left out or replaced, two neighbours that are swapped, or case. None for a name that is
    right, and for other names, which a cost table may define."""
    known = [LATENCY, *(each for cost in COUNTED for each in (cost.name, *cost.aliases))]
    if name in known:
        return None
    return next((each for each in known if _is_one_slip(name.lower(), each)), None)


def _is_one_slip(one: str, other: str) -> bool:
    """Whether at most one edit (Damerau-Levenshtein) turns ``one`` into ``other``."""
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    one, other = one[start:], other[start:]
    swapped = len(one) > 1 and one[:2] == other[1::-1] and one[2:] == other[2:]
    return swapped or one[1:] == other[1:] or one[1:] == other or one == other[1:]


def cost_named(
    name: str, own: Mapping[str, Cost], space: str, source: str, span: Span | None = None
) -> Cost:
    """The cost that a name means: a counted one, or one of a space's ``own``, by name. ``space``
    and ``source`` are the space's name and file, for the error. ``span`` is the place where the
    spec has a budget for the cost, if it has one. Raises `SpecError`."""
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
        costs = f"the costs are: {', '.join(known)}"
        hint = did_you_mean(name, known, costs)
        if span is not None:
            hint = f"{costs}; --costs FILE gives the table of another one"
            if meant := misspelt_cost(name) or nearest(name, known):
                hint = f"did you mean '{meant}'? {hint}"
    raise SpecError([Diagnostic("E0723", message, span, file=source, help=hint)])


def windows_by_name(
    flops: Window | None, params: Window | None, within: Mapping[str, Window | None] | None
) -> list[tuple[str, Window]]:
    """All given windows with the names of their costs: those of ``flops`` and ``params``, which
    have arguments of their own in most functions, and those of ``within`` (cost -> window). Windows
    that are None are left out."""
    given = [(MACS.name, flops), (PARAMS.name, params), *(within or {}).items()]
    return [(name, window) for name, window in given if window is not None]
