"""Events of a training while it runs."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import torch

from tsdsl.data.video_problems import Problem
from tsdsl.diagnostics import Diagnostic
from tsdsl.record import MutableRecord, Record, factory
from tsdsl.training.trainer import StepDone

if TYPE_CHECKING:
    from tsdsl.training.scores import Scores


class RunStarted(Record):
    """A run begins, or continues after ``step`` of ``total`` steps."""

    step: int
    total: int
    steps_per_epoch: int
    batch: int
    world: int
    device: torch.device
    parameters: int


class WarningRaised(Record):
    diagnostics: tuple[Diagnostic, ...]


class VideosRejected(Record):
    """Videos that have been found unusable for the first time."""

    problems: tuple[Problem, ...]
    #: Whether other videos took their place, as in training. In evaluation they are left out.
    replaced: bool = True


class EvaluationDone(Record):
    epoch: int
    scores: Scores
    seconds: float
    #: Whether the score is the best of the run so far.
    is_best: bool


class CheckpointSaved(Record):
    step: int
    path: str
    seconds: float


class TrainingFinished(MutableRecord):
    """The result of a training. ``interrupted``: it was stopped before its last step, and can be
    resumed."""

    step: int
    epoch: float
    seconds: float
    interrupted: bool = False
    #: Top-1 of the last evaluation, top-1 of the best one, and the epoch of the best one.
    top1: float | None = None
    best_top1: float | None = None
    best_epoch: int | None = None
    #: Training loss, averaged over the steps since the last metrics.
    loss: float | None = None
    #: Bytes: on a GPU the peak of allocated device memory, on a CPU the peak of the process.
    peak_memory: int = 0
    #: Mean duration of a step in this process in seconds, and the part of it spent on waiting for
    #: data.
    step_seconds: float = 0.0
    waited: float = 0.0
    samples: int = 0
    replaced: int = 0
    bad_videos: list[Problem] = factory(default_factory=list[Problem])

    def workers_to_keep_up(self, workers: int) -> int | None:
        """Number of decoding processes with which decoding a batch takes as long as learning from
        it, given that the training had ``workers`` of them, each with a processor of its own. None
        if the time spent learning is unknown."""
        computing = self.step_seconds - self.waited
        if computing <= 0:
            return None
        # A step lasts as long as the processes decode its clips; without any, this one does it.
        decoding = self.step_seconds * workers if workers else self.waited
        return ceil(decoding / computing)

    def __repr__(self) -> str:
        from tsdsl.notebook import listed

        rows = self._summary()
        return (
            f"<TrainingFinished: {listed((f'{name} {value}' for name, value in rows), limit=90)}>"
        )

    def _repr_html_(self) -> str:
        from tsdsl.notebook import html_table

        return html_table("Training finished", [], self._summary())

    def _summary(self) -> list[tuple[str, str]]:
        rows = [("steps", str(self.step)), ("epochs", f"{self.epoch:g}")]
        if self.interrupted:
            rows.append(("interrupted", "yes"))
        if self.loss is not None:
            rows.append(("loss", f"{self.loss:.4f}"))
        if self.top1 is not None:
            rows.append(("top-1", f"{self.top1:.2%}"))
        if self.best_top1 is not None:
            rows.append(("best top-1", f"{self.best_top1:.2%} after epoch {self.best_epoch}"))
        if self.bad_videos:
            rows.append(("bad videos", str(len(self.bad_videos))))
        return [*rows, ("seconds", f"{self.seconds:.1f}")]


Event = (
    RunStarted
    | WarningRaised
    | VideosRejected
    | StepDone
    | EvaluationDone
    | CheckpointSaved
    | TrainingFinished
)
