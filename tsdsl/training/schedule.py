"""Learning rate schedules."""

from __future__ import annotations

from math import cos, pi

from tsdsl.sema.sections import Cosine, Schedule


def learning_rate(peak: float, schedule: Schedule, epochs: float, epoch: float) -> float:
    """The learning rate after ``epoch`` of ``epochs`` epochs, which may be fractions.

    During the warm-up it rises linearly from ``warmup_start`` x ``peak`` to ``peak``. Then it is
    constant, or falls from ``peak`` to 0 along half a cosine period.
    """
    warm = min(schedule.warmup_epochs, epochs)
    if epoch < warm:
        start = schedule.warmup_start
        return peak * (start + (1 - start) * epoch / warm)
    rest = epochs - warm
    if not isinstance(schedule, Cosine) or rest <= 0:
        return peak
    return peak * 0.5 * (1 + cos(pi * min(1.0, (epoch - warm) / rest)))
