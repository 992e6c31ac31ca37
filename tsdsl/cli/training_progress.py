"""A training on a terminal: a line for each epoch and each evaluation, and a progress bar."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tsdsl.cli.output import note, show
from tsdsl.cli.progress_bar import progress
from tsdsl.cli.quantities import several

if TYPE_CHECKING:
    from tsdsl.training.events import EvaluationDone, Event, TrainingFinished
    from tsdsl.training.trainer import Metrics

#: Videos that cannot be used which are named while training; all are in the run's folder.
SHOWN = 5


def follow(events: Iterator[Event]) -> TrainingFinished:
    """Show what happens; gives the end."""
    from tsdsl.training.events import (
        CheckpointSaved,
        EvaluationDone,
        RunStarted,
        TrainingFinished,
        VideosRejected,
        WarningRaised,
    )
    from tsdsl.training.trainer import StepDone, mean

    started = next(events)
    assert isinstance(started, RunStarted)
    where = f"{several(started.world, 'process', 'processes')}, {started.device}"
    resumed = f", {started.step} of them done" if started.step else ""
    note(
        f"{started.parameters:,} parameters, batch {started.batch} ({where});"
        f" {several(started.total, 'step')}{resumed}, {started.steps_per_epoch} an epoch"
    )
    last: TrainingFinished | None = None
    epoch: str | None = None
    whole: list[Metrics] = []
    #: By whether they are replaced.
    bad = {True: 0, False: 0}
    with progress("training", started.total, started.step) as steps:
        for event in events:
            match event:
                case StepDone(_, ended, metrics):
                    steps(_brief(metrics) if metrics else "")
                    if epoch is not None:
                        steps.say(epoch)
                        epoch = None
                    if metrics is not None:
                        whole.append(metrics)
                    if ended is not None:
                        epoch = f"epoch {ended + 1}: {_line(mean(whole))}"
                        whole.clear()
                case EvaluationDone():
                    steps.say(f"{epoch or 'evaluation'}; {_evaluated(event)}")
                    epoch = None
                case WarningRaised(diagnostics):
                    show(diagnostics)
                case VideosRejected(problems, replaced):
                    for problem in problems[: max(0, SHOWN - bad[replaced])]:
                        steps.say(f"{'replaced' if replaced else 'not scored'}: {problem}")
                    bad[replaced] += len(problems)
                    if bad[replaced] > SHOWN >= bad[replaced] - len(problems):
                        steps.say("more videos cannot be used: all are in bad_videos.jsonl")
                case CheckpointSaved() | RunStarted():
                    pass
                case TrainingFinished():
                    last = event
        if epoch is not None:
            steps.say(epoch)
    assert last is not None
    return last


def _brief(metrics: Metrics) -> str:
    return (
        f"loss {metrics.loss:.3f} top-1 {metrics.top1:.0%} {metrics.clips_per_second:.3g} clips/s"
    )


def _line(metrics: Metrics) -> str:
    waits = metrics.waited / metrics.seconds if metrics.seconds else 0.0
    waiting = f", {waits:.0%} waiting for data" if waits >= 0.05 else ""
    return (
        f"loss {metrics.loss:.4f}, top-1 {metrics.top1:.1%}, lr {metrics.lr:.3g},"
        f" {metrics.clips_per_second:.3g} clips/s{waiting}"
    )


def _evaluated(event: EvaluationDone) -> str:
    scores = event.scores
    count = several(len(scores.missing), "video")
    missing = f", {count} cannot be used" if scores.missing else ""
    best = ", the best so far" if event.is_best else ""
    return f"evaluated: top-1 {scores.top1:.1%}, top-5 {scores.top5:.1%}{missing}{best}"
