"""Everything that is known of a space before it is searched, collected in one record.

`tsdsl space` prints it, writes it as JSON and plots it. A query whose tables would be too large is
left out, with its error as a note; the others are answered all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from tsdsl.analysis.costs.cost import Cost
from tsdsl.analysis.costs.counted import COUNTED, MACS
from tsdsl.analysis.costs.items import Grouping
from tsdsl.analysis.distribution import Distribution, DistributionLike
from tsdsl.analysis.elimination.bounds import Bounds
from tsdsl.analysis.elimination.cache import query_cache
from tsdsl.analysis.elimination.phases import PhaseCost
from tsdsl.analysis.windows.window import Between, CountBetween, Histogram
from tsdsl.diagnostics import Diagnostic, DiagnosticError, SpecError
from tsdsl.ir.ordering import TooCoupled

if TYPE_CHECKING:
    from tsdsl.sema.sections import Budget
    from tsdsl.space import Space

Answer = TypeVar("Answer")
#: The shares of all mass whose quantiles are collected.
SHARES = (0.01, 0.1, 0.5, 0.9, 0.99)


@dataclass(slots=True)
class CostSummary:
    """One cost over a space, exact; None where a query could not be answered. ``mean`` and ``std``
    are under the distribution, ``uniform_mean`` and ``uniform_std`` with all architectures equally
    probable."""

    cost: Cost
    bounds: Bounds | None = None
    mean: float | None = None
    std: float | None = None
    uniform_mean: float | None = None
    uniform_std: float | None = None
    #: The quantiles at `SHARES`, under the distribution.
    quantiles: list[Between] | None = None
    histogram: Histogram | None = None
    #: The expected cost of each group, by the kind of grouping, and the cost in each phase of the
    #: search; neither is collected for elements.
    breakdown: dict[Grouping, dict[str, float]] = field(default_factory=dict)
    phases: list[PhaseCost] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.cost)

    @property
    def unit(self) -> str:
        """The unit of values: "ns" for a latency, empty for counts."""
        return self.cost.unit


@dataclass(slots=True)
class SpaceSummary:
    """The summary of one space under one distribution."""

    space: Space
    distribution: Distribution
    #: The exact number of architectures, and of distinct networks among them where it is known.
    size: int | None
    networks: int | None
    #: By name: multiply-adds (macs), parameters (params), elements, and each cost table.
    costs: dict[str, CostSummary]
    #: The window of each cost, both ends included, and where the windows come from (empty if they
    #: are arguments).
    windows: dict[str, tuple[float, float]]
    windows_from: str
    #: The number of architectures within all windows, and their probability; None without windows.
    count: int | CountBetween | None
    mass: Between | None
    #: A note for each query that was left out.
    notes: list[Diagnostic]

    @property
    def share(self) -> Between | None:
        """The share of all architectures that are within all windows."""
        if self.count is None or not self.size:
            return None
        if isinstance(self.count, CountBetween):
            return Between(*(n / self.size for n in (*self.count, self.count.estimate)))
        return Between(self.count / self.size, self.count / self.size)


def summarise(
    space: Space,
    distribution: DistributionLike = None,
    windows: Mapping[str, tuple[float, float]] | None = None,
    by: Sequence[Grouping] = ("stream", "stage"),
    bins: int = 40,
) -> SpaceSummary:
    """Summarise a space. ``windows`` are by the cost's name; None stands for the budgets of the
    spec's search (of its last phase, if that runs all streams). Quantiles and histograms are
    collected for multiply-adds and for costs with a window.

    Raises `SpecError` if no architecture has a probability above 0.
    """
    ask = _Answers(space)
    given = space.distribution(distribution)
    windows_from = ""
    if windows is None:
        windows, windows_from = _budgets(space, ask)
    named = {str(space.cost(name)): ends for name, ends in windows.items()}
    size = ask(lambda: space.size)
    costs = {
        cost.name: _cost(space, cost, given, by, ask) for cost in (*COUNTED, *space.costs.values())
    }
    count: int | CountBetween | None = None
    mass: Between | None = None
    if any(low > high for low, high in named.values()):
        # Budgets of the same cost that exclude each other.
        count, mass = 0, Between(0.0, 0.0)
    elif named:
        count = ask(lambda: space.count(within=named))
        # A window without architectures has the probability 0: one query less.
        mass = Between(0.0, 0.0) if count == 0 else ask(lambda: space.mass(given, within=named))
    for name in dict.fromkeys((MACS.name, *named)):
        cost = costs[name]
        if cost.bounds is not None and cost.bounds.min.value < cost.bounds.max.value:
            _add_distribution(space, cost, given, bins, ask)
    return SpaceSummary(
        space, given, size, space.networks, costs, named, windows_from, count, mass, ask.notes
    )


class _Answers:
    """Answers queries; one that is too large leaves a note, once, and the answer None."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self.notes: list[Diagnostic] = []

    def __call__(self, question: Callable[[], Answer]) -> Answer | None:
        try:
            return question()
        except TooCoupled as too_large:
            self.note(too_large)
            return None

    def note(self, error: DiagnosticError) -> None:
        """Keep the findings of an error as notes."""
        for found in error.diagnostics:
            if all(found.message != note.message for note in self.notes):
                file = found.file or self._space.graph.source
                self.notes.append(
                    Diagnostic(
                        found.code, found.message, help=found.help, severity="note", file=file
                    )
                )


def _cost(
    space: Space, cost: Cost, given: Distribution, by: Sequence[Grouping], ask: _Answers
) -> CostSummary:
    made = CostSummary(cost)
    name = made.name
    made.bounds = ask(lambda: space.bounds(name))
    if made.bounds is None:
        return made
    moments = query_cache(given.graph).expectation(cost).moments(given)
    alike = space.query_cache.expectation(cost).uniform_moments()
    made.mean, made.std = moments.mean, moments.variance**0.5
    made.uniform_mean, made.uniform_std = alike.mean, alike.variance**0.5
    if cost.is_divided:
        made.breakdown = {kind: space.breakdown(name, kind, given) for kind in by}
        made.phases = space.phases(name, given)
    return made


def _add_distribution(
    space: Space, into: CostSummary, given: Distribution, bins: int, ask: _Answers
) -> None:
    into.quantiles = ask(lambda: space.quantiles(into.name, SHARES, given))
    if into.quantiles is not None:
        into.histogram = ask(lambda: space.histogram(into.name, bins, given))


def _budgets(space: Space, ask: _Answers) -> tuple[dict[str, tuple[float, float]], str]:
    """The budgets that the result of the search has to satisfy, and where they come from: those of
    the last phase, if it runs all streams, and those of the whole search for other costs."""
    search = space.sections.search if space.sections else None
    if search is None:
        return {}, ""
    budgets: list[tuple[Budget, str]] = [(b, "the budget of the search") for b in search.budgets]
    last = search.phases[-1] if search.phases else None
    if last is not None and set(last.streams or space.graph.streams) >= set(space.graph.streams):
        own = {b.cost for b in last.budgets}
        budgets = [(b, whose) for b, whose in budgets if b.cost not in own]
        budgets += [(b, f"the budget of phase {last.name}") for b in last.budgets]
    windows: dict[str, tuple[float, float]] = {}
    sources: list[str] = []
    for budget, whose in budgets:
        try:
            name = str(space.cost(budget.cost))
        except SpecError as unknown:
            ask.note(unknown)
            continue
        low, high = windows.get(name, (budget.low, budget.high))
        windows[name] = (max(low, budget.low), min(high, budget.high))
        sources += [] if whose in sources else [whose]
    return windows, " and ".join(sources)
