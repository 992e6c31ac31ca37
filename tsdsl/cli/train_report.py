"""A training on a terminal: a line for each epoch and each evaluation, then the result."""

from __future__ import annotations

import os
from typing import Any

from tsdsl.cli.event_loop import SHOWN, EventReport
from tsdsl.cli.output import aligned
from tsdsl.cli.progress_bar import Steps
from tsdsl.cli.quantities import several
from tsdsl.training.events import EvaluationDone, RunStarted, TrainingFinished, VideosRejected
from tsdsl.training.trainer import Metrics, StepDone, mean

#: Share of the time spent waiting for data from which on that is worth a remark.
SLOW = 0.05


class TrainReport(EventReport[TrainingFinished]):
    """``folder`` is that of the run, in which ``workers`` processes decode."""

    title = "training"
    finished = TrainingFinished

    def __init__(self, folder: str, workers: int) -> None:
        self._folder = folder
        self._workers = workers
        #: The line of an epoch that has ended, which waits for its evaluation.
        self._epoch: str | None = None
        #: Metrics of the epoch that runs.
        self._metrics: list[Metrics] = []
        #: How many videos could not be used, by whether others were shown in their place.
        self._rejected = {True: 0, False: 0}

    def opening(self, started: RunStarted) -> str:
        return f"{started.parameters:,} parameters, {steps_of_run(started)}"

    def extent(self, started: RunStarted) -> tuple[int, int]:
        return started.total, started.step

    def show(self, event: Any, bar: Steps) -> None:
        match event:
            case StepDone(_, ended, metrics):
                bar(_brief(metrics) if metrics else "")
                self.close(bar)
                if metrics is not None:
                    self._metrics.append(metrics)
                if ended is not None:
                    self._epoch = f"epoch {ended + 1}: {_line(mean(self._metrics))}"
                    self._metrics.clear()
            case EvaluationDone():
                bar.say(f"{self._epoch or 'evaluation'}; {_evaluated(event)}")
                self._epoch = None
            case VideosRejected():
                self._name(event, bar)
            case _:
                pass

    def _name(self, event: VideosRejected, bar: Steps) -> None:
        before = self._rejected[event.replaced]
        for problem in event.problems[: max(0, SHOWN - before)]:
            bar.say(f"{'replaced' if event.replaced else 'not scored'}: {problem}")
        after = self._rejected[event.replaced] = before + len(event.problems)
        if after > SHOWN >= before:
            bar.say("more videos cannot be used: all are in bad_videos.jsonl")

    def close(self, bar: Steps) -> None:
        if self._epoch is not None:
            bar.say(self._epoch)
            self._epoch = None

    def interruption(self, finished: TrainingFinished) -> str:
        return f"stopped after step {finished.step}; the same command with --resume goes on"

    def as_json(self, finished: TrainingFinished) -> dict[str, Any]:
        return {
            "format_version": 1,
            "run": self._folder,
            "steps": finished.step,
            "epochs": finished.epoch,
            "seconds": round(finished.seconds, 3),
            "step_seconds": finished.step_seconds,
            "waited": finished.waited,
            "peak_memory": finished.peak_memory,
            "loss": finished.loss,
            "top1": finished.top1,
            "best_top1": finished.best_top1,
            "best_epoch": finished.best_epoch,
            "samples": finished.samples,
            "replaced": finished.replaced,
            "bad_videos": [problem._asdict() for problem in finished.bad_videos],
        }

    def text(self, finished: TrainingFinished) -> str:
        rows = [["steps", f"{finished.step} ({finished.epoch:g} epochs)"]]
        if finished.step_seconds:
            waits = finished.waited / finished.step_seconds
            time = f"{finished.step_seconds:.4g} s, {waits:.0%} of it waiting for data"
            rows.append(["time of a step", time])
        if finished.peak_memory:
            rows.append(["peak memory", f"{finished.peak_memory / 2**20:,.0f} MiB"])
        if finished.loss is not None:
            rows.append(["loss of the last steps", f"{finished.loss:.4f}"])
        name = "last"
        if finished.top1 is not None and finished.best_top1 is not None:
            best = f"{finished.best_top1:.1%} (epoch {finished.best_epoch})"
            rows.append(["top-1 of the last evaluation", f"{finished.top1:.1%}"])
            rows.append(["top-1 of the best evaluation", best])
            name = "best"
        rows.append(["videos that cannot be used", str(len(finished.bad_videos))])
        rows.append(["weights", os.path.join(self._folder, f"{name}.safetensors")])
        return aligned(rows)

    def remark(self, finished: TrainingFinished) -> str | None:
        if finished.waited < SLOW * finished.step_seconds:
            return None
        workers = finished.workers_to_keep_up(self._workers)
        if workers is None:
            return None
        return (
            f"the network waits for data: --workers {workers}, with a processor for each, would"
            " decode as fast as it learns"
        )


def steps_of_run(started: RunStarted) -> str:
    """How large a run is, and where it computes."""
    where = f"{several(started.world, 'process', 'processes')}, {started.device}"
    resumed = f", {started.step} of them done" if started.step else ""
    return (
        f"batch {started.batch} ({where}); {several(started.total, 'step')}{resumed},"
        f" {started.steps_per_epoch} an epoch"
    )


def _brief(metrics: Metrics) -> str:
    return (
        f"loss {metrics.loss:.3f} top-1 {metrics.top1:.0%} {metrics.clips_per_second:.3g} clips/s"
    )


def _line(metrics: Metrics) -> str:
    waits = metrics.waited / metrics.seconds if metrics.seconds else 0.0
    waiting = f", {waits:.0%} waiting for data" if waits >= SLOW else ""
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
