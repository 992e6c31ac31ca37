"""All that there is to know of a space before it is searched, collected once.

What `tsdsl space` prints, writes as JSON and draws. A question whose tables would be too large is
left out, with its diagnostic as a note; the others are answered all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from tsdsl.analysis.costs.cost_table import COUNTED, Cost, CostTable
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
#: Of all mass: the quantiles that are collected.
SHARES = (0.01, 0.1, 0.5, 0.9, 0.99)


@dataclass(slots=True)
class CostSummary:
    """One cost over a space; None where it could not be answered. ``mean`` and ``std`` are under
    the distribution, ``uniform_mean`` and ``uniform_std`` with every architecture equally probable:
    all exact."""

    cost: Cost
    bounds: Bounds | None = None
    mean: float | None = None
    std: float | None = None
    uniform_mean: float | None = None
    uniform_std: float | None = None
    #: Under the distribution, at `SHARES`.
    quantiles: list[Between] | None = None
    histogram: Histogram | None = None
    #: The expected cost of each group, by what a group is; and the phases. Not of elements.
    breakdown: dict[Grouping, dict[str, float]] = field(default_factory=dict)
    phases: list[PhaseCost] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.cost)

    @property
    def unit(self) -> str:
        """Of values: "ns" of a latency, empty for counts."""
        return self.cost.unit if isinstance(self.cost, CostTable) else ""


@dataclass(slots=True)
class SpaceSummary:
    """Of one space under one distribution."""

    space: Space
    distribution: Distribution
    #: The exact number of architectures, and of distinct networks among them where it is known.
    size: int | None
    networks: int | None
    #: By name: multiply-adds, parameters, elements, cost tables.
    costs: dict[str, CostSummary]
    #: Windows by cost, ends inside, and where they are from: empty if they were asked for.
    windows: dict[str, tuple[float, float]]
    windows_from: str
    #: Architectures inside of all windows, and their probability; None without windows.
    count: int | CountBetween | None
    mass: Between | None
    #: Of questions that were left out.
    notes: list[Diagnostic]

    @property
    def share(self) -> Between | None:
        """Of all architectures, those inside of all windows."""
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
    """Ask everything, each question once. ``windows`` by the cost's name; None for the budgets
    that the spec's search ends with. Quantiles and histograms are of multiply-adds and of what has
    a window.

    Raises `SpecError` if there is no architecture, or none with a probability.
    """
    ask = _Answers(space)
    given = space.distribution(distribution)
    windows_from = ""
    if windows is None:
        windows, windows_from = _budgets(space, ask)
    named = {str(space.cost(name)): ends for name, ends in windows.items()}
    size = ask(lambda: space.size)
    costs = {
        name: _cost(space, space.cost(name), given, by, ask) for name in (*COUNTED, *space.costs)
    }
    count: int | CountBetween | None = None
    mass: Between | None = None
    if any(low > high for low, high in named.values()):
        # Budgets of one cost that exclude each other.
        count, mass = 0, Between(0.0, 0.0)
    elif named:
        count = ask(lambda: space.count(within=named))
        # Where nothing is, there is no probability either: one question less.
        mass = Between(0.0, 0.0) if count == 0 else ask(lambda: space.mass(given, within=named))
    for name in dict.fromkeys(("macs", *named)):
        held = costs[name]
        if held.bounds is not None and held.bounds.min.value < held.bounds.max.value:
            _spread(space, held, given, bins, ask)
    return SpaceSummary(
        space, given, size, space.networks, costs, named, windows_from, count, mass, ask.notes
    )


class _Answers:
    """Answers what can be answered; what cannot leaves a note, once."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self.notes: list[Diagnostic] = []

    def __call__(self, question: Callable[[], Answer]) -> Answer | None:
        try:
            return question()
        except TooCoupled as wide:
            self.note(wide)
            return None

    def note(self, error: DiagnosticError) -> None:
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
    if cost != "elements":
        made.breakdown = {kind: space.breakdown(name, kind, given) for kind in by}
        made.phases = space.phases(name, given)
    return made


def _spread(space: Space, into: CostSummary, given: Distribution, bins: int, ask: _Answers) -> None:
    into.quantiles = ask(lambda: space.quantiles(into.name, SHARES, given))
    if into.quantiles is not None:
        into.histogram = ask(lambda: space.histogram(into.name, bins, given))


def _budgets(space: Space, ask: _Answers) -> tuple[dict[str, tuple[float, float]], str]:
    """The budgets that what a search finds has to keep, and whose they are: those of its last
    phase, if all streams exist in it, else the whole search's."""
    search = space.sections.search if space.sections else None
    if search is None:
        return {}, ""
    held: list[tuple[Budget, str]] = [(b, "the budget of the search") for b in search.budgets]
    last = search.phases[-1] if search.phases else None
    if last is not None and set(last.streams or space.graph.streams) >= set(space.graph.streams):
        own = {b.cost for b in last.budgets}
        held = [(b, said) for b, said in held if b.cost not in own]
        held += [(b, f"the budget of phase {last.name}") for b in last.budgets]
    found: dict[str, tuple[float, float]] = {}
    said: list[str] = []
    for budget, whose in held:
        try:
            name = str(space.cost(budget.cost))
        except SpecError as unknown:
            ask.note(unknown)
            continue
        low, high = found.get(name, (budget.low, budget.high))
        found[name] = (max(low, budget.low), min(high, budget.high))
        said += [] if whose in said else [whose]
    return found, " and ".join(said)
