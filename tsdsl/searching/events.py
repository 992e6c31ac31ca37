"""What a search tells of its steps and phases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tsdsl.diagnostics import Diagnostic
from tsdsl.ir.architecture import Architecture
from tsdsl.record import Record


class SearchStepDone(Record):
    """A step. Numbers are of this step alone."""

    #: Steps that are done.
    step: int
    phase: str
    #: Cross-entropy per clip, nats.
    loss: float
    #: Architectures that were drawn.
    samples: int
    #: Length of the weights' gradient.
    gradient_norm: float
    #: Learning rate of the weights.
    lr: float
    seconds: float
    #: Seconds of waiting for clips.
    waited: float
    clips_per_second: float
    #: What the algorithm reports beside that; see `StepResult`.
    values: Mapping[str, float | bool | None]


class PhaseFinished(Record):
    """``architecture``: the one whose decisions of the phase stand from then on, within the phase's
    budgets if ``met``; None if the algorithm decides nothing at the end of a phase."""

    step: int
    phase: str
    architecture: Architecture | None
    met: bool
    #: Multiply-adds of what exists of it in the phase.
    flops: int | None
    #: How many budgets the phase has.
    budgets: int
    #: Each of them: cost -> what the architecture has, the least and the most that is allowed.
    values: dict[str, tuple[int, float, float]]
    #: A warning about later budgets.
    warning: Diagnostic | None = None


class AlgorithmEvent(Record):
    """Something that an algorithm did between two steps, or after the last one. Subclasses say
    what."""

    @property
    def message(self) -> str:
        """A line for people."""
        raise NotImplementedError

    @property
    def log_line(self) -> tuple[str, int, dict[str, Any]] | None:
        """Kind, step and values of its line in the log, if it has one. The step is that which comes
        next: a search that goes on from before it writes the line again."""
        return None
