"""The loop of a search: phase after phase, an event for each step.

In each phase only its streams exist; what it learns is drawn from alpha, what earlier phases have
learned stands at the option that was chosen at their end, everything else at its default. Weights
go on from phase to phase. Assumed, as it is not in print: the rate of the weights falls by half a
cosine within each phase, that of alpha is constant, and both optimisers begin anew with a phase.

From the epoch ``joint_from`` of the whole search on, the decisions of a block that a phase learns
together are distributed jointly (FP-NAS, arXiv 2011.10949). The distribution is the same right
after the conversion; alpha's optimiser begins anew for the new logits and goes on with the others.
At the end of a phase a group stands at the combination that was chosen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from time import perf_counter
from typing import Any

import torch

from tsdsl.backends.supernet import Supernet
from tsdsl.data.loader import Batch, TrainLoader
from tsdsl.data.transforms import normalise
from tsdsl.diagnostics import Diagnostic, DiagnosticError
from tsdsl.ir.architecture import Architecture, Option
from tsdsl.ir.decision_groups import DecisionGroup, combination_count
from tsdsl.record import Record
from tsdsl.searching.distribution import Alpha, Categoricals
from tsdsl.searching.foresight import choose, missed_budgets
from tsdsl.searching.parsec.cost_term import CostTerm, Kind
from tsdsl.searching.parsec.step import Clips, Parsec, SearchError, classifier
from tsdsl.searching.plan import PhasePlan, Plan, inside, present, standing
from tsdsl.searching.unused import Unused
from tsdsl.sema.sections import Adaptive, Cosine
from tsdsl.space import Space
from tsdsl.training.checkpoint import State, load_optimizer, load_tensors
from tsdsl.training.optimizer import make_optimizer
from tsdsl.training.ranks import Ranks
from tsdsl.training.schedule import learning_rate
from tsdsl.training.torch_errors import first_not_finite, step_failed
from tsdsl.weights.weight_files import about_layout, check_layout

#: With adaptive samples, so many at least: one sample tells nothing of alpha.
LEAST_SAMPLES = 2


class SearchStepDone(Record):
    """A step. Numbers are of this step alone."""

    #: Steps that are done.
    step: int
    phase: str
    loss: float
    samples: int
    effective_samples: float
    gradient_norm: float
    #: Of alpha's gradient; None where it does not learn.
    arch_gradient_norm: float | None
    lr: float
    #: Whether alpha has learned.
    learned: bool
    seconds: float
    waited: float
    clips_per_second: float


class DecisionsJoined(Record):
    """From the next step on, the decisions of each group are distributed jointly."""

    #: Steps that are done.
    step: int
    phase: str
    #: Paths of their decisions.
    groups: tuple[tuple[str, ...], ...]
    #: Of all groups; and of the same decisions by themselves.
    logits: int
    factorised_logits: int


class PhaseFinished(Record):
    """``architecture``: the most probable one, within the phase's budgets if ``met``."""

    step: int
    phase: str
    architecture: Architecture
    met: bool
    #: Of what exists of it in the phase.
    flops: int
    #: How many budgets the phase has.
    budgets: int
    #: Each of them: cost -> what the architecture has, the least and the most that is allowed.
    values: dict[str, tuple[int, float, float]]
    #: What the choice says of later budgets.
    warning: Diagnostic | None = None


class Searcher:
    """``loaders``: one for weights and alpha alike, or one for each where the search splits its
    data. The supernet is trained where it is, on the device of ``ranks``."""

    def __init__(
        self,
        space: Space,
        supernet: Supernet,
        plan: Plan,
        loaders: tuple[TrainLoader, ...],
        ranks: Ranks,
        *,
        seed: int = 0,
        cost_term: Kind = "sampled",
        mixed_precision: bool = False,
        probabilities: bool = False,
        micro_batch: int | None = None,
    ) -> None:
        self.space = space
        self.supernet = supernet
        self.plan = plan
        self.ranks = ranks
        self.seed = seed
        self.alpha = Alpha(space)
        #: Steps that are done.
        self.step = 0
        #: Phase that has ended -> whether its budgets were met, and ``values`` of `PhaseFinished`.
        self.outcomes: dict[str, tuple[bool, dict[str, tuple[int, float, float]]]] = {}
        #: What earlier phases have decided.
        self.chosen: dict[str, Option] = {}
        self.steps_per_epoch = min(map(len, loaders))
        self._loaders = loaders
        self._kind = cost_term
        self._autocast = torch.bfloat16 if mixed_precision else None
        self._probabilities = probabilities
        self._micro_batch = micro_batch
        self._dtype = next(supernet.parameters()).dtype
        self._begin(plan.phases[0])

    @property
    def phase(self) -> PhasePlan:
        """The phase of the next step; of the last one, when all are done."""
        return self.plan.phases[self.plan.at(min(self.step, self.plan.total - 1))]

    def now(self) -> Categoricals:
        return self.alpha.now()

    def samples(self, now: Categoricals) -> int:
        """How many architectures a step draws from it."""
        asked = self.plan.search.samples
        if isinstance(asked, Adaptive):
            return max(LEAST_SAMPLES, ceil(asked.factor * now.entropy().value))
        return asked

    def run(self) -> Iterator[SearchStepDone | DecisionsJoined | PhaseFinished]:
        """From where it stands to the end. Raises `SearchError`."""
        while self.step < self.plan.total:
            epoch, done = divmod(self.step, self.steps_per_epoch)
            until = min(self.plan.total, (epoch + 1) * self.steps_per_epoch)
            batches = [loader.epoch(epoch, skip=done) for loader in self._loaders]
            while self.step < until:
                joined = self._join()
                if joined is not None:
                    yield joined
                try:
                    found = self._step(batches)
                except DiagnosticError:
                    raise
                except (RuntimeError, ValueError, MemoryError) as bad:
                    smaller = (
                        "fewer clips at a time, as with --micro-batch 4; or a smaller search.batch"
                    )
                    why = step_failed("E0841", self.step + 1, bad, smaller)
                    raise SearchError([why]) from None
                yield found
                phase = self.plan.phases[self.plan.at(self.step - 1)]
                if self.step == phase.first + phase.steps:
                    yield self._end(phase)

    def _begin(self, phase: PhasePlan, groups: Sequence[DecisionGroup] | None = None) -> None:
        """``groups``: what is joint, if it is not what follows from the step."""
        search = self.plan.search
        self.alpha.join(self._groups(phase) if groups is None else groups)
        stand = standing(self.space, phase, self.chosen)
        self.alpha.stand(stand)
        self._weights = make_optimizer(self.supernet, search.weights, phase.lr.weights)
        self._unused = None
        if search.weights.weight_decay > 0:
            self._unused = Unused(self.supernet, phase.streams, stand)
        self._arch = make_optimizer(self.alpha, search.arch, phase.lr.arch)
        self.term = CostTerm(self.space, phase.budgets, streams=phase.streams, kind=self._kind)
        self._parsec = Parsec(
            self.supernet,
            self.alpha,
            classifier(
                self.supernet,
                streams=phase.streams,
                autocast=self._autocast,
                probabilities=self._probabilities,
            ),
            reading=search.likelihood,
            temperature=search.temperature,
            baseline=search.baseline,
            term=self.term,
            ranks=self.ranks,
            micro_batch=self._micro_batch,
        )

    def _groups(self, phase: PhasePlan) -> list[DecisionGroup]:
        """What is joint at the next step: the groups of its phase, and those of earlier ones that
        stand as they were joined."""
        start = self.plan.joint_from
        own = phase.joint if start is not None and self.step >= start else ()
        learned = set(phase.learned)
        paths = [d.path for d in self.space.decisions]
        stand = [g for g in self.alpha.groups if learned.isdisjoint(paths[k] for k in g)]
        return sorted([*stand, *own])

    def _join(self) -> DecisionsJoined | None:
        """Make the distribution joint, if the next step is the first of the search, or of a phase,
        in which it is."""
        phase, start = self.phase, self.plan.joint_from
        if start is None or self.step != max(phase.first, start) or not phase.joint:
            return None
        if not set(phase.joint) <= set(self.alpha.groups):
            self.alpha.join(self._groups(phase))
            self.alpha.stand(standing(self.space, phase, self.chosen))
            before = self._arch.state
            self._arch = make_optimizer(self.alpha, self.plan.search.arch, phase.lr.arch)
            for parameter in self.alpha.parameters():
                if parameter in before:
                    self._arch.state[parameter] = before[parameter]
        graph = self.space.graph
        return DecisionsJoined(
            self.step,
            phase.name,
            tuple(tuple(graph.decisions[k].path for k in group) for group in phase.joint),
            sum(combination_count(graph, group) for group in phase.joint),
            sum(len(graph.decisions[k].options) for group in phase.joint for k in group),
        )

    def _end(self, phase: PhasePlan) -> PhaseFinished:
        """Let what was learned stand, and begin the next phase."""
        at = self.plan.phases.index(phase)
        now = self.now().distribution
        made = choose(self.space, self.plan, at, self.chosen, now)
        architecture, met = made.architecture, made.met
        values = self._values(phase, architecture)
        self.outcomes[phase.name] = met, values
        learned = set(phase.learned)
        self.chosen |= {p: option for p, option in architecture.items() if p in learned}
        if self.step < self.plan.total:
            self._begin(self.phase)
        flops = present(self.space, phase).flops(architecture)
        return PhaseFinished(
            self.step,
            phase.name,
            architecture,
            met,
            flops,
            len(phase.budgets),
            values,
            made.warning(phase, self.space.graph.source),
        )

    def _values(
        self, phase: PhasePlan, architecture: Architecture
    ) -> dict[str, tuple[int, float, float]]:
        there = present(self.space, phase)
        return {
            b.cost: (int(there.value(b.cost, architecture)), b.low, b.high) for b in phase.budgets
        }

    def missed(self) -> list[Diagnostic]:
        """A finding for each budget that a phase which has ended has missed."""
        file = self.space.graph.source
        return [
            found
            for name, (_, values) in self.outcomes.items()
            for found in missed_budgets(name, values, file)
        ]

    def _step(self, batches: list[Iterator[Batch]]) -> SearchStepDone:
        start = perf_counter()
        phase, step = self.phase, self.step
        within = step - phase.first
        lr = learning_rate(phase.lr.weights, Cosine(), phase.steps, within)
        for group in self._weights.param_groups:
            group["lr"] = lr
        now = self.now()
        samples = self.samples(now)
        architectures = now.sample(samples, seed=self.seed, step=step)
        before = perf_counter()
        clips = [self._clips(next(each)) for each in batches]
        waited = perf_counter() - before
        learn = within >= phase.warmup
        self.supernet.train()
        stepped = self._parsec.step(
            architectures,
            clips[0],
            held=clips[1] if len(clips) > 1 else None,
            learn=learn,
            now=now,
            key=(self.seed, step),
        )
        self._weights.step()
        if self._unused is not None:
            self._unused.restore()
        if learn:
            self._arch.step()
        self.step += 1
        seconds = perf_counter() - start
        shown = sum(map(len, clips)) * self.ranks.world
        return SearchStepDone(
            self.step,
            phase.name,
            stepped.loss,
            samples,
            stepped.effective_samples,
            stepped.gradient_norm,
            self.alpha.gradient_norm if learn else None,
            lr,
            learn,
            seconds,
            waited,
            shown / seconds,
        )

    def _clips(self, batch: Batch) -> Clips:
        device = self.ranks.device
        clips = batch.clips_NCTHW.to(device, non_blocking=True)
        return Clips(normalise(clips, self._dtype), batch.labels_N.to(device, non_blocking=True))

    # ------------------------------------------------------------ state

    def state(self) -> State:
        """Everything that a searcher of the same space, plan, data and seed goes on from."""
        return State(
            self.step,
            self.supernet.state_dict(),
            None,
            {
                "alpha": self.alpha.state_dict(),
                "weights": self._weights.state_dict(),
                "arch": self._arch.state_dict(),
                "chosen": dict(self.chosen),
                "outcomes": [
                    [name, met, [[c, *v] for c, v in values.items()]]
                    for name, (met, values) in self.outcomes.items()
                ],
                "joint": [list(group) for group in self.alpha.groups],
            },
            about_layout(self.supernet),
        )

    def check(self) -> None:
        """Before a state is kept. Raises `SearchError` where it would be of no use: the optimiser's
        last step can go too far, though its gradient was finite."""
        held = {**self.supernet.state_dict(), **self.alpha.state_dict()}
        name = first_not_finite(held)
        if name is not None:
            message = f"after step {self.step}, '{name}' is not finite: this is not saved"
            hint = "a lower rate of the weights or a longer warm-up may help"
            raise SearchError([Diagnostic("E0841", message, help=hint)])

    def restore(self, state: State) -> None:
        """Go on from a state. Raises `WeightsError` for weights with other segments."""
        hint = "begin anew in another folder with -o"
        check_layout(self.supernet, state.about, f"the checkpoint of step {state.step}", hint)
        load_tensors(self.supernet, state.weights)
        self.step = state.step
        self.chosen = dict(state.entry("chosen"))
        self.outcomes = {
            name: (met, {c: (value, low, high) for c, value, low, high in values})
            for name, met, values in state.training.get("outcomes", self._recomputed())
        }
        # In the form that was saved: at the step of the conversion, that is the one before it.
        groups = [tuple(group) for group in state.training.get("joint", ())]
        self._begin(self.phase, groups)
        load_tensors(self.alpha, state.entry("alpha"))
        load_optimizer(self._weights, state.entry("weights"))
        load_optimizer(self._arch, state.entry("arch"))

    def _recomputed(self) -> list[Any]:
        """The outcomes of a checkpoint that does not have them, from what was chosen."""
        made: list[Any] = []
        free: set[str] = set()
        for phase in self.plan.phases:
            if phase.first + phase.steps > self.step:
                break
            free |= set(phase.learned)
            stands = {d.path: d.options[d.default] for d in self.space.decisions}
            stands |= {p: o for p, o in self.chosen.items() if p in free}
            weights = {
                d.path: [float(o == stands[d.path]) for o in d.options]
                for d in self.space.decisions
            }
            values = self._values(phase, self.space.most_probable(weights))
            met = all(low <= value <= high for value, low, high in values.values())
            made.append([phase.name, met, [[c, *v] for c, v in values.items()]])
        return made

    def found(self) -> tuple[Architecture, bool]:
        """The result so far: the most probable architecture, within the budgets of the present
        phase, and True; or of all, and False."""
        return inside(self.space, self.phase, self.now().distribution)
