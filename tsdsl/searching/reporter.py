"""What a search writes of itself while it runs: its log, and curves.

`log.jsonl` has, beside the phases and the end,

- ``step``, each ``log_every`` steps: means over the steps since the last such line;
- a line for each event of the algorithm.

An algorithm adds to that with a subclass. Lines are written before each checkpoint, so that a
search that was killed has those of one that was not.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from time import perf_counter
from typing import Any, Protocol

from tsdsl.searching.events import AlgorithmEvent, PhaseFinished, SearchStepDone
from tsdsl.searching.plan import PhasePlan, Plan
from tsdsl.space import Space
from tsdsl.training.folder import RunFolder
from tsdsl.training.tensorboard import TensorBoardWriter


class RunningSearch(Protocol):
    """The properties of a running search that its log needs; a `Searcher` has them."""

    space: Space
    plan: Plan
    #: The number of completed steps.
    step: int
    steps_per_epoch: int

    @property
    def algorithm(self) -> object: ...


class Reporter:
    """Writes the log of a search, on the first rank.

    It continues the files of the run's folder from the step at which the search resumes.
    """

    def __init__(
        self,
        searcher: RunningSearch,
        folder: RunFolder,
        log_every: int,
        board: TensorBoardWriter | None = None,
    ) -> None:
        self.searcher = searcher
        self.folder = folder
        self.log_every = log_every
        self.board = board
        self._seen: list[SearchStepDone] = []
        #: Seconds that reporting has taken.
        self.seconds = 0.0
        folder.open_log(searcher.step)

    # ------------------------------------------------------------ events

    def step(self, event: SearchStepDone) -> None:
        """Called after each step, before anything else changes."""
        self._seen.append(event)
        if self.ends(event.step) or event.step % self.log_every == 0:
            self.flush()

    def flush(self) -> None:
        """Write the line of the steps that have none."""
        if not self._seen:
            return
        start = perf_counter()
        seen, self._seen = self._seen, []
        last = seen[-1]
        phase = self.phase_of(last.step)
        values: dict[str, float | None] = {
            "loss": fmean(each.loss for each in seen),
            "samples": fmean(each.samples for each in seen),
            "gradient_norm": last.gradient_norm,
            "lr": last.lr,
            "seconds": fmean(each.seconds for each in seen),
            "waited": fmean(each.waited for each in seen),
        }
        numbers, others = self.describe(seen, phase)
        values |= numbers
        self.folder.log("step", last.step, phase=last.phase, **values, **others)
        if self.board is not None:
            self.board.scalars("search", values, last.step)
        self.seconds += perf_counter() - start

    def describe(
        self, seen: list[SearchStepDone], phase: PhasePlan
    ) -> tuple[Mapping[str, float | None], Mapping[str, Any]]:
        """What an algorithm adds to the line of some steps: numbers that are curves, and others."""
        return {}, {}

    def phase(self, event: PhaseFinished) -> None:
        if event.architecture is None:
            self.folder.log("phase", event.step, phase=event.phase)
            return
        self.folder.log(
            "phase",
            event.step,
            phase=event.phase,
            met=event.met,
            values={cost: value for cost, (value, _, _) in event.values.items()},
            decisions=dict(event.architecture),
        )

    def algorithm_event(self, event: AlgorithmEvent) -> None:
        if event.log_line is not None:
            kind, step, values = event.log_line
            self.folder.log(kind, step, **values)

    def close(self) -> None:
        if self.board is not None:
            self.board.close()

    # ------------------------------------------------------------ phases

    def phase_of(self, step: int) -> PhasePlan:
        """The phase in which a step was done."""
        plan = self.searcher.plan
        return plan.phases[plan.at(step - 1)]

    def ends(self, step: int) -> bool:
        """Whether a phase ends with a step."""
        phase = self.phase_of(step)
        return step == phase.first + phase.steps
