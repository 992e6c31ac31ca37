"""What a search does and in which order: the phases of the spec, in steps."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import ceil
from typing import Any

from tsdsl.analysis.distribution import Distribution
from tsdsl.diagnostics import Diagnostic, SpecError
from tsdsl.ir.architecture import Architecture, Option
from tsdsl.ir.constraints import Constraints, equals
from tsdsl.ir.solve import Solver
from tsdsl.ir.space import path_prefixes
from tsdsl.ir.stream_subset import Presence, relevant_decisions, restrict, result_presence
from tsdsl.ir.values import Val
from tsdsl.record import Record
from tsdsl.sema.sections import Budget, PhaseSettings, SearchSettings
from tsdsl.space import Space, Window
from tsdsl.units import interval_text


class PhasePlan(Record):
    """A phase that runs steps ``first`` to ``first + steps - 1`` of the search, from 0 on."""

    name: str
    #: As the spec says it.
    settings: PhaseSettings
    #: The streams that exist, in the order of the spec.
    streams: tuple[str, ...]
    #: Paths of the decisions that are learned.
    learned: tuple[str, ...]
    #: Its own, and those of the search of other costs.
    budgets: tuple[Budget, ...]
    first: int
    steps: int
    #: Steps at its beginning in which only weights are trained.
    warmup: int
    #: Paths of decisions that it names, and that nothing depends on in it: they stand.
    unheard: tuple[str, ...] = ()

    @property
    def epochs(self) -> float:
        return self.settings.epochs

    @property
    def lr(self) -> float:
        """Learning rate of the weights."""
        return self.settings.lr.weights


class Plan(Record):
    search: SearchSettings
    phases: tuple[PhasePlan, ...]
    steps_per_epoch: int

    @property
    def total(self) -> int:
        return self.phases[-1].first + self.phases[-1].steps

    def at(self, step: int) -> int:
        """The number of the phase that a step belongs to."""
        return max(k for k, phase in enumerate(self.phases) if phase.first <= step)


def plan_of(space: Space, steps_per_epoch: int) -> Plan:
    """Raises `SpecError` for a spec without a search, without decisions, or with a phase that has
    nothing to learn."""
    search = space.sections.search if space.sections else None
    if search is None or not search.schedule:
        message = f"'{space.name}' does not say how it is searched"
        hint = "a search section with one phase or more: docs/language.md#sections"
        raise _unfit(space, message, hint)
    if not space.decisions:
        raise _unfit(space, f"'{space.name}' has no decision to search", "'tsdsl train' trains it")
    made: list[PhasePlan] = []
    first = 0
    for phase in search.schedule:
        streams = tuple(s for s in space.graph.streams if not phase.streams or s in phase.streams)
        named = tuple(
            d.path
            for d in space.decisions
            if not phase.learn or not path_prefixes(d.path).isdisjoint(phase.learn)
        )
        if not named:
            message = f"phase '{phase.name}' has nothing to learn: its decisions are all fixed"
            raise _unfit(space, message, "take it out, or fix fewer decisions with --set")
        if result_presence(space.graph, streams) == Presence.NEVER:
            message = f"phase '{phase.name}' has no network: with {_streams(streams)} alone,"
            message += " nothing reaches the head"
            hint = "only concat and add do without some of their inputs; name the streams it needs"
            raise _unfit(space, message, hint)
        there = relevant_decisions(space.graph, streams)
        learned = tuple(path for path in named if path in there)
        if not learned:
            message = f"phase '{phase.name}' has nothing to learn: of what it learns, nothing runs"
            message += f" with {_streams(streams)} alone"
            raise _unfit(space, message, "learn decisions of streams that exist in it")
        own = {budget.cost for budget in phase.budgets}
        steps = max(1, round(phase.epochs * steps_per_epoch))
        made.append(
            PhasePlan(
                phase.name,
                phase,
                streams,
                learned,
                (*phase.budgets, *(b for b in search.budgets if b.cost not in own)),
                first,
                steps,
                ceil(phase.warmup * steps),
                tuple(path for path in named if path not in there),
            )
        )
        first += steps
    return Plan(search, tuple(made), steps_per_epoch)


def present(space: Space, phase: PhasePlan) -> Space:
    """The space of a phase: its streams only, for questions about costs."""
    graph = restrict(space.graph, phase.streams)
    return space if graph is space.graph else Space(graph, space.sections, space.costs)


def standing(space: Space, phase: PhasePlan, chosen: Mapping[str, Option]) -> dict[str, Option]:
    """What decisions that a phase does not learn stand at: what was ``chosen``, else the
    default."""
    learned = set(phase.learned)
    return {
        d.path: chosen.get(d.path, d.options[d.default])
        for d in space.decisions
        if d.path not in learned
    }


def inside(space: Space, phase: PhasePlan, distribution: Distribution) -> tuple[Architecture, bool]:
    """The most probable architecture within the budgets of a phase, by the exact query, and True;
    the most probable of all, and False, where none is inside."""
    there = present(space, phase)
    now = distribution.on_graph(there.graph)
    windows: dict[str, Window] = {b.cost: (b.low, b.high) for b in phase.budgets}
    try:
        return there.most_probable(now, within=windows), True
    except SpecError as none:
        # Any other error does not say that the budgets are missed.
        if not windows or not no_architecture(none):
            raise
        return there.most_probable(now), False


def no_architecture(error: SpecError) -> bool:
    """Whether an error of a query says that no architecture is in its windows, and that alone."""
    return {found.code for found in error.diagnostics} == {"E0593"}


def check(space: Space, plan: Plan, known_steps: bool = True) -> list[Diagnostic]:
    """Everything about the phases that may surprise, as warnings. ``known_steps``: whether the plan
    is that of a list. Raises what `check_budgets` raises."""
    return [*check_budgets(space, plan), *_check_learning(space, plan, known_steps)]


def _check_learning(space: Space, plan: Plan, known_steps: bool) -> list[Diagnostic]:
    """A warning for each phase of which something does not learn that should."""
    messages: list[tuple[str, str]] = []
    for phase in plan.phases:
        if phase.unheard:
            shown = ", ".join(phase.unheard[:4])
            more = f" and {len(phase.unheard) - 4} more" if len(phase.unheard) > 4 else ""
            messages.append(
                (
                    f"phase '{phase.name}' cannot learn {shown}{more}: nothing depends on it with"
                    f" {_streams(phase.streams)} alone",
                    "it stands at its default; a phase in which its stream exists can learn it",
                )
            )
        if phase.warmup >= phase.steps and (known_steps or phase.settings.warmup >= 1):
            steps = f"all of its {phase.steps} steps are" if phase.steps > 1 else "its only step is"
            messages.append(
                (
                    f"phase '{phase.name}' decides nothing: {steps if known_steps else 'it is'}"
                    " warm-up, in which alpha does not move",
                    f"more epochs, or a shorter warm-up (--set search.{phase.name}.warmup=...)",
                )
            )
    file = space.graph.source
    return [Diagnostic("W0976", m, file=file, help=h, severity="warning") for m, h in messages]


def _streams(names: tuple[str, ...]) -> str:
    """``stream a``, ``streams a and b``."""
    start = f"streams {', '.join(names[:-1])} and " if len(names) > 1 else "stream "
    return start + names[-1]


def check_budgets(space: Space, plan: Plan) -> list[Diagnostic]:
    """A warning for each phase whose budgets no architecture can meet, whatever the earlier phases
    choose; what later ones learn stands at its default; and for the last one's, if they are not of
    the whole network. Raises `SpecError` for the budget of a cost that has no table, and where
    defaults leave a phase no architecture at all."""
    for name in dict.fromkeys(b.cost for phase in plan.phases for b in phase.budgets):
        space.cost(name)
    found: list[Diagnostic] = []
    free: set[str] = set()
    for phase in plan.phases:
        free |= set(phase.learned)
        rows = {
            d.path: [float(d.path in free or k == d.default) for k in range(len(d.options))]
            for d in space.decisions
        }
        even = Distribution.from_weights(space.graph, rows)
        try:
            met = inside(space, phase, even)[1]
        except SpecError as none:
            raise _no_architecture(space, phase, free) or none from None
        if phase.budgets and not met:
            wanted = "; ".join(f"{b.cost} in {interval_text(b.low, b.high)}" for b in phase.budgets)
            message = f"phase '{phase.name}': no architecture has {wanted}"
            if phase is not plan.phases[-1]:
                message += ", with what later phases learn at its default"
            found.append(Diagnostic("W0974", message, file=space.graph.source, severity="warning"))
    last = plan.phases[-1]
    if last.budgets and len(last.streams) < len(space.graph.streams):
        message = f"the budgets of the last phase, '{last.name}', are of {_streams(last.streams)}"
        message += " alone: the network that is found has more, and may cost more"
        hint = "a last phase with all streams holds the whole network to its budgets"
        found.append(
            Diagnostic("W0974", message, file=space.graph.source, help=hint, severity="warning")
        )
    return found


def _no_architecture(space: Space, phase: PhasePlan, free: Collection[str]) -> SpecError | None:
    """Where decisions that nothing has learnt yet contradict a requirement by their defaults."""
    graph = space.graph
    whole = Constraints(graph.variables, graph.decisions, (), nullable=True)
    for requirement in graph.requirements:
        seen = whole.ancestors(v.index for v in requirement.condition.variables)
        fixed = [d for d in graph.decisions if d.variable.index in seen and d.path not in free]
        evidence = [
            (Val((d.variable,), tuple(range(len(d.options)))), equals(d.default)) for d in fixed
        ]
        alone = Solver(graph.variables, graph.decisions, [requirement])
        if fixed and alone.find(evidence) is None:
            shown = ", ".join(f"{d.path} = {d.options[d.default]}" for d in fixed)
            message = f"phase '{phase.name}' has no architecture: with what is not learned yet at"
            message += f" its default ({shown}), '{requirement.text}' does not hold"
            hint = f"let the phase learn one of them, or fix one, as with --set {fixed[0].path}=..."
            return _unfit(space, message, hint)
    return None


def _unfit(space: Space, message: str, hint: str) -> SpecError:
    return SpecError([Diagnostic("E0842", message, file=space.graph.source, help=hint)])


def describe(plan: Plan, macs: Mapping[str, float | None]) -> list[dict[str, Any]]:
    """The phases as plain values. ``macs``: expected multiply-adds of each."""
    return [
        {
            "name": phase.name,
            "streams": list(phase.streams),
            "decisions": len(phase.learned),
            "epochs": phase.epochs,
            "steps": phase.steps,
            "warmup_steps": phase.warmup,
            "lr": phase.settings.lr.model_dump(),
            "budgets": [budget.model_dump(mode="json") for budget in phase.budgets],
            "macs": macs[phase.name],
        }
        for phase in plan.phases
    ]
