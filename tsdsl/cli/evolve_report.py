"""An evolution on a terminal: a line for each generation, then the best candidate."""

from __future__ import annotations

import os
from typing import Any

from tsdsl.cli.event_loop import EventReport
from tsdsl.cli.output import aligned
from tsdsl.cli.progress_bar import Steps
from tsdsl.cli.quantities import amount, several
from tsdsl.searching.evolution.events import (
    CandidateScored,
    EvolutionStarted,
    GenerationFinished,
)
from tsdsl.searching.evolution.run import EvolutionFinished


class EvolveReport(EventReport[EvolutionFinished]):
    """``folder`` is that of the run. ``other_space`` says whether the weights were trained for
    another version of the space; the run has checked that their shapes fit."""

    title = "evolving"
    finished = EvolutionFinished

    def __init__(self, folder: str, other_space: bool) -> None:
        self._folder = folder
        self._other_space = other_space

    def opening(self, started: EvolutionStarted) -> str:
        done = f", {started.done} of them done" if started.done else ""
        views = f"{_mebibytes(started.views)} of views"
        if started.parts > 1:
            views += f" decoded in {started.parts} parts each generation"
        else:
            views += " kept in memory"
        clips = f", {_mebibytes(started.clips)} of training clips" if started.clips else ""
        warning = (
            "the weights were made for another version of the space; their shapes fit\n"
            if self._other_space
            else ""
        )
        return (
            f"{warning}{several(started.total, 'candidate')} at most{done};"
            f" {several(started.videos, 'video')} ({started.device}): {views}{clips}"
        )

    def extent(self, started: EvolutionStarted) -> tuple[int, int]:
        # Candidates that are scored already come as events again.
        return started.total, 0

    def show(self, event: Any, bar: Steps) -> None:
        match event:
            case CandidateScored(candidate, measured):
                bar(f"generation {candidate.generation} top-1 {measured.top1:.1%}")
            case GenerationFinished():
                bar.say(event.message)
            case _:
                pass

    def interruption(self, finished: EvolutionFinished) -> str:
        count = finished.candidates
        return f"stopped after candidate {count}; the same command with --resume goes on"

    def remark(self, finished: EvolutionFinished) -> str | None:
        if not finished.exhausted:
            return None
        count = several(finished.candidates, "distinct network")
        return f"{count} were scored: no more than these were found in the windows"

    def as_json(self, finished: EvolutionFinished) -> dict[str, Any]:
        assert finished.best is not None and finished.measured is not None
        return {
            "format_version": 1,
            "run": self._folder,
            "candidates": finished.candidates,
            "generations": finished.generations,
            "exhausted": finished.exhausted,
            "seconds": round(finished.seconds, 3),
            "top1": finished.measured.top1,
            "loss": finished.measured.loss,
            "missing": finished.missing,
            "candidate": finished.best.number,
            "generation": finished.best.generation,
            "macs": finished.flops,
            "params": finished.params,
            "decisions": dict(finished.architecture),
        }

    def text(self, finished: EvolutionFinished) -> str:
        assert finished.best is not None and finished.measured is not None
        best = finished.best
        rows = [
            [
                "candidates",
                f"{finished.candidates} in {several(finished.generations, 'generation')}",
            ],
            ["the best", f"candidate {best.number} of generation {best.generation}: {best.origin}"],
            ["top-1 with inherited weights", f"{finished.measured.top1:.1%}"],
            ["loss", f"{finished.measured.loss:.4f}"],
            ["FLOPs (multiply-adds)", amount(finished.flops)],
            ["parameters", f"{finished.params:,}"],
            ["videos that cannot be used", str(finished.missing)],
            ["architecture", os.path.join(self._folder, "arch.json")],
            ["its weights", os.path.join(self._folder, "model.safetensors")],
        ]
        return aligned(rows)


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
