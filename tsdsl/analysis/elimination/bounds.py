"""The exact minimum and maximum of a cost over all architectures of a space."""

from __future__ import annotations

from typing import NamedTuple

from tsdsl.analysis.costs.cost import Cost
from tsdsl.analysis.elimination.cache import query_cache
from tsdsl.analysis.elimination.no_architecture import no_architecture
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.resolve import architecture_at
from tsdsl.ir.space import SpaceGraph


class Bound(NamedTuple):
    """A minimum or maximum of a cost, and an architecture that attains it."""

    value: int
    architecture: Architecture


class Bounds(NamedTuple):
    """The least and the greatest cost of a space."""

    min: Bound
    max: Bound

    def _repr_html_(self) -> str:
        from tsdsl.notebook import html_table

        rows = [(name, f"{end.value:,}", end.architecture) for name, end in self._asdict().items()]
        return html_table("Bounds", ["", "cost", "architecture"], rows)


def bounds(space: SpaceGraph, cost: Cost) -> Bounds:
    """The exact minimum and maximum of a cost over the architectures that satisfy all requirements.

    Raises `SpecError` if there is no such architecture, `TooCoupled`.
    """
    return Bounds(_extreme(space, cost, 1), _extreme(space, cost, -1))


def _extreme(space: SpaceGraph, cost: Cost, sign: int) -> Bound:
    cache = query_cache(space)
    optimum = cache.optimum(cost, sign)
    if not optimum.possible:
        raise no_architecture(space)
    at = cache.bucket_tree(cost).complete(optimum.best())
    return Bound(sign * int(optimum.value), architecture_at(space, at))
