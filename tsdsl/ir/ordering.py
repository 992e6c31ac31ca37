"""Elimination orders, and the size of their tables: shared by every solver.

Eliminating a variable joins all tables that contain it into one over its neighbours. The size of
these tables determines the time of a query, so two greedy orders are computed (min-weight: smallest
table first; min-fill: fewest new pairs of neighbours first) and the one with fewer entries is used.
Both are symbolic: no table is built. The heuristics are described in Koller and Friedman,
Probabilistic Graphical Models, section 9.4.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush
from math import prod

from tsdsl.diagnostics import Diagnostic, DiagnosticError
from tsdsl.record import Record


class EliminationPlan(Record):
    """An elimination order with, for each step, the variable's remaining neighbours."""

    order: tuple[int, ...]
    #: ``neighbours[k]``: the variables of the table of step k without ``order[k]``, sorted.
    neighbours: tuple[tuple[int, ...], ...]
    #: Entries of the largest table.
    peak: int
    #: Entries of all tables together.
    total: int

    def widest(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """The variables of the largest table."""
        cliques = (
            (variable, *rest) for variable, rest in zip(self.order, self.neighbours, strict=True)
        )
        return max(cliques, key=lambda clique: prod(sizes[v] for v in clique), default=())


class TooCoupled(DiagnosticError):
    """So many decisions depend on each other that an exact answer needs too large a table."""

    def __init__(self, names: Sequence[str], size: int, limit: int, what: str) -> None:
        self.names = tuple(names)
        self.size = size
        shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        super().__init__(
            [
                Diagnostic(
                    "E0592",
                    f"{what} needs a table of {size:,} entries; the limit is {limit:,}",
                    help=f"these depend on each other: {shown}",
                )
            ]
        )


def plan(
    scopes: Iterable[Iterable[int]], sizes: Sequence[int], keep: Iterable[int] = ()
) -> EliminationPlan:
    """The better of the two greedy orders that eliminate all variables of ``scopes`` except
    ``keep``. ``sizes[v]`` is the number of values of variable v."""
    sets = [set(scope) for scope in scopes]
    kept = set(keep)
    plans = [_greedy(sets, sizes, kept, score) for score in ("weight", "fill")]
    return min(plans, key=lambda p: (p.total, p.peak))


def _greedy(
    scopes: list[set[int]], sizes: Sequence[int], kept: set[int], score: str
) -> EliminationPlan:
    around: dict[int, set[int]] = {}
    for scope in scopes:
        for variable in scope:
            around.setdefault(variable, set()).update(scope)
    for variable, others in around.items():
        others.discard(variable)

    def rate(variable: int) -> tuple[int, int, int]:
        others = around[variable]
        weight = sizes[variable] * prod(sizes[o] for o in others)
        if score == "weight":
            return weight, len(others), variable
        missing = sum(len(others) - 1 - len(around[o] & others) for o in others)
        return missing, weight, variable

    waiting = {v: rate(v) for v in around if v not in kept}
    heap = list(waiting.values())
    heapify(heap)
    order: list[int] = []
    neighbours: list[tuple[int, ...]] = []
    peak, total = 1, 0
    while heap:
        rated = heappop(heap)
        variable = rated[-1]
        if waiting.get(variable) != rated:
            continue
        del waiting[variable]
        others = around.pop(variable)
        order.append(variable)
        neighbours.append(tuple(sorted(others)))
        weight = sizes[variable] * prod(sizes[o] for o in others)
        peak, total = max(peak, weight), total + weight
        for other in others:
            mine = around[other]
            mine |= others
            mine.discard(other)
            mine.discard(variable)
        touched = others if score == "weight" else others.union(*(around[o] for o in others))
        for other in touched:
            if other in waiting and waiting[other] != (new := rate(other)):
                waiting[other] = new
                heappush(heap, new)
    return EliminationPlan(tuple(order), tuple(neighbours), peak, total)
