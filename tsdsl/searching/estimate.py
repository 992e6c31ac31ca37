"""What a search will take, before anything runs: memory, multiply-adds, videos.

Exact are the weights, their gradients and the optimiser's values (float32). Activations are all
results of the operations of one architecture on one batch: an upper estimate, as not each of them
is kept for the way back. In four spaces, a forward and a backward pass had 0.75 to 0.94 of it at
their peak (CPU, float32). A backward pass counts as two forward ones.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import torch

from tsdsl.analysis.costs.counted import ELEMENTS
from tsdsl.analysis.elimination.optimum import Optimum, allowed
from tsdsl.backends.supernet import Supernet
from tsdsl.ir.graph import Path
from tsdsl.ir.ordering import TooCoupled
from tsdsl.ir.stream_subset import StreamFilter
from tsdsl.record import Record
from tsdsl.searching.plan import PhasePlan, Plan, present
from tsdsl.searching.registry import algorithm_of
from tsdsl.sema.sections import Adam
from tsdsl.space import Space
from tsdsl.training.checks import shares

#: Bytes of a number.
_FLOAT = 4
#: Forward passes that a forward and a backward one count as.
BOTH = 3


class Expense(Record):
    """Of one phase. None is what cannot be said: tables would be too large."""

    #: Architectures of a step; with adaptive samples, of the first one.
    samples: int | None
    #: Videos that are decoded.
    videos: int
    #: Multiply-adds of all steps, with architectures of the mean cost inside the budgets, or where
    #: there are none, of the initial distribution.
    macs: float | None
    #: Bytes of the results of an architecture's operations, on the clips of a pass: of the mean
    #: one, and of the largest, whatever earlier phases choose.
    activations: tuple[float, float] | None
    #: Bytes, at most, of the gradients of what exists in the phase, and of the optimiser's values.
    gradients: int
    optimizer: int


class Expenses(Record):
    parameters: int
    #: Bytes of the supernet, running statistics included.
    weights: int
    phases: tuple[Expense, ...]


def expenses(
    space: Space,
    plan: Plan,
    micro_batch: int | None = None,
    expected: Mapping[str, Mapping[str, float | None]] | None = None,
) -> Expenses:
    """For one process. ``micro_batch``: as in `run`. ``expected``: mean macs and elements, by
    phase, where they are known inside the budgets (see `foresight`). Raises what making the
    supernet raises."""
    algorithm = algorithm_of(plan.search)
    lists = algorithm.lists(plan)
    clips, passes = shares(plan.search.batch // lists, 1, micro_batch, "search.batch")
    with torch.device("meta"):
        supernet = Supernet(space.graph)
    sizes = {
        path: sum(p.numel() for p in elastic.parameters())
        for path, elastic in supernet._elastic.items()
    }
    # A step keeps the statistics of before, for when it fails.
    buffers = 2 * sum(b.numel() * b.element_size() for b in supernet.buffers())
    costs = {cost: _mean_costs(space, plan, cost) for cost in ("macs", "elements")}
    phases = []
    free: set[str] = set()
    for phase in plan.phases:
        free |= set(phase.learned)
        largest = _largest(space, phase, free)
        means = {cost: known.get(phase.name) for cost, known in costs.items()}
        means |= (expected or {}).get(phase.name, {})
        phases.append(_phase(space, plan, phase, sizes, means, largest, clips, passes))
    total = sum(sizes.values())
    return Expenses(total, total * _FLOAT + buffers, tuple(phases))


def _phase(
    space: Space,
    plan: Plan,
    phase: PhasePlan,
    sizes: dict[Path, int],
    means: dict[str, float | None],
    largest: int | None,
    clips: int,
    passes: int,
) -> Expense:
    search, there = plan.search, StreamFilter(space.graph, phase.streams)
    learned = sum(size for path, size in sizes.items() if there(path))
    kept = 2 if isinstance(search.weights, Adam) else int(search.weights.momentum > 0)
    algorithm = algorithm_of(search)
    samples, lists = algorithm.samples(space, plan, phase), algorithm.lists(plan)
    macs, elements = means["macs"], means["elements"]
    compute = None
    if macs is not None and samples is not None:
        # Of several lists, the first one alone is backpropagated.
        count = (BOTH + lists - 1) / lists
        compute = count * search.batch * phase.steps * samples * macs
    activations = None
    if elements is not None and largest is not None:
        activations = (elements * _FLOAT * clips, float(largest * _FLOAT * clips))
    return Expense(
        samples,
        phase.steps * search.batch,
        compute,
        activations,
        # In parts, those of one architecture are summed by themselves.
        learned * _FLOAT * min(passes, 2),
        kept * learned * _FLOAT,
    )


def _mean_costs(space: Space, plan: Plan, cost: str) -> dict[str, float | None]:
    try:
        return algorithm_of(plan.search).mean_costs(space, plan, cost)
    except TooCoupled:
        return {}


def _largest(space: Space, phase: PhasePlan, free: Collection[str]) -> int | None:
    """Elements of the largest architecture, whatever earlier phases choose; what later ones learn
    stands at its default."""
    rows = [
        np.array([float(d.path in free or k == d.default) for k in range(len(d.options))])
        for d in space.decisions
    ]
    try:
        made = present(space, phase).query_cache.bucket_tree(ELEMENTS)
        possible = [allowed(p, rows) for p in made.potentials]
        tables = [None if (t := p.costs[0]) is None else -t for p in made.potentials]
        found = Optimum(made, tables, possible)
        return -int(found.value) if found.possible else None
    except TooCoupled:
        return None
