"""The learning rate at a moment of a run."""

from __future__ import annotations

from math import cos, pi

from tsdsl.sema.sections import Cosine, Schedule


def learning_rate(peak: float, schedule: Schedule, epochs: float, epoch: float) -> float:
    """The rate after ``epoch`` of ``epochs`` (0 at the start; between epochs, too).

    Linear from ``warmup_start`` x ``peak`` to ``peak`` in the warm-up. Then constant, or the half
    of a cosine period that goes from ``peak`` to 0 in what is left.
    """
    warm = min(schedule.warmup_epochs, epochs)
    if epoch < warm:
        start = schedule.warmup_start
        return peak * (start + (1 - start) * epoch / warm)
    rest = epochs - warm
    if not isinstance(schedule, Cosine) or rest <= 0:
        return peak
    return peak * 0.5 * (1 + cos(pi * min(1.0, (epoch - warm) / rest)))
