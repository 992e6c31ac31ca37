"""Selecting an architecture by evolution over a trained supernet: the loop of `evolve`, and the end
of a search that learns no distribution.

Candidates of a generation are scored with the weights that they have in the supernet. A log has a
line for each of them, which is the state of the loop: a run that was killed plans the same
generations again, and scores the candidates that the log does not have.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from time import perf_counter
from typing import Any

from tsdsl.diagnostics import Diagnostic, SpecError
from tsdsl.files import read_lines
from tsdsl.searching.evolution.events import (
    CandidateScored,
    Fitness,
    GenerationFinished,
    InheritedScores,
    ProgressMade,
)
from tsdsl.searching.evolution.population import Candidate, Evolution
from tsdsl.searching.inherited_weights import Inherited
from tsdsl.training.folder import LONGEST, RunFolder
from tsdsl.training.ranks import Ranks
from tsdsl.training.scores import Scores
from tsdsl.training.scoring import EvaluationError

#: Writes a candidate's line: its number, and the values of `line_of`.
WriteLine = Callable[[int, Mapping[str, Any]], None]
#: The lines of candidates that were scored before, by the candidate's number.
Logged = Mapping[int, Mapping[str, Any]]


class EvolutionLoop:
    """``logged``: the candidates that were scored before. ``log``: the path of their file, for
    messages."""

    def __init__(
        self,
        evolution: Evolution,
        inherited: Inherited,
        ranks: Ranks,
        fitness: Fitness,
        logged: Logged,
        *,
        log: str | None = None,
        write: WriteLine | None = None,
    ) -> None:
        self.evolution = evolution
        self.inherited = inherited
        self.space = inherited.space
        self.ranks = ranks
        self.fitness = fitness
        self.logged = logged
        self.log = log
        self.write = write
        #: The scores of each candidate, by its number.
        self.measured: dict[int, InheritedScores] = {}
        #: Videos of the validation list that cannot be used.
        self.missing = 0
        #: Whether it was asked to stop.
        self.stopped = False

    def events(
        self, stop: Callable[[], bool]
    ) -> Iterator[ProgressMade | CandidateScored | GenerationFinished]:
        """Score one generation after the other, until all are done or ``stop`` returns True.
        Raises `SpecError` for a log of another run, `EvaluationError`, `NoUsableVideo`."""
        evolution = self.evolution
        while not self.stopped and (planned := evolution.next()):
            yield from self._replayed(planned)
            new = [each for each in planned if each.number not in self.measured]
            before = perf_counter()
            for at, scores in self.inherited.scores([each.architecture for each in new]):
                if scores is None:
                    yield ProgressMade()
                else:
                    now = perf_counter()
                    yield self._scored(new[at], scores, now - before)
                    before = now
                self.stopped = any(self.ranks.gather(stop()))
                if self.stopped:
                    break
            if new and all(each.number in self.measured for each in planned):
                (best,) = evolution.best()
                mean = sum(self.measured[each.number].top1 for each in planned) / len(planned)
                yield GenerationFinished(
                    planned[0].generation, best, self.measured[best.number], mean
                )

    @property
    def best(self) -> Candidate | None:
        """The best candidate so far. Raises `EvaluationError` where not even that of a whole
        evolution has scores that are all finite."""
        best = next(iter(self.evolution.best()), None)
        if best is not None and not self.stopped and not self.measured[best.number].finite:
            message = f"no candidate of {len(self.measured)} gives scores that are all finite"
            message += " numbers"
            hint = "weights of a search that diverged? Without --amp, numbers have a wider range"
            raise EvaluationError([Diagnostic("E0825", message, help=hint)])
        return best

    @property
    def interrupted(self) -> bool:
        """Whether it was stopped before its end."""
        evolution = self.evolution
        whole = evolution.generation == evolution.settings.generations or evolution.exhausted
        return self.stopped and not (whole and len(self.measured) == evolution.asked)

    def _replayed(self, planned: list[Candidate]) -> Iterator[CandidateScored]:
        """The candidates of a generation that the log has."""
        for candidate in planned:
            line = self.logged.get(candidate.number)
            if line is None:
                return
            if line["decisions"] != dict(candidate.architecture):
                message = f"the log of this run is another one's: candidate {candidate.number}"
                hint = "start a new run in another folder with -o"
                raise SpecError([Diagnostic("E0823", message, file=self.log, help=hint)])
            self.missing = line["missing"]
            scores = InheritedScores(line["top1"], line["loss"], line.get("finite", True))
            yield self._measured(candidate, scores, None)

    def _scored(self, candidate: Candidate, scores: Scores, seconds: float) -> CandidateScored:
        finite = candidate.architecture not in self.inherited.unfit
        measured = InheritedScores(scores.top1, scores.log_loss, finite)
        self.missing = len(scores.missing)
        event = self._measured(candidate, measured, seconds)
        if self.write is not None:
            self.write(
                candidate.number,
                {
                    "generation": candidate.generation,
                    "origin": candidate.origin,
                    "parents": list(candidate.parents),
                    "top1": measured.top1,
                    "loss": measured.loss,
                    "finite": measured.finite,
                    "videos": len(scores),
                    "missing": self.missing,
                    "macs": event.flops,
                    "params": event.params,
                    "decisions": dict(candidate.architecture),
                    "seconds": round(seconds, 3),
                },
            )
        return event

    def _measured(
        self, candidate: Candidate, measured: InheritedScores, seconds: float | None
    ) -> CandidateScored:
        self.measured[candidate.number] = measured
        self.evolution.add(candidate, measured.fitness(self.fitness))
        architecture = candidate.architecture
        flops, params = self.space.flops(architecture), self.space.params(architecture)
        return CandidateScored(candidate, measured, flops, params, seconds)


def logged_candidates(
    folder: RunFolder, name: str, head: Mapping[str, Any] | None = None
) -> dict[int, dict[str, Any]]:
    """The candidates that a log has, by number, up to the first one that it lacks; none if there is
    no log. Lines that are cut off or no candidate's are left out. With ``head``, the
    first line has to be that, or none counts. Raises `FileError` for a log that cannot be read."""
    candidates: dict[int, dict[str, Any]] = {}
    if not os.path.lexists(folder.at(name)):
        return candidates
    lines, _ = read_lines(folder.at(name), limit=LONGEST, what="log")
    if head is not None and (not lines or _parsed(lines[0]) != head):
        return candidates
    for line in map(_parsed, lines):
        is_next = line.get("event") == "candidate" and line.get("step") == len(candidates) + 1
        if is_next and all(isinstance(line.get(key), types) for key, types in _TYPES.items()):
            candidates[len(candidates) + 1] = line
    return candidates


#: What a candidate's line has to have to be read again.
_TYPES: dict[str, type | tuple[type, ...]] = {
    "top1": (int, float),
    "loss": (int, float),
    "missing": int,
    "decisions": dict,
}


def _parsed(line: str) -> dict[str, Any]:
    """The object of a line of JSON; an empty one if it has none."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
