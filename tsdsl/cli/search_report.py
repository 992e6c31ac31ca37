"""A search on a terminal: a line for each phase, then the result."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from tsdsl.cli.event_loop import EventReport
from tsdsl.cli.output import aligned, note
from tsdsl.cli.progress_bar import Steps
from tsdsl.cli.quantities import amount
from tsdsl.cli.train_report import steps_of_run
from tsdsl.diagnostics import Diagnostic, DiagnosticError, FileError
from tsdsl.searching.events import AlgorithmEvent, PhaseFinished, SearchStepDone
from tsdsl.searching.run import SearchFinished, outcomes_as_json
from tsdsl.training.checkpoint import Checkpoints
from tsdsl.training.events import RunStarted, VideosRejected

#: Steps over which the loss that is shown is averaged.
RECENT = 50


class SearchReport(EventReport[SearchFinished]):
    """``folder`` is that of the run."""

    title = "searching"
    finished = SearchFinished

    def __init__(self, folder: str) -> None:
        self._folder = folder
        #: Losses of the last steps of this phase, in nats.
        self._losses: deque[float] = deque(maxlen=RECENT)

    def opening(self, started: RunStarted) -> str:
        return f"supernet of {started.parameters:,} parameters, {steps_of_run(started)}"

    def extent(self, started: RunStarted) -> tuple[int, int]:
        return started.total, started.step

    def show(self, event: Any, bar: Steps) -> None:
        match event:
            case SearchStepDone():
                self._losses.append(event.loss)
                bar(f"{event.phase} loss {self._loss:.3f} {event.clips_per_second:.3g} clips/s")
            case AlgorithmEvent():
                bar.say(event.message)
            case PhaseFinished():
                bar.say(_phase(event, self._loss))
                self._losses.clear()
            case VideosRejected(problems):
                for problem in problems:
                    bar.say(f"replaced: {problem}")
            case _:
                pass

    @property
    def _loss(self) -> float:
        return sum(self._losses) / max(1, len(self._losses))

    @contextmanager
    def while_running(self) -> Iterator[None]:
        """Where a search fails, say which state of it was saved last."""
        try:
            yield
        except DiagnosticError as error:
            with suppress(FileError):
                for step in Checkpoints(os.path.join(self._folder, "checkpoints")).steps()[-1:]:
                    more = "; --resume goes on from there" if isinstance(error, FileError) else ""
                    note(f"'{self._folder}' has the state after step {step}{more}")
            raise

    def interruption(self, finished: SearchFinished) -> str:
        return f"stopped after step {finished.step}; the same command with --resume goes on"

    def findings(self, finished: SearchFinished) -> Sequence[Diagnostic]:
        return finished.missed

    def exit_code(self, finished: SearchFinished) -> int:
        return int(not finished.met)

    def as_json(self, finished: SearchFinished) -> dict[str, Any]:
        return {
            "format_version": 1,
            "run": self._folder,
            "steps": finished.step,
            "seconds": round(finished.seconds, 3),
            "met": finished.met,
            "phases": outcomes_as_json(finished),
            "macs": finished.flops,
            "params": finished.params,
            "decisions": dict(finished.architecture),
            "peak_memory": finished.peak_memory,
            "samples": finished.samples,
            "replaced": finished.replaced,
            "bad_videos": [problem._asdict() for problem in finished.bad_videos],
        }

    def text(self, finished: SearchFinished) -> str:
        rows = [
            ["steps", str(finished.step)],
            ["FLOPs (multiply-adds)", amount(finished.flops)],
            ["parameters", f"{finished.params:,}"],
            *(
                [f"budgets of phase {name}", _met(met) if values else "none"]
                for name, (met, values) in finished.phases.items()
            ),
            ["peak memory", f"{finished.peak_memory / 2**20:,.0f} MiB"],
            ["videos that cannot be used", str(len(finished.bad_videos))],
            ["architecture", os.path.join(self._folder, "arch.json")],
            ["its weights", os.path.join(self._folder, "model.safetensors")],
        ]
        return aligned(rows)


def _phase(event: PhaseFinished, loss: float) -> str:
    if event.flops is None:
        return f"phase {event.phase} ended after step {event.step}: loss {loss:.4f}"
    met = ", within its budgets" if event.met else "; no architecture lies within its budgets"
    chosen = f"{amount(event.flops)} FLOPs{met if event.budgets else ''}"
    return f"phase {event.phase} ended after step {event.step}: loss {loss:.4f}, {chosen}"


def _met(met: bool) -> str:
    return "met" if met else "met by no architecture"
