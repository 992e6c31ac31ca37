"""PARSEC as a search algorithm: architectures are drawn from a distribution, which learns from how
probable they make the labels.

After Casale et al. (arXiv 1902.05116), in the phases and with the budgets of Auto-TSNet (Gong et
al., ICCV 2021). In each phase, what it learns is drawn from alpha, what earlier phases have learned
stands at the option that was chosen at their end, everything else at its default. Assumed, as it is
not in print: the rate of alpha is constant, and its optimiser begins anew with a phase.

From the epoch ``joint_from`` of the whole search on, the decisions of a block that a phase learns
together are distributed jointly (FP-NAS, arXiv 2011.10949). The distribution is the same right
after the conversion; alpha's optimiser begins anew for the new logits and goes on with the others.
At the end of a phase a group stands at the combination that was chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

from torch import Tensor

from tsdsl.diagnostics import Diagnostic
from tsdsl.ir.architecture import Architecture, Option
from tsdsl.ir.decision_groups import DecisionGroup, combination_count
from tsdsl.ir.ordering import TooCoupled
from tsdsl.searching.algorithm import (
    PlanDetails,
    SearchAlgorithm,
    SearchContext,
    Selection,
    StepResult,
)
from tsdsl.searching.distribution import Alpha, Categoricals
from tsdsl.searching.events import AlgorithmEvent
from tsdsl.searching.foresight import Choice, choose
from tsdsl.searching.parsec import joint
from tsdsl.searching.parsec.cost_term import CostTerm
from tsdsl.searching.parsec.step import ParsecStep
from tsdsl.searching.plan import PhasePlan, Plan, inside, standing
from tsdsl.searching.supernet_step import Clips
from tsdsl.sema.sections import Adaptive, ParsecPhase, ParsecSettings
from tsdsl.space import Space
from tsdsl.training.checkpoint import State, load_optimizer, load_tensors
from tsdsl.training.folder import RunFolder
from tsdsl.training.optimizer import make_optimizer

if TYPE_CHECKING:
    from tsdsl.searching.reporter import Reporter

#: With adaptive samples, the fewest of a step: from a single sample nothing is learned of alpha.
LEAST_SAMPLES = 2


class DecisionsJoined(AlgorithmEvent):
    """From the next step on, the decisions of each group are distributed jointly."""

    #: Steps that are done.
    step: int
    phase: str
    #: Paths of the decisions of each group.
    groups: tuple[tuple[str, ...], ...]
    #: Logits of all groups, and of the same decisions by themselves.
    logits: int
    factorised_logits: int

    @property
    def message(self) -> str:
        blocks = f"{len(self.groups)} block{'s' * (len(self.groups) != 1)}"
        return (
            f"phase {self.phase}: joint within {blocks} after step {self.step}:"
            f" {self.logits} logits, of {self.factorised_logits}"
        )

    @property
    def log_line(self) -> tuple[str, int, dict[str, Any]]:
        groups = [list(group) for group in self.groups]
        values = {"phase": self.phase, "groups": groups, "logits": self.logits}
        return "joint", self.step + 1, values


class Parsec(SearchAlgorithm):
    settings = ParsecSettings
    takes = frozenset({"cost_term", "terms"})

    @classmethod
    def check(cls, space: Space, plan: Plan) -> list[Diagnostic]:
        return joint.check(space, plan)

    @classmethod
    def lists(cls, plan: Plan) -> int:
        return 2 if _settings(plan).data == "split" else 1

    @classmethod
    def samples(cls, space: Space, plan: Plan, phase: PhasePlan) -> int | None:
        settings = _settings(plan)
        if not isinstance(settings.samples, Adaptive):
            return settings.samples
        alpha = Alpha(space)
        alpha.stand(standing(space, phase, {}))
        try:
            return _samples(settings, alpha.now())
        except TooCoupled:
            return None

    @classmethod
    def details(cls, space: Space, plan: Plan, known_steps: bool) -> PlanDetails:
        return joint.details(space, plan, known_steps)

    @classmethod
    def reporter(cls) -> type[Reporter]:
        from tsdsl.searching.parsec.reporter import ParsecReporter

        return ParsecReporter

    def __init__(self, context: SearchContext) -> None:
        super().__init__(context)
        self.alpha = Alpha(context.space)
        self._joint = joint.joint_plan(context.space, context.plan)

    def now(self) -> Categoricals:
        """The distribution at this moment."""
        return self.alpha.now()

    def samples_of(self, now: Categoricals) -> int:
        """How many architectures a step draws from a distribution."""
        return _samples(_settings(self.context.plan), now)

    def begin(
        self,
        phase: PhasePlan,
        step: int,
        chosen: Mapping[str, Option],
        groups: Sequence[DecisionGroup] | None = None,
    ) -> None:
        """``groups``: what is joint, if it is not what follows from the step."""
        context, settings = self.context, _settings(self.context.plan)
        self._phase, self._chosen = phase, chosen
        self.alpha.join(self._groups(phase, step) if groups is None else groups)
        self.alpha.stand(standing(context.space, phase, chosen))
        self.optimizer = make_optimizer(self.alpha, settings.arch, arch_rate(phase))
        self.term = CostTerm(
            context.space, phase.budgets, streams=phase.streams, kind=context.cost_term
        )
        self._step = ParsecStep(
            context.supernet,
            self.alpha,
            context.likelihood(phase),
            reading=settings.likelihood,
            temperature=settings.temperature,
            baseline=settings.baseline,
            term=self.term,
            terms=context.terms,
            ranks=context.ranks,
            micro_batch=context.micro_batch,
        )

    def join(self, phase: PhasePlan, step: int) -> DecisionsJoined | None:
        """Make the distribution joint, if the next step is the first of the search, or of a phase,
        in which it is."""
        space, start = self.context.space, self._joint.first_step
        groups = self._joint.groups[phase.name]
        if start is None or step != max(phase.first, start) or not groups:
            return None
        if not set(groups) <= set(self.alpha.groups):
            self.alpha.join(self._groups(phase, step))
            self.alpha.stand(standing(space, phase, self._chosen))
            before = self.optimizer.state
            settings = _settings(self.context.plan)
            self.optimizer = make_optimizer(self.alpha, settings.arch, arch_rate(phase))
            for parameter in self.alpha.parameters():
                if parameter in before:
                    self.optimizer.state[parameter] = before[parameter]
        graph = space.graph
        return DecisionsJoined(
            step,
            phase.name,
            tuple(tuple(graph.decisions[k].path for k in group) for group in groups),
            sum(combination_count(graph, group) for group in groups),
            sum(len(graph.decisions[k].options) for group in groups for k in group),
        )

    def _groups(self, phase: PhasePlan, step: int) -> list[DecisionGroup]:
        """The groups that are joint at a step: those of its phase, and those of earlier phases that
        stand as they were joined."""
        start = self._joint.first_step
        own = self._joint.groups[phase.name] if start is not None and step >= start else ()
        learned = set(phase.learned)
        paths = [d.path for d in self.context.space.decisions]
        stand = [g for g in self.alpha.groups if learned.isdisjoint(paths[k] for k in g)]
        return sorted([*stand, *own])

    def propose(self, step: int) -> Sequence[Architecture]:
        self._now = self.alpha.now()
        samples = self.samples_of(self._now)
        return self._now.sample(samples, seed=self.context.seed, step=step)

    def backpropagate(
        self, architectures: Sequence[Architecture], batches: Sequence[Clips], step: int
    ) -> StepResult:
        self.learns = step - self._phase.first >= self._phase.warmup
        stepped = self._step.step(
            architectures,
            batches[0],
            held=batches[1] if len(batches) > 1 else None,
            learn=self.learns,
            now=self._now,
            key=(self.context.seed, step),
        )
        return StepResult(
            stepped.loss,
            stepped.gradient_norm,
            {
                "effective_samples": stepped.effective_samples,
                "arch_gradient_norm": self.alpha.gradient_norm if self.learns else None,
                "learned": self.learns,
            },
        )

    def update(self) -> None:
        if self.learns:
            self.optimizer.step()

    def finish(self, number: int) -> Choice:
        context = self.context
        now = self.now().distribution
        return choose(context.space, context.plan, number, self._chosen, now)

    def selection(self) -> Selection:
        """The most probable architecture, within the budgets of the present phase if any is."""
        return Selection(*inside(self.context.space, self._phase, self.now().distribution))

    def publish(self, folder: RunFolder) -> None:
        self.alpha.save(folder.at("distribution.json"))

    def tensors(self) -> Mapping[str, Tensor]:
        return dict(self.alpha.state_dict())

    def state(self) -> dict[str, Any]:
        return {
            "alpha": self.alpha.state_dict(),
            "arch": self.optimizer.state_dict(),
            "joint": [list(group) for group in self.alpha.groups],
        }

    def restore(
        self, state: State, phase: PhasePlan, step: int, chosen: Mapping[str, Option]
    ) -> None:
        # In the form that was saved: at the step of the conversion, that is the one before it.
        self.begin(phase, step, chosen, [tuple(group) for group in state.training.get("joint", ())])
        load_tensors(self.alpha, state.entry("alpha"))
        load_optimizer(self.optimizer, state.entry("arch"))


def _settings(plan: Plan) -> ParsecSettings:
    assert isinstance(plan.search, ParsecSettings)
    return plan.search


def arch_rate(phase: PhasePlan) -> float:
    """The learning rate of alpha."""
    assert isinstance(phase.settings, ParsecPhase)
    return phase.settings.lr.arch


def _samples(settings: ParsecSettings, now: Categoricals) -> int:
    """How many architectures a step draws from a distribution."""
    if isinstance(settings.samples, Adaptive):
        return max(LEAST_SAMPLES, ceil(settings.samples.factor * now.entropy().value))
    return settings.samples
