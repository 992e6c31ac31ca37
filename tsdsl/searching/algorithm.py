"""The protocol of search algorithms: everything that the search loop asks of one.

An algorithm decides which architectures a step trains, turns clips and architectures into
gradients, and selects the architecture that a search ends with. Everything else is the loop's
(`searcher`, `run`): lists and loaders, phases, the optimiser of the supernet's weights,
checkpoints, the folder. In a phase, the loop calls

    begin                 a phase begins
    join                  before each step: may change the form of what is learned
    propose               the architectures of a step
    backpropagate         clips and architectures -> ``.grad`` of the weights, and of its parameters
    update                the optimisers of its own parameters
    finish                the phase ends: what stands from then on

and at the end `select`. `state` and `restore` have everything that is not a function of the spec,
the seed and the number of the step.

Adding an algorithm takes a package with a subclass of `SearchAlgorithm`, a line in `registry`, and
its settings as a subclass of `SearchSettings` in `tsdsl.sema.sections`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor

from tsdsl.analysis.logits import Floats
from tsdsl.backends.supernet import Supernet
from tsdsl.data.lists import VideoList
from tsdsl.diagnostics import Diagnostic, SpecError
from tsdsl.ir.architecture import Architecture, Option
from tsdsl.record import Record
from tsdsl.searching.distribution import Categoricals, Chosen
from tsdsl.searching.events import AlgorithmEvent
from tsdsl.searching.plan import PhasePlan, Plan
from tsdsl.searching.supernet_step import Clips, Likelihood, classifier
from tsdsl.sema.sections import Evaluate, SearchSettings
from tsdsl.space import Space
from tsdsl.training.checkpoint import State
from tsdsl.training.folder import RunFolder
from tsdsl.training.ranks import Ranks
from tsdsl.training.recipe import Recipe

if TYPE_CHECKING:
    from tsdsl.searching.foresight import Choice
    from tsdsl.searching.reporter import Reporter

#: How PARSEC's cost term is estimated: from the architectures of the step, as the paper prints it,
#: or as the cost of the exact mean.
CostTermKind = Literal["sampled", "exact"]


class DistributionTerm(Protocol):
    """A penalty on the distribution that a search learns: it is added to the loss.

    Such as a bonus for entropy, whose value is minus the entropy. An instance is passed to
    `tsdsl.search` in ``terms``; its value is logged under its name.
    """

    name: str

    def value(self, now: Categoricals) -> float:
        """The penalty of a distribution, with its weight."""
        ...

    def gradient(self, now: Categoricals, chosen: Chosen) -> Floats:
        """Its gradient with respect to the logits, flat as ``now.distribution.flat``, or an
        estimate from the architectures of the step, ``chosen``, which are draws of ``now``."""
        ...


class SearchContext(Record):
    """What an algorithm works on. The supernet is on the device of ``ranks``."""

    space: Space
    supernet: Supernet
    plan: Plan
    ranks: Ranks
    seed: int
    #: Whether operations compute in bfloat16 where that is safe.
    mixed_precision: bool
    #: Whether networks end in a softmax.
    probabilities: bool
    #: Clips of one forward pass; all of this rank's if None.
    micro_batch: int | None
    cost_term: CostTermKind
    terms: Sequence[DistributionTerm]

    def likelihood(self, phase: PhasePlan) -> Likelihood:
        """That of the labels, with the streams of a phase."""
        return classifier(
            self.supernet,
            streams=phase.streams,
            autocast=torch.bfloat16 if self.mixed_precision else None,
            probabilities=self.probabilities,
        )


class StepResult(Record):
    """The numbers of one step."""

    #: Cross-entropy per clip, nats.
    loss: float
    #: Length of the weights' gradient.
    gradient_norm: float
    #: What the algorithm has to say beside that, by the name that it gets in the log.
    values: Mapping[str, float | bool | None]


class Selection(Record):
    """The architecture that a search ends with, and whether it is within the budgets of the last
    phase."""

    architecture: Architecture
    met: bool


class SelectionVideos(Record):
    """What an algorithm that scores architectures at the end of a search has for it."""

    recipe: Recipe
    #: The list that the search trained on.
    train: VideoList
    val: VideoList
    views: Evaluate
    folder: RunFolder | None
    workers: int
    min_frames: int
    stop: Callable[[], bool]


class PlanDetails(Record):
    """What ``--plan`` says of an algorithm beside the phases."""

    #: For the JSON document, and for each of its phases.
    values: Mapping[str, Any]
    phases: Sequence[Mapping[str, Any]]
    #: Lines for people.
    lines: Sequence[str] = ()
    #: Whether later steps may draw another number of architectures than the first one.
    samples_vary: bool = False
    #: The architectures over which expected costs are means.
    over: str = "the initial distribution"


class SearchAlgorithm(ABC):
    """One search algorithm at work, for one search. Class methods answer before there is one."""

    #: The class of its settings, which names it.
    settings: ClassVar[type[SearchSettings]]
    #: Those arguments of `tsdsl.search` that it takes, of which not every algorithm does:
    #: ``cost_term``, ``terms``, ``val``.
    takes: ClassVar[frozenset[str]] = frozenset()

    # ------------------------------------------------------------ before a search

    @classmethod
    def check(cls, space: Space, plan: Plan) -> list[Diagnostic]:
        """Warnings about the spec, beside those that every search has. Raises `SpecError`."""
        return []

    @classmethod
    def check_arguments(cls, space: Space, given: Collection[str]) -> None:
        """Raises `SpecError` where an argument that is ``given`` would have no effect, or one that
        the algorithm needs is not."""
        for name in sorted(set(given) - cls.takes):
            algorithm = cls.name()
            message = f"'search {algorithm}' has no use for {_shown(name)}"
            raise SpecError([Diagnostic("E0842", message, file=space.graph.source)])

    @classmethod
    def name(cls) -> str:
        from tsdsl.sema.sections import name_of

        return name_of(cls.settings)

    @classmethod
    def lists(cls, plan: Plan) -> int:
        """Disjoint parts of the training list: the first one trains the weights, a second one the
        algorithm's own parameters."""
        return 1

    @classmethod
    def samples(cls, space: Space, plan: Plan, phase: PhasePlan) -> int | None:
        """Architectures of the first step of a phase; None if that cannot be said."""
        return 1

    @classmethod
    def mean_costs(cls, space: Space, plan: Plan, cost: str) -> dict[str, float | None]:
        """By phase, the mean of a cost over the architectures that its first steps train. Raises
        `TooCoupled`."""
        return {phase.name: phase.mean for phase in space.phases(cost)}

    @classmethod
    def details(cls, space: Space, plan: Plan, known_steps: bool) -> PlanDetails:
        """``known_steps``: whether the plan is that of a list."""
        return PlanDetails({}, [{} for _ in plan.phases])

    @classmethod
    def reporter(cls) -> type[Reporter] | None:
        """The reporter that writes more than the log of every search; None if that is all."""
        return None

    # ------------------------------------------------------------ the steps of a phase

    def __init__(self, context: SearchContext) -> None:
        self.context = context

    @abstractmethod
    def begin(self, phase: PhasePlan, step: int, chosen: Mapping[str, Option]) -> None:
        """Begin a phase, after ``step`` steps. ``chosen``: what earlier phases have decided."""

    def join(self, phase: PhasePlan, step: int) -> AlgorithmEvent | None:
        """Called before each step, for algorithms that change at some step of a phase."""
        return None

    @abstractmethod
    def propose(self, step: int) -> Sequence[Architecture]:
        """The architectures of a step, the same on all ranks: a function of the state, the seed and
        the number of the step."""

    @abstractmethod
    def backpropagate(
        self, architectures: Sequence[Architecture], batches: Sequence[Clips], step: int
    ) -> StepResult:
        """Set ``.grad`` of the supernet's weights, and of its own parameters. ``batches``: one of
        each list. Raises `SearchError`; then nothing has changed."""

    def update(self) -> None:
        """Move its own parameters; called after the optimiser of the weights."""
        return

    def finish(self, number: int) -> Choice | None:
        """At the end of phase ``number``: the architecture whose decisions of the phase stand from
        then on. None if the phase decides nothing."""
        return None

    # ------------------------------------------------------------ the end, and in between

    def selection(self) -> Selection | None:
        """The result so far; None before there is one."""
        return None

    def select(self, videos: SelectionVideos | None) -> Generator[Any, None, Selection | None]:
        """The result of a search whose steps are all done, with events on the way to it. None if
        it was stopped before it had one."""
        yield from ()
        return self.selection()

    def publish(self, folder: RunFolder) -> None:
        """Write what others read of a search beside the supernet's weights, with each
        checkpoint."""
        return

    def tensors(self) -> Mapping[str, Tensor]:
        """Its own parameters, which have to be finite for a checkpoint to be written."""
        return {}

    def state(self) -> dict[str, Any]:
        """Plain values and tensors in dicts and lists."""
        return {}

    def restore(
        self, state: State, phase: PhasePlan, step: int, chosen: Mapping[str, Option]
    ) -> None:
        """Begin a phase as it was saved: what `state` returned are entries of ``state``."""
        self.begin(phase, step, chosen)


def _shown(argument: str) -> str:
    return {
        "val": "a validation list (--val)",
        "cost_term": "a cost term (--cost-term)",
        "terms": "terms on a distribution: it learns none",
    }[argument]
