"""The loop of a search: phase after phase, an event for each step.

What is drawn, learned and chosen is the algorithm's (see `algorithm`); weights are trained here.
In each phase only its streams exist, and weights go on from phase to phase. Assumed, as it is not
in print: the rate of the weights falls by half a cosine within each phase, and their optimiser
begins anew with a phase.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Any

from tsdsl.backends.supernet import Supernet
from tsdsl.data.loader import Batch, TrainLoader
from tsdsl.data.transforms import normalise
from tsdsl.diagnostics import Diagnostic, DiagnosticError
from tsdsl.ir.architecture import Architecture, Option
from tsdsl.searching.algorithm import (
    CostTermKind,
    DistributionTerm,
    SearchContext,
)
from tsdsl.searching.events import AlgorithmEvent, PhaseFinished, SearchStepDone
from tsdsl.searching.foresight import missed_budgets
from tsdsl.searching.plan import PhasePlan, Plan, present, standing
from tsdsl.searching.registry import algorithm_of
from tsdsl.searching.supernet_step import Clips, SearchError
from tsdsl.searching.unused import Unused
from tsdsl.sema.sections import Cosine
from tsdsl.space import Space
from tsdsl.training.checkpoint import State, load_optimizer, load_tensors
from tsdsl.training.optimizer import make_optimizer
from tsdsl.training.ranks import Ranks
from tsdsl.training.schedule import learning_rate
from tsdsl.training.torch_errors import first_not_finite, step_failed
from tsdsl.weights.weight_files import about_layout, check_layout


class Searcher:
    """``loaders``: one for each list that the algorithm learns from (see `SearchAlgorithm.lists`).
    The supernet is trained where it is, on the device of ``ranks``."""

    def __init__(
        self,
        space: Space,
        supernet: Supernet,
        plan: Plan,
        loaders: tuple[TrainLoader, ...],
        ranks: Ranks,
        *,
        seed: int = 0,
        cost_term: CostTermKind = "sampled",
        terms: Sequence[DistributionTerm] = (),
        mixed_precision: bool = False,
        probabilities: bool = False,
        micro_batch: int | None = None,
    ) -> None:
        self.space = space
        self.supernet = supernet
        self.plan = plan
        self.ranks = ranks
        #: Steps that are done.
        self.step = 0
        #: Phase that has ended -> whether its budgets were met, and ``values`` of `PhaseFinished`.
        self.outcomes: dict[str, tuple[bool, dict[str, tuple[int, float, float]]]] = {}
        #: What earlier phases have decided.
        self.chosen: dict[str, Option] = {}
        self.steps_per_epoch = min(map(len, loaders))
        self.algorithm = algorithm_of(plan.search)(
            SearchContext(
                space,
                supernet,
                plan,
                ranks,
                seed,
                mixed_precision,
                probabilities,
                micro_batch,
                cost_term,
                terms,
            )
        )
        self._loaders = loaders
        self._dtype = next(supernet.parameters()).dtype
        self._begin(plan.phases[0])
        self.algorithm.begin(plan.phases[0], self.step, self.chosen)

    @property
    def phase(self) -> PhasePlan:
        """The phase of the next step; of the last one, when all are done."""
        return self.plan.phases[self.plan.at(min(self.step, self.plan.total - 1))]

    def run(self) -> Iterator[SearchStepDone | AlgorithmEvent | PhaseFinished]:
        """From where it stands to the end. Raises `SearchError`."""
        while self.step < self.plan.total:
            epoch, done = divmod(self.step, self.steps_per_epoch)
            until = min(self.plan.total, (epoch + 1) * self.steps_per_epoch)
            batches = [loader.epoch(epoch, skip=done) for loader in self._loaders]
            while self.step < until:
                joined = self.algorithm.join(self.phase, self.step)
                if joined is not None:
                    yield joined
                yield self._guarded_step(batches)
                phase = self.plan.phases[self.plan.at(self.step - 1)]
                if self.step == phase.first + phase.steps:
                    yield self._end(phase)

    def _guarded_step(self, batches: list[Iterator[Batch]]) -> SearchStepDone:
        """A step, of which errors that torch or the memory raise become `SearchError`."""
        try:
            return self._step(batches)
        except DiagnosticError:
            raise
        except (RuntimeError, ValueError, MemoryError) as bad:
            smaller = "fewer clips at a time, as with --micro-batch 4; or a smaller search.batch"
            why = step_failed("E0841", self.step + 1, bad, smaller)
            raise SearchError([why]) from None

    def _begin(self, phase: PhasePlan) -> None:
        """Begin to train the weights of a phase."""
        settings = self.plan.search.weights
        self._weights = make_optimizer(self.supernet, settings, phase.lr)
        self._unused = None
        if settings.weight_decay > 0:
            stand = standing(self.space, phase, self.chosen)
            self._unused = Unused(self.supernet, phase.streams, stand)

    def _end(self, phase: PhasePlan) -> PhaseFinished:
        """Let what was decided stand, and begin the next phase."""
        choice = self.algorithm.finish(self.plan.phases.index(phase))
        values: dict[str, tuple[int, float, float]] = {}
        flops = None
        if choice is not None:
            values = self._values(phase, choice.architecture)
            self.outcomes[phase.name] = choice.met, values
            learned = set(phase.learned)
            self.chosen |= {p: o for p, o in choice.architecture.items() if p in learned}
            flops = present(self.space, phase).flops(choice.architecture)
        if self.step < self.plan.total:
            self._begin(self.phase)
            self.algorithm.begin(self.phase, self.step, self.chosen)
        return PhaseFinished(
            self.step,
            phase.name,
            None if choice is None else choice.architecture,
            choice is None or choice.met,
            flops,
            len(phase.budgets),
            values,
            None if choice is None else choice.warning(phase, self.space.graph.source),
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
        phase, algorithm = self.phase, self.algorithm
        lr = learning_rate(phase.lr, Cosine(), phase.steps, self.step - phase.first)
        for group in self._weights.param_groups:
            group["lr"] = lr
        architectures = algorithm.propose(self.step)
        before = perf_counter()
        clips = [self._clips(next(each)) for each in batches]
        waited = perf_counter() - before
        self.supernet.train()
        result = algorithm.backpropagate(architectures, clips, self.step)
        self._weights.step()
        if self._unused is not None:
            self._unused.restore()
        algorithm.update()
        self.step += 1
        seconds = perf_counter() - start
        shown = sum(map(len, clips)) * self.ranks.world
        return SearchStepDone(
            self.step,
            phase.name,
            result.loss,
            len(architectures),
            result.gradient_norm,
            lr,
            seconds,
            waited,
            shown / seconds,
            result.values,
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
                **self.algorithm.state(),
                "weights": self._weights.state_dict(),
                "chosen": dict(self.chosen),
                "outcomes": [
                    [name, met, [[c, *v] for c, v in values.items()]]
                    for name, (met, values) in self.outcomes.items()
                ],
            },
            about_layout(self.supernet),
        )

    def check(self) -> None:
        """Before a state is kept. Raises `SearchError` where it would be of no use: the optimiser's
        last step can go too far, though its gradient was finite."""
        name = first_not_finite({**self.supernet.state_dict(), **self.algorithm.tensors()})
        if name is not None:
            message = f"after step {self.step}, '{name}' is not finite: the state is not saved"
            hint = "a lower rate of the weights or a longer warm-up may help"
            raise SearchError([Diagnostic("E0841", message, help=hint)])

    def restore(self, state: State) -> None:
        """Go on from a state. Raises `WeightsError` for weights with other segments."""
        hint = "start a new run in another folder with -o"
        check_layout(self.supernet, state.about, f"the checkpoint of step {state.step}", hint)
        load_tensors(self.supernet, state.weights)
        self.step = state.step
        self.chosen = dict(state.entry("chosen"))
        self.outcomes = {
            name: (met, {c: (value, low, high) for c, value, low, high in values})
            for name, met, values in state.training.get("outcomes", self._recomputed())
        }
        self._begin(self.phase)
        self.algorithm.restore(state, self.phase, self.step, self.chosen)
        load_optimizer(self._weights, state.entry("weights"))

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
