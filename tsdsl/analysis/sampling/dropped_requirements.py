"""Spaces with requirements that are too coupled for an exact plan.

Such requirements are dropped from the space that is drawn from, and draws that violate them are
rejected. This is exact, too; its speed is the share of draws that satisfy them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from tsdsl.analysis.costs.assignments import entries_at, guards_hold
from tsdsl.analysis.costs.cost import Cost
from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.elimination.cache import QueryCache, query_cache
from tsdsl.ir.ordering import TooCoupled
from tsdsl.ir.space import Requirement, SpaceGraph
from tsdsl.ir.values import Fault
from tsdsl.record import replace

#: Largest number of requirements that are added one by one.
MAX_TRIED = 64


@lru_cache(maxsize=8)
def plannable(
    space: SpaceGraph, costs: tuple[Cost, ...]
) -> tuple[QueryCache, tuple[Requirement, ...]]:
    """The space to draw from, and the requirements that it drops: all are kept if that can be
    planned, otherwise those that can be added greedily. Raises `TooCoupled` if there is no plan
    even without requirements."""
    cache = query_cache(space)
    try:
        cache.bucket_tree(*costs)
        return cache, ()
    except TooCoupled as wide:
        kept: list[Requirement] = []
        best = _planned(space, kept, costs)
        if best is None or not space.requirements:
            raise wide from None
        for requirement in space.requirements[:MAX_TRIED]:
            larger = _planned(space, [*kept, requirement], costs)
            if larger is not None:
                best = larger
                kept.append(requirement)
        kept_ids = {id(requirement) for requirement in kept}
        return best, tuple(r for r in space.requirements if id(r) not in kept_ids)


def _planned(
    space: SpaceGraph, kept: list[Requirement], costs: tuple[Cost, ...]
) -> QueryCache | None:
    cache = QueryCache(replace(space, requirements=tuple(kept)))
    try:
        cache.bucket_tree(*costs)
    except TooCoupled:
        return None
    return cache


def met(space: SpaceGraph, at: Array) -> Array:
    """Whether each assignment satisfies all requirements of a space; derived variables are computed
    anew from its decisions."""
    needed = _concerned(space.requirements)
    at = at.copy()
    fits: Array = np.ones(len(at), np.bool_)
    for variable in space.variables:
        if variable.definition is None:
            continue
        cells = [-1 if isinstance(e, Fault) else e for e in variable.definition.entries]
        values = entries_at(np.array(cells, np.int64), variable.definition, at)
        if variable.index in needed:
            fits &= values >= 0
        at[:, variable.index] = np.maximum(values, 0)
    for requirement in space.requirements:
        fails = np.array([e is False for e in requirement.condition.entries], np.bool_)
        fits &= ~(
            guards_hold(requirement.guards, at) & entries_at(fails, requirement.condition, at)
        )
    return fits


def _concerned(requirements: Sequence[Requirement]) -> set[int]:
    """The variables that requirements mention, with all that these are derived from."""
    waiting = [v for r in requirements for v in r.condition.variables]
    waiting += [v for r in requirements for guard in r.guards for v in guard.selector.variables]
    concerned: set[int] = set()
    while waiting:
        variable = waiting.pop()
        if variable.index not in concerned:
            concerned.add(variable.index)
            waiting += variable.definition.variables if variable.definition is not None else ()
    return concerned
