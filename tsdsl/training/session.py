"""A training with its evaluations, checkpoints and log, as a stream of events."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from time import perf_counter
from typing import Any

import torch
from torch import nn

from tsdsl.data.dataset import EvalViews, no_usable_video
from tsdsl.data.loader import EvalLoader, TrainLoader
from tsdsl.data.video_problems import KINDS, Problem
from tsdsl.diagnostics import Diagnostic, DiagnosticError
from tsdsl.files import read_lines, write_atomic
from tsdsl.training.checkpoint import AVERAGE, WEIGHTS, restoring
from tsdsl.training.events import (
    CheckpointSaved,
    EvaluationDone,
    Event,
    RunStarted,
    TrainingFinished,
    VideosRejected,
    WarningRaised,
)
from tsdsl.training.folder import BAD, LONGEST, RunFolder
from tsdsl.training.ranks import Ranks
from tsdsl.training.scores import Scores
from tsdsl.training.scoring import score
from tsdsl.training.tensorboard import TensorBoardWriter
from tsdsl.training.trainer import Metrics, StepDone, Trainer, mean


class Session:
    """A trainer, its evaluation, and the run's folder."""

    def __init__(
        self,
        trainer: Trainer,
        loader: TrainLoader,
        folder: RunFolder | None,
        ranks: Ranks,
        evaluator: ListEvaluator | None,
    ) -> None:
        self.trainer = trainer
        self.loader = loader
        self.folder = folder
        self.ranks = ranks
        self.evaluator = evaluator
        self.best: tuple[float, int, int] | None = None  # top-1, epoch, step
        self.result = TrainingFinished(0, 0.0, 0.0)
        #: Whether the last complete epoch was to be evaluated and could not be.
        self._unscored = False
        self._about: dict[str, str] = {}
        self._warnings: list[Diagnostic] = []
        self._bad: dict[str, Problem] = {}
        #: Number of rejected training videos reported so far.
        self._reported = 0

    def describe(
        self,
        about: Mapping[str, Any],
        about_weights: Mapping[str, str],
        resume: bool,
        warnings: Sequence[Diagnostic],
    ) -> None:
        """Check the folder's identity and restore its newest checkpoint. All ranks call it
        together."""
        self._warnings = list(warnings)
        self._about = dict(about_weights)
        state = None
        with self.ranks.agree():
            if self.folder is not None:
                self._warnings += self.folder.describe(about, resume)
                state, spoiled = self.folder.checkpoints.newest()
                self._warnings += spoiled
        state = self.ranks.broadcast(state)
        if state is not None:
            with restoring(state):
                self.trainer.restore(state)
                best = state.entry("best")
                self.best = None if best is None else (best[0], int(best[1]), int(best[2]))
            self._unscored = bool(state.training.get("unscored"))
            if self.folder is not None:
                self._publish(self.folder.checkpoints.path(state.step))
        if self.folder is not None:
            self.folder.open_log(self.trainer.step)
            self._warnings += self.folder.warnings
            self._bad = _read_bad(self.folder.at(BAD))

    def events(
        self, save_every: int, evaluate_every: int, tensorboard: bool, stop: Callable[[], bool]
    ) -> Iterator[Event]:
        trainer, start = self.trainer, perf_counter()
        parameters = sum(p.numel() for p in trainer.net.parameters())
        yield RunStarted(
            trainer.step,
            trainer.total_steps,
            trainer.steps_per_epoch,
            trainer.recipe.train.batch,
            self.ranks.world,
            self.ranks.device,
            parameters,
        )
        if self._warnings:
            yield WarningRaised(tuple(self._warnings))
        if self.evaluator is not None and (self._unscored or trainer.step < trainer.total_steps):
            self.evaluator.check()
        board = None
        if tensorboard and self.folder is not None:
            board = TensorBoardWriter(self.folder.at("tensorboard"), trainer.step)
        try:
            if self._unscored and self.evaluator is not None:
                yield from self._score(trainer.step // trainer.steps_per_epoch - 1, board)
                yield from self._save()
            parts: list[Metrics] = []
            for stepped in trainer.run():
                trainer.stop = trainer.stop or stop()
                metrics = stepped.metrics
                saves = trainer.step == trainer.total_steps or stepped.step % save_every == 0
                if metrics is None and (saves or (trainer.stop and self.ranks.world == 1)):
                    # A state is saved only if the loss is known to be finite.
                    metrics = trainer.flush()
                    stepped = StepDone(stepped.step, stepped.ended_epoch, metrics)
                if metrics is not None:
                    self._log_metrics(stepped, board)
                    self.result.loss = metrics.loss
                    parts.append(metrics)
                yield stepped
                yield from self._new_bad_videos(stepped.ended_epoch is not None)
                ended = stepped.ended_epoch
                if ended is not None and self.evaluator is not None:
                    last = trainer.step == trainer.total_steps
                    if last or (ended + 1) % evaluate_every == 0:
                        # Save whenever the score is the best so far, whatever ``save_every`` says.
                        saves |= yield from self._score(ended, board)
                if saves or trainer.stopping:
                    yield from self._save()
                if trainer.stopping:
                    self.result.interrupted = trainer.step < trainer.total_steps
                    break
            if parts:
                # The first steps include the start of processes and memory allocation.
                usual = mean(parts[1:] or parts)
                self.result.step_seconds, self.result.waited = usual.seconds, usual.waited
        finally:
            if board is not None:
                board.close()
        result = self.result
        result.step, result.epoch = trainer.step, trainer.epoch
        result.seconds = perf_counter() - start
        result.peak_memory = max(self.ranks.gather(peak_memory(self.ranks.device)))
        result.samples = sum(self.ranks.gather(self.loader.report.samples))
        result.replaced = sum(self.ranks.gather(self.loader.report.replaced))
        result.bad_videos = list(self._bad.values())
        if self.best is not None:
            result.best_top1, result.best_epoch = self.best[:2]
        if self.folder is not None:
            self.folder.log(
                "end",
                trainer.step,
                interrupted=result.interrupted,
                seconds=round(result.seconds, 3),
                peak_memory=result.peak_memory,
                samples=result.samples,
                replaced=result.replaced,
                bad_videos=len(result.bad_videos),
            )
        yield result

    # ------------------------------------------------------------ parts

    def _log_metrics(self, stepped: StepDone, board: TensorBoardWriter | None) -> None:
        metrics = stepped.metrics
        assert metrics is not None
        values = {
            "loss": metrics.loss,
            "top1": metrics.top1,
            "lr": metrics.lr,
            "seconds": metrics.seconds,
            "waited": metrics.waited,
            "clips_per_second": metrics.clips_per_second,
        }
        if self.folder is not None:
            epoch = stepped.step / self.trainer.steps_per_epoch
            self.folder.log("step", stepped.step, epoch=epoch, **values)
        if board is not None:
            board.scalars("train", values, stepped.step)

    def _new_bad_videos(self, together: bool) -> Iterator[VideosRejected]:
        """Report newly rejected training videos. With several ranks, only when ``together``: all of
        them then exchange their videos."""
        own = list(self.loader.report.bad.values())
        if self.ranks.world > 1:
            if not together:
                return
            own = [problem for found in self.ranks.gather(own) for problem in found]
        elif len(own) == self._reported:
            return
        self._reported = len(own)
        yield from self._named(own, True)

    def _named(self, problems: Sequence[Problem], replaced: bool) -> Iterator[VideosRejected]:
        new = [problem for problem in problems if problem.path not in self._bad]
        if not new:
            return
        self._bad.update((problem.path, problem) for problem in new)
        if self.folder is not None:
            lines = [json.dumps(problem._asdict()) + "\n" for problem in self._bad.values()]
            write_atomic(self.folder.at(BAD), lines)
        yield VideosRejected(tuple(new), replaced)

    def _score(self, epoch: int, board: TensorBoardWriter | None) -> Generator[Event, None, bool]:
        """Evaluate; returns whether the score is the best so far. If the evaluation fails, the
        epoch is saved as unscored, so that the resumed run evaluates it."""
        self._unscored = True
        try:
            evaluated = self._evaluate(epoch, board)
        except DiagnosticError:
            yield from self._save()
            raise
        self._unscored = False
        yield evaluated
        yield from self._named([m.problem for m in evaluated.scores.missing], False)
        return evaluated.is_best

    def _evaluate(self, epoch: int, board: TensorBoardWriter | None) -> EvaluationDone:
        assert self.evaluator is not None
        start = perf_counter()
        self.trainer.share_statistics()
        scores = self.evaluator(self.trainer.evaluated, self.ranks, self.trainer.autocast)
        step, top1 = self.trainer.step, scores.top1
        is_best = self.best is None or top1 > self.best[0]
        if is_best:
            self.best = top1, epoch + 1, step
        self.result.top1 = top1
        seconds = perf_counter() - start
        values = {"top1": top1, "top5": scores.top5, "loss": scores.log_loss}
        if self.folder is not None:
            self.folder.log(
                "evaluate",
                step,
                epoch=epoch + 1,
                **values,
                videos=len(scores),
                missing=len(scores.missing),
                best=is_best,
                seconds=round(seconds, 3),
            )
        if board is not None:
            board.scalars("val", values, step)
        return EvaluationDone(epoch + 1, scores, seconds, is_best)

    def _save(self) -> Iterator[CheckpointSaved]:
        """Write a checkpoint."""
        if self.folder is None:
            return
        start = perf_counter()
        self.trainer.check()
        state = self.trainer.state()
        best = None if self.best is None else list(self.best)
        state.training["best"] = best
        state.training["unscored"] = self._unscored
        about = {
            **self._about,
            "step": str(state.step),
            "epoch": f"{self.trainer.epoch:.6g}",
        }
        self.folder.sync()
        path = self.folder.checkpoints.save(state, about)
        self._publish(path)
        yield CheckpointSaved(state.step, path, perf_counter() - start)

    def _publish(self, checkpoint: str) -> None:
        assert self.folder is not None
        averaged = os.path.join(checkpoint, AVERAGE)
        source = averaged if os.path.exists(averaged) else os.path.join(checkpoint, WEIGHTS)
        self.folder.publish("last.safetensors", source)
        if self.best is not None and self.best[2] == self.trainer.step:
            self.folder.publish("best.safetensors", source)


class ListEvaluator:
    """Evaluates a network on the views of a list."""

    def __init__(self, views: EvalViews, workers: int, probabilities: bool) -> None:
        self.views = views
        self.probabilities = probabilities
        self.workers = workers
        self._loader: EvalLoader | None = None

    def __call__(self, net: nn.Module, ranks: Ranks, autocast: torch.dtype | None) -> Scores:
        if self._loader is None:
            self._loader = EvalLoader(
                self.views, workers=self.workers, rank=ranks.rank, world=ranks.world
            )
        return score(
            net, self._loader, ranks=ranks, autocast=autocast, probabilities=self.probabilities
        )

    def check(self) -> None:
        """Raise `NoUsableVideo` if no video can be scored. Called before the first epoch."""
        problems: list[Problem] = []
        for at in range(len(self.views)):
            if (problem := self.views[at].problem) is None:
                return
            problems.append(problem)
        raise no_usable_video(self.views.videos, problems)

    def close(self) -> None:
        """Stop the decoding processes."""
        if self._loader is not None:
            self._loader.close()


def _read_bad(path: str) -> dict[str, Problem]:
    """The videos that earlier parts of the run have rejected."""
    found: dict[str, Problem] = {}
    if os.path.exists(path):
        lines, _ = read_lines(path, limit=LONGEST, what="list of rejected videos")
        for line in lines:
            if (problem := _problem(line)) is not None:
                found[problem.path] = problem
    return found


def _problem(line: str) -> Problem | None:
    """The problem on a line of `BAD`, or None if the line is damaged."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or value.keys() != set(Problem._fields):
        return None
    if value["kind"] not in KINDS or not all(isinstance(text, str) for text in value.values()):
        return None
    return Problem(**value)


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: allocated device memory on a GPU, resident memory of the process on a
    CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        with open("/proc/self/status") as status:
            # getrusage would report the peak of the parent process if that is larger.
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
