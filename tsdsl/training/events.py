"""What a training tells while it runs."""

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
    """``step`` of ``total`` steps are done already."""

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
    """Videos that were not known to be bad before."""

    problems: tuple[Problem, ...]
    #: Whether others were shown in their place, as in training; else they are left out.
    replaced: bool = True


class EvaluationDone(Record):
    epoch: int
    scores: Scores
    seconds: float
    #: Whether no earlier evaluation was better.
    is_best: bool


class CheckpointSaved(Record):
    step: int
    path: str
    seconds: float


class TrainingFinished(MutableRecord):
    """What a training came to. ``interrupted``: it was asked to stop, and can be resumed."""

    step: int
    epoch: float
    seconds: float
    interrupted: bool = False
    #: Top-1 of the last evaluation, of the best one, and after which epoch that was.
    top1: float | None = None
    best_top1: float | None = None
    best_epoch: int | None = None
    #: Loss of the last steps.
    loss: float | None = None
    #: Bytes: of the device's memory on a GPU, of the process's on a CPU.
    peak_memory: int = 0
    #: Mean seconds of a step in this process, and of waiting for data within.
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


Event = (
    RunStarted
    | WarningRaised
    | VideosRejected
    | StepDone
    | EvaluationDone
    | CheckpointSaved
    | TrainingFinished
)
