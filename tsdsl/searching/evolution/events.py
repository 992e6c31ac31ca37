"""What an evolution over a trained supernet tells while it runs."""

from __future__ import annotations

from typing import Literal

import torch

from tsdsl.record import Record
from tsdsl.searching.events import AlgorithmEvent
from tsdsl.searching.evolution.population import Candidate

#: "accuracy": top-1, of equal ones the lower loss is better. "loss": the lower one.
Fitness = Literal["accuracy", "loss"]


class InheritedScores(Record):
    """``loss``: cross-entropy, nats. ``finite``: whether all scores were; where they were not, all
    classes count as equally probable, and whatever is finite is better."""

    top1: float
    loss: float
    finite: bool = True

    def fitness(self, by: Fitness) -> tuple[float, ...]:
        found = (self.top1, -self.loss) if by == "accuracy" else (-self.loss,)
        return (float(self.finite), *found)


class EvolutionStarted(Record):
    """An evolution begins, or goes on: ``done`` of at most ``total`` candidates were scored before.
    ``videos``: of the validation list, which is decoded in ``parts`` parts; where there are
    several, each generation decodes them anew. ``clips``, ``views``: bytes that decoded training
    clips and views keep in memory."""

    done: int
    total: int
    device: torch.device
    videos: int
    clips: int
    views: int
    parts: int


class ProgressMade(Record):
    """A part of the validation list is scored."""


class CandidateScored(Record):
    candidate: Candidate
    measured: InheritedScores
    flops: int
    params: int
    #: None for one that was scored before the run was resumed.
    seconds: float | None


class GenerationFinished(AlgorithmEvent):
    """``best``: of all candidates so far, with its scores, ``measured``. ``mean``: mean top-1 of
    this generation."""

    generation: int
    best: Candidate
    measured: InheritedScores
    mean: float

    @property
    def message(self) -> str:
        return (
            f"generation {self.generation}: mean top-1 {self.mean:.1%}; the best so far"
            f" {self.measured.top1:.1%}, loss {self.measured.loss:.4f}"
            f" (candidate {self.best.number})"
        )
