"""Uniform single-path training: single path one-shot, SPOS (Guo et al., arXiv 1904.00420).

Each step trains one architecture, or the mean loss of K of them, drawn uniformly and independently
over all distinct architectures of the space. With clips x and labels y, the weights' gradient is

    - 1/K sum_k grad log P(y | x, weights, A_k) / clips,    A_k uniform

There is no distribution to learn, so the whole space is trained in one phase. At the end an
evolution selects the architecture: candidates are scored on a validation list with the weights that
they have in the supernet and running statistics of their own, as `tsdsl evolve` does it
(section 3.4 of the paper). Every candidate lies within the budgets of the search.

Assumed, or otherwise than in print: the paper draws each choice block uniformly, which is uniform
over architectures where no decision depends on another one; here it is uniform over architectures
always. With ``within_budgets``, architectures are drawn within the budgets already in training,
uniformly over those inside (the sampling under a constraint of the paper's section 3.3 is another
one). The rate of the weights falls by half a cosine, the paper's falls linearly. K > 1 is not in
the paper.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import ExitStack
from math import isfinite
from typing import Any

import numpy as np
from torch import Tensor

from tsdsl.analysis.sampling.sampler import sample
from tsdsl.backends.supernet import placing
from tsdsl.diagnostics import Diagnostic, SpecError
from tsdsl.ir.architecture import Architecture, Option
from tsdsl.searching.algorithm import (
    PlanDetails,
    SearchAlgorithm,
    SearchContext,
    Selection,
    SelectionVideos,
    StepResult,
)
from tsdsl.searching.defaults import EVOLVE_MEMORY
from tsdsl.searching.events import AlgorithmEvent
from tsdsl.searching.evolution.events import GenerationFinished
from tsdsl.searching.evolution.population import Evolution, Settings
from tsdsl.searching.evolution.selection import EvolutionLoop, logged_candidates
from tsdsl.searching.inherited_weights import Inherited, statistics_clips
from tsdsl.searching.plan import PhasePlan, Plan
from tsdsl.searching.supernet_step import Clips, SupernetStep, not_finite
from tsdsl.sema.sections import UniformSettings
from tsdsl.space import Space, Window
from tsdsl.training import fingerprint
from tsdsl.training.evaluation import views_of
from tsdsl.training.scoring import AT_ONCE

#: Architectures that are drawn at once: a draw of many takes hardly longer than one of few.
DRAWN = 512
#: Stands before the numbers of a key, so that keys of other users of a seed differ.
_KEY = 0x5905
#: The scores of the candidates, in the folder of the search.
CANDIDATES = "candidates.jsonl"


class Uniform(SearchAlgorithm):
    settings = UniformSettings
    takes = frozenset({"val"})

    @classmethod
    def check_arguments(cls, space: Space, given: Collection[str]) -> None:
        super().check_arguments(space, given)
        if "val" not in given:
            message = (
                "'search uniform' selects the architecture on a validation list: none is given"
            )
            hint = "--val LIST names the videos that candidates are scored on"
            raise SpecError([Diagnostic("E0842", message, file=space.graph.source, help=hint)])

    @classmethod
    def check(cls, space: Space, plan: Plan) -> list[Diagnostic]:
        """Raises `SpecError` where no architecture lies within the budgets: none could be selected
        in the end."""
        space.most_probable(within=_windows(plan))
        return []

    @classmethod
    def samples(cls, space: Space, plan: Plan, phase: PhasePlan) -> int | None:
        return _settings(plan).samples

    @classmethod
    def mean_costs(cls, space: Space, plan: Plan, cost: str) -> dict[str, float | None]:
        """Exact means over all architectures; None where they are drawn within budgets."""
        (phase,) = plan.phases
        if _settings(plan).within_budgets and phase.budgets:
            return {phase.name: None}
        return {phase.name: space.query_cache.expectation(space.cost(cost)).uniform_moments().mean}

    @classmethod
    def details(cls, space: Space, plan: Plan, known_steps: bool) -> PlanDetails:
        return PlanDetails({}, [{} for _ in plan.phases], over="the uniform distribution")

    def __init__(self, context: SearchContext) -> None:
        super().__init__(context)
        settings = _settings(context.plan)
        self._samples = settings.samples
        self._windows = _windows(context.plan) if settings.within_budgets else {}
        self._block: tuple[int, list[Architecture]] = (-1, [])

    def begin(self, phase: PhasePlan, step: int, chosen: Mapping[str, Option]) -> None:
        context = self.context
        self._step = SupernetStep(
            context.supernet,
            context.likelihood(phase),
            ranks=context.ranks,
            micro_batch=context.micro_batch,
        )

    def propose(self, step: int) -> Sequence[Architecture]:
        steps = max(1, DRAWN // self._samples)
        block, at = divmod(step, steps)
        if self._block[0] != block:
            space, key = self.context.space, [_KEY, self.context.seed, block]
            state = np.random.SeedSequence(key).generate_state(1, np.uint64)
            windows = space.windows(within=self._windows)
            count = steps * self._samples
            drawn = sample(
                space.graph, int(state[0]), count, "architectures", windows, distinct=False
            )
            self._block = block, drawn
        return self._block[1][at * self._samples : (at + 1) * self._samples]

    def backpropagate(
        self, architectures: Sequence[Architecture], batches: Sequence[Clips], step: int
    ) -> StepResult:
        passes, (clips,) = self._step, batches
        counts = Counter(architectures)
        loss = 0.0
        with passes.transaction():
            # Over all ranks.
            (size,) = passes.sum_over_ranks([float(len(clips))])
            with placing(passes.supernet) as place:
                for number, (architecture, count) in enumerate(counts.items()):
                    passes.seed((self.context.seed, step), number)
                    share = count / len(architectures)
                    parts = clips.split(passes.micro_batch)
                    total: Tensor = passes.backpropagate(architecture, parts, share / size, place)
                    (likelihood,) = passes.sum_over_ranks([total])
                    if not isfinite(likelihood):
                        raise not_finite("likelihood", (likelihood,), architecture)
                    loss -= share * likelihood / size
            norm = passes.finish()
        return StepResult(loss, norm, {})

    def select(
        self, videos: SelectionVideos | None
    ) -> Generator[AlgorithmEvent, None, Selection | None]:
        assert videos is not None
        context, settings = self.context, _settings(self.context.plan)
        space, evolve = context.space, settings.select
        evolution = Evolution(
            space,
            Settings(
                evolve.population,
                evolve.generations,
                evolve.parents,
                evolve.crossover,
                evolve.mutation,
            ),
            seed=context.seed,
            weights="architectures",
            within=_windows(context.plan),
        )
        recipe, folder = videos.recipe, videos.folder
        context.supernet.eval()
        with ExitStack() as stack:
            inherited = Inherited(
                space,
                context.supernet,
                views_of(videos.val, videos.views, recipe.sampling, recipe.crop, videos.min_frames),
                statistics_clips(
                    space,
                    recipe,
                    videos.train,
                    evolve.bn_batches,
                    seed=context.seed,
                    min_frames=videos.min_frames,
                    workers=videos.workers,
                ),
                context.ranks,
                seed=context.seed,
                workers=videos.workers,
                at_once=AT_ONCE,
                memory=EVOLVE_MEMORY,
                mixed_precision=context.mixed_precision,
            )
            stack.callback(inherited.close)
            logged: dict[int, dict[str, Any]] = {}
            with context.ranks.agree():
                if folder is not None:
                    # Scores of other weights do not count.
                    head = {"supernet": fingerprint.of_weights_in(context.supernet)}
                    logged = logged_candidates(folder, CANDIDATES, head)
                    folder.open_lines(CANDIDATES, len(logged), head)
            logged = context.ranks.broadcast(logged)

            def write(number: int, values: Mapping[str, Any]) -> None:
                assert folder is not None
                folder.append(CANDIDATES, {"event": "candidate", "step": number, **values})

            loop = EvolutionLoop(
                evolution,
                inherited,
                context.ranks,
                evolve.fitness,
                logged,
                log=None if folder is None else folder.at(CANDIDATES),
                write=None if folder is None else write,
            )
            for event in loop.events(videos.stop):
                if isinstance(event, GenerationFinished):
                    yield event
            best = None if loop.interrupted else loop.best
        return None if best is None else Selection(best.architecture, True)


def _settings(plan: Plan) -> UniformSettings:
    assert isinstance(plan.search, UniformSettings)
    return plan.search


def _windows(plan: Plan) -> dict[str, Window]:
    """The budgets of the search."""
    return {budget.cost: (budget.low, budget.high) for budget in plan.phases[-1].budgets}
