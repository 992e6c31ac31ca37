"""What the choices of earlier phases leave for the budgets of later ones.

A phase ends with an architecture of its own, inside its own budgets. What it decided stands from
then on, so it can leave a later phase without any architecture inside its budgets: the search is
*stranded*. `choose` takes the most probable architecture from which every later budget can still be
met; `forecast` says beforehand how often a choice without foresight strands, and what the
architectures of each phase cost inside the budgets.

Where a phase has at most `LISTED` combinations of options, its architectures are listed, and the
answer is exact. In larger ones they are drawn: what is found is right (a way to meet all budgets is
shown), but that there is none cannot be proven, and a frequency is an estimate with its standard
error.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, prod, sqrt
from typing import Any

from tsdsl.analysis.distribution import Distribution
from tsdsl.analysis.sampling.most_probable import most_probable
from tsdsl.analysis.sampling.sampler import sample
from tsdsl.diagnostics import Diagnostic, SpecError
from tsdsl.ir.architecture import Architecture, Option
from tsdsl.record import Record
from tsdsl.searching.plan import PhasePlan, Plan, inside, no_architecture, present, standing
from tsdsl.sema.sections import Budget
from tsdsl.space import Space, Window
from tsdsl.units import interval_text

#: Combinations of the options that a phase learns, up to which its architectures are listed.
LISTED = 1024
#: Architectures of a larger phase that are tried before nothing is said.
TRIED = 64
#: Most probable architectures of a larger phase that are tried, in two goes, and draws after them.
RANKED, DRAWN = (16, 128), 256
#: Outcomes that are followed: all of them where there are no more, otherwise so many draws.
FOLLOWED, SIMULATED = 2048, 20

Chosen = Mapping[str, Option]


class Choice(Record):
    """What stands after a phase: the most probable architecture, inside the budgets of the phase if
    ``met``, from which all later budgets can be met if ``open``."""

    architecture: Architecture
    met: bool
    open: bool = True
    #: Log-probability of the choice, and of the most probable one inside the phase's own budgets.
    log_probability: float | None = None
    free_log_probability: float | None = None
    #: Whether it is proven that no more probable architecture keeps the later budgets within reach
    #: (or, if not ``open``, that none at all does).
    proven: bool = True

    def warning(self, phase: PhasePlan, file: str) -> Diagnostic | None:
        """A finding where foresight changed the choice, or did not help."""
        if not self.open:
            sure = "no choice of it is known that does" if not self.proven else "no choice does"
            message = f"phase '{phase.name}' ends with an architecture that may not leave later"
            message += f" phases room for their budgets: {sure}"
            hint = "wider budgets, or decisions that a later phase learns again"
            return Diagnostic("W0978", message, file=file, help=hint, severity="warning")
        if self.free_log_probability is None or self.log_probability is None:
            return None
        message = f"phase '{phase.name}': its most probable architecture (log P"
        message += f" {self.free_log_probability:.4f}) leaves a later phase no architecture inside"
        message += f" its budgets; the choice is one that does (log P {self.log_probability:.4f}"
        message += ")" if self.proven else ", a more probable one is not excluded)"
        return Diagnostic("W0977", message, file=file, severity="warning")


class PhaseForecast(Record):
    """Means over the outcomes of a choice without foresight, inside the budgets of a phase and of
    the earlier ones. None where no outcome has an architecture there."""

    macs: float | None
    elements: float | None
    #: Standard error of ``macs``; 0 where it is exact.
    error: float
    #: Share of outcomes that have no architecture inside the budgets up to this phase.
    stranded: float


class Forecast(Record):
    phases: tuple[PhaseForecast, ...]
    exact: bool
    #: Outcomes that it comes from.
    outcomes: int

    @property
    def stranded(self) -> float:
        return self.phases[-1].stranded

    @property
    def error(self) -> float:
        """Standard error of the share that strands; 0 where it is exact."""
        share = (self.stranded * self.outcomes + 1) / (self.outcomes + 2)
        return 0.0 if self.exact else sqrt(share * (1 - share) / self.outcomes)

    def warnings(self, file: str) -> list[Diagnostic]:
        """A finding where choices without foresight strand."""
        if not self.stranded:
            return []
        how = "exact" if self.exact else f"+- {self.error:.1%}, from {self.outcomes} draws"
        message = (
            f"{self.stranded:.1%} of the outcomes of earlier phases ({how}) leave a later phase"
        )
        message += " no architecture inside its budgets"
        hint = "each phase therefore takes the most probable one that leaves some"
        return [Diagnostic("W0978", message, file=file, help=hint, severity="warning")]


def expected_inside(plan: Plan, ahead: Forecast) -> dict[str, dict[str, float | None]]:
    """Mean macs and elements of the phases that have a budget, or come after one."""
    found: dict[str, dict[str, float | None]] = {}
    bound = False
    for phase, own in zip(plan.phases, ahead.phases, strict=True):
        bound = bound or bool(phase.budgets)
        if bound:
            found[phase.name] = {"macs": own.macs, "elements": own.elements}
    return found


def windows_of(phase: PhasePlan) -> dict[str, Window]:
    return {budget.cost: (budget.low, budget.high) for budget in phase.budgets}


def missed(space: Space, phase: PhasePlan, architecture: Architecture) -> list[tuple[Budget, int]]:
    """The budgets of a phase that its architecture does not meet, with what it has."""
    there = present(space, phase)
    values = [(b, int(there.value(b.cost, architecture))) for b in phase.budgets]
    return [(b, value) for b, value in values if not b.low <= value <= b.high]


def after(phase: PhasePlan, chosen: Chosen, architecture: Architecture) -> dict[str, Option]:
    """What stands after a phase."""
    learned = set(phase.learned)
    return {**chosen, **{p: o for p, o in architecture.items() if p in learned}}


def reachable(space: Space, plan: Plan, at: int, chosen: Chosen) -> bool | None:
    """Whether phases from number ``at`` on have architectures inside their budgets, one after the
    other, where ``chosen`` stands. None if none was found and that there is none is not proven."""
    if at >= len(plan.phases) or not any(phase.budgets for phase in plan.phases[at:]):
        return True
    phase = plan.phases[at]
    even = _standing(space, phase, chosen, Distribution.uniform(space.graph))
    first = _inside(space, phase, even, 1)
    if not first:
        return False
    found = reachable(space, plan, at + 1, after(phase, chosen, first[0]))
    if found or at + 1 == len(plan.phases):
        return found
    others = _tries(space, phase, even, TRIED)
    results = [reachable(space, plan, at + 1, after(phase, chosen, each)) for each in others]
    if any(results):
        return True
    return False if _is_small(space, phase) and None not in results else None


def choose(space: Space, plan: Plan, at: int, chosen: Chosen, distribution: Distribution) -> Choice:
    """What stands after phase number ``at``, whose distribution is given (with ``chosen`` standing
    in it)."""
    phase = plan.phases[at]
    architecture, met = inside(space, phase, distribution)
    log_free = architecture.provenance.get("log_probability")
    plain = Choice(architecture, met)
    if not met or reachable(space, plan, at + 1, after(phase, chosen, architecture)):
        return plain
    sure = True
    seen = {architecture}
    goes = (LISTED,) if _is_small(space, phase) else RANKED
    now = distribution.on_graph(present(space, phase).graph)
    for k in goes:
        for each in _inside(space, phase, now, k):
            if each in seen:
                continue
            seen.add(each)
            found = reachable(space, plan, at + 1, after(phase, chosen, each))
            if found:
                own = each.provenance.get("log_probability")
                proven = sure and bool(each.provenance.get("proven", True))
                return Choice(each, True, True, own, log_free, proven)
            sure = sure and found is False
    if not _is_small(space, phase):
        drawn = {a: _log_probability(now, a) for a in _drawn(space, phase, now, DRAWN, 0)}
        for each in sorted(drawn, key=lambda a: -drawn[a]):
            if each not in seen and reachable(space, plan, at + 1, after(phase, chosen, each)):
                return Choice(each, True, True, drawn[each], log_free, False)
        sure = False
    return Choice(architecture, met, False, log_free, log_free, sure)


def forecast(space: Space, plan: Plan) -> Forecast:
    """A search whose phases choose without foresight, from the initial distribution: each phase
    draws one of the architectures inside its budgets. Raises `TooCoupled`."""
    exact = all(_is_small(space, phase) for phase in plan.phases)
    if exact:
        made = _followed(space, plan, True)
        if made is not None:
            return made
    made = _followed(space, plan, False)
    assert made is not None
    return made


def _followed(space: Space, plan: Plan, exact: bool) -> Forecast | None:
    """Every outcome with its probability (None if they are too many), or some drawn ones."""
    initial = Distribution.initial(space.graph)
    count = 1 if exact else SIMULATED
    outcomes: list[tuple[float, dict[str, Option]]] = [(1 / count, {})] * count
    found: list[PhaseForecast] = []
    for number, phase in enumerate(plan.phases):
        there = present(space, phase)
        reached: list[tuple[float, dict[str, Option], Architecture]] = []
        pooled: list[Architecture] = []
        for at, (share, chosen) in enumerate(outcomes):
            if exact:
                ways = _inside(space, phase, _standing(space, phase, chosen, initial), LISTED)
                logs = [float(a.provenance["log_probability"]) for a in ways]
                weights = [exp(x - max(logs)) for x in logs]
                shares = [share * w / sum(weights) for w in weights]
            else:
                now = _standing(space, phase, chosen, initial)
                if number == 0:
                    pooled = pooled or _drawn(space, phase, now, SIMULATED, 0)
                    ways = pooled[at : at + 1]
                else:
                    ways = _drawn(space, phase, now, 1, at)
                shares = [share] * len(ways)
            for own, each in zip(shares, ways, strict=True):
                reached.append((own, after(phase, chosen, each), each))
            if exact and len(reached) > FOLLOWED:
                return None
        total = sum(share for share, _, _ in reached)
        if not total:
            gone = PhaseForecast(None, None, 0.0, 1.0)
            left = len(plan.phases) - number
            return Forecast((*found, *[gone] * left), exact, max(len(outcomes), 1))
        costs = [float(there.value("macs", a)) for _, _, a in reached]
        elements = [float(there.value("elements", a)) for _, _, a in reached]
        shares = [share / total for share, _, _ in reached]
        mean = sum(s * c for s, c in zip(shares, costs, strict=True))
        spread = sum(s * (c - mean) ** 2 for s, c in zip(shares, costs, strict=True))
        found.append(
            PhaseForecast(
                mean,
                sum(s * e for s, e in zip(shares, elements, strict=True)),
                0.0 if exact else sqrt(spread / len(reached)),
                max(1 - total, 0.0) if 1 - total > 1e-12 else 0.0,
            )
        )
        outcomes = [(share, chosen) for share, chosen, _ in reached]
    return Forecast(tuple(found), exact, len(outcomes) if exact else SIMULATED)


def _is_small(space: Space, phase: PhasePlan) -> bool:
    learned = set(phase.learned)
    return prod(len(d.options) for d in space.decisions if d.path in learned) <= LISTED


def _standing(space: Space, phase: PhasePlan, chosen: Chosen, given: Distribution) -> Distribution:
    """A distribution in which everything that a phase does not learn stands."""
    stands = standing(space, phase, chosen)
    at = {
        k: d.options.index(stands[d.path])
        for k, d in enumerate(space.decisions)
        if d.path in stands
    }
    return given.with_fixed(at).on_graph(present(space, phase).graph)


def _inside(space: Space, phase: PhasePlan, now: Distribution, k: int) -> list[Architecture]:
    """The ``k`` most probable architectures inside the budgets of a phase; none if none is.

    Architectures that are one network in this phase can be several in a later one, where more
    streams exist: they are not merged."""
    there = present(space, phase)
    windows = there.windows(None, None, windows_of(phase))
    try:
        return most_probable(there.graph, k, windows, now)
    except SpecError as error:
        if not no_architecture(error):
            raise
        return []


def _tries(space: Space, phase: PhasePlan, now: Distribution, n: int) -> list[Architecture]:
    """All architectures inside the budgets of a small phase, some draws of a larger one."""
    if _is_small(space, phase):
        return _inside(space, phase, now, LISTED)
    return _drawn(space, phase, now, n, 0)


def _drawn(
    space: Space, phase: PhasePlan, now: Distribution, n: int, seed: int
) -> list[Architecture]:
    """Independent draws inside the budgets of a phase; none if none is inside."""
    there = present(space, phase)
    windows = there.windows(None, None, windows_of(phase))
    try:
        return sample(there.graph, seed, n, now, windows, distinct=False)
    except SpecError as error:
        if any(found.code not in ("E0593", "E0594") for found in error.diagnostics):
            raise
        return []


def _log_probability(now: Distribution, architecture: Architecture) -> float:
    """The sum over the active decisions; of what is joint, that of the whole combination."""
    found = 0.0
    rows = now.layout.split(now.flat_logs)
    for part, row in zip(now.layout.parts, rows, strict=True):
        ours = [now.space.decisions[k] for k in part]
        if ours[0].path in architecture:
            at = 0
            for d in ours:
                at = at * len(d.options) + d.options.index(architecture[d.path])
            found += float(row[at])
    return found


def check_reach(space: Space, plan: Plan) -> list[Diagnostic]:
    """Raises `SpecError` where no choice of the phases meets all budgets, though each of them
    could be met by itself."""
    if reachable(space, plan, 0, {}) is False:
        message = f"no search of '{space.name}' meets the budgets of all its phases: whatever the"
        message += " earlier ones choose inside theirs, a later one has no architecture in its own"
        hint = "a wider budget of a phase, or a later phase that learns more"
        raise SpecError([Diagnostic("E0847", message, file=space.graph.source, help=hint)])
    return []


def missed_budgets(phase: str, values: Mapping[str, Any], file: str) -> list[Diagnostic]:
    """A finding for each budget of a phase that its architecture misses. ``values``: cost ->
    (value, low, high)."""
    return [
        Diagnostic(
            "E0848",
            f"phase '{phase}' missed its budget: {cost} is {value:,}, not in"
            f" {interval_text(low, high)}",
            file=file,
            help="no architecture lies in it, given what the phase did not learn",
        )
        for cost, (value, low, high) in values.items()
        if not low <= value <= high
    ]
