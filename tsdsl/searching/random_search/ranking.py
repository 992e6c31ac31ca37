"""What the trainings of a folder of jobs came to, side by side.

A job's score is that of the evaluation after its last step, not of its best one, which would be
chosen on the videos that it is scored on. Equal scores share a rank.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any, Literal

from tsdsl.diagnostics import Diagnostic, DiagnosticError
from tsdsl.files import read_lines, read_text, write_atomic
from tsdsl.record import Record, replace
from tsdsl.searching.random_search.jobs import Job, Jobs
from tsdsl.training.folder import LOG, LONGEST, RUN

#: In a run's folder: why its training could not go on.
FAILED = "failed.json"
#: What trainings have to have in common to be compared: keys of `RUN`.
ALIKE = ("recipe", "seed", "data", "val", "evaluate")

State = Literal["done", "failed", "incomplete", "not begun", "another"]


class Score(Record):
    top1: float
    top5: float
    #: Cross-entropy, nats.
    loss: float
    #: Videos that were scored, and that could not be.
    videos: int
    missing: int


class Outcome(Record):
    """``another``: what is in the job's folder is not its training, or not one like the others'.
    ``why`` says more of every state but done."""

    job: Job
    macs: int
    params: int
    #: Whether it is in the windows of the draw.
    inside: bool
    state: State
    why: str = ""
    score: Score | None = None
    #: One more than jobs that are better.
    rank: int | None = None


class Summary(Record):
    """Of the drawn jobs that are done. ``std``: the sample's, with n - 1; None for fewer than two
    jobs."""

    done: int
    mean: float | None
    std: float | None
    best: float | None


class Report(Record):
    """``outcomes``: the best first, then those that are not done, by number."""

    jobs: Jobs
    outcomes: tuple[Outcome, ...]

    @property
    def whole(self) -> bool:
        """Whether all jobs are done."""
        return all(each.state == "done" for each in self.outcomes)

    @property
    def ranked(self) -> int:
        """How many jobs have a rank."""
        return sum(each.rank is not None for each in self.outcomes)

    @property
    def random(self) -> Summary:
        """Of top-1."""
        found = [each.score.top1 for each in self.outcomes if each.job.drawn and each.score]
        if not found:
            return Summary(0, None, None, None)
        mean = sum(found) / len(found)
        std = None
        if len(found) > 1:
            std = sqrt(sum((x - mean) ** 2 for x in found) / (len(found) - 1))
        return Summary(len(found), mean, std, max(found))

    def as_json(self) -> dict[str, Any]:
        draw, random = self.jobs.draw, self.random
        return {
            "format_version": 1,
            "space": self.jobs.space.name,
            "space_hash": self.jobs.space.hash,
            "n": draw.n,
            "drawn": self.jobs.drawn,
            "seed": draw.seed,
            "weights": draw.weights,
            "windows": draw.plain_windows,
            "whole": self.whole,
            "ranked": self.ranked,
            "random": {
                "done": random.done,
                "mean": random.mean,
                "std": random.std,
                "best": random.best,
            },
            "jobs": [
                {
                    "job": each.job.number,
                    "drawn": each.job.drawn,
                    "given": each.job.given,
                    "state": each.state,
                    "why": each.why or None,
                    "rank": each.rank,
                    **({} if each.score is None else _plain(each.score)),
                    "macs": each.macs,
                    "params": each.params,
                    "inside": each.inside,
                    "decisions": dict(each.job.architecture),
                }
                for each in self.outcomes
            ],
        }


def _plain(score: Score) -> dict[str, float]:
    return {
        "top1": score.top1,
        "top5": score.top5,
        "loss": score.loss,
        "videos": score.videos,
        "missing": score.missing,
    }


def report(jobs: Jobs) -> Report:
    """What is in the folder. Nothing is written."""
    first = alike(jobs)
    found = [outcome(jobs, job.number, first) for job in jobs.jobs]
    tops = [each.score.top1 for each in found if each.score is not None]
    ranked = [
        each
        if each.score is None
        else replace(each, rank=1 + sum(top > each.score.top1 for top in tops))
        for each in found
    ]
    ranked.sort(key=lambda each: (each.rank is None, each.rank or 0, each.job.number))
    return Report(jobs, tuple(ranked))


def alike(jobs: Jobs, but: int | None = None) -> tuple[int, Mapping[str, Any]] | None:
    """The first job with a training (``but`` for one), and what that says of itself; the others
    have to be like it. None where there is none yet."""
    for job in jobs.jobs:
        if job.number != but:
            about = description(jobs.run(job.number))
            if about is not None and _own(jobs, job, about) and _begun(jobs.run(job.number)):
                return job.number, about
    return None


def unlike(about: Mapping[str, Any], first: tuple[int, Mapping[str, Any]] | None) -> str:
    """How a training differs from the one that it is compared with; empty if it does not."""
    if first is None:
        return ""
    number, other = first
    differ: list[str] = []
    for key in ALIKE:
        old, new = other.get(key), about.get(key)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            inner = [k for k in dict.fromkeys([*old, *new]) if old.get(k) != new.get(k)]
            differ += [f"{key}.{k} is {new.get(k)}, not {old.get(k)}" for k in inner]
        else:
            differ.append(f"{key} is {_brief(new)}, not {_brief(old)}")
    more = f" (and {len(differ) - 3} more)" if len(differ) > 3 else ""
    return f"trained otherwise than job {number}: {'; '.join(differ[:3])}{more}" if differ else ""


def outcome(jobs: Jobs, number: int, first: tuple[int, Mapping[str, Any]] | None = None) -> Outcome:
    """What a job came to, without a rank. ``first``: what it has to be like."""
    job, folder = jobs.jobs[number], jobs.run(number)
    state, why, score = _read(jobs, job, folder, first)
    space = jobs.space
    return Outcome(
        job,
        space.flops(job.architecture),
        space.params(job.architecture),
        jobs.inside(job.architecture),
        state,
        why,
        score,
    )


def _read(
    jobs: Jobs, job: Job, folder: str, first: tuple[int, Mapping[str, Any]] | None
) -> tuple[State, str, Score | None]:
    if not os.path.isdir(folder):
        return "not begun", "", None
    failed = failure(folder)
    about = description(folder)
    if about is None and os.path.exists(os.path.join(folder, RUN)):
        return "another", f"{os.path.join(folder, RUN)} describes no run", None
    if about is None:
        return ("failed", failed, None) if failed else ("not begun", "", None)
    if not _own(jobs, job, about):
        return "another", f"{folder} is no training of this job's architecture", None
    if differs := unlike(about, first):
        return "another", differs, None
    if failed:
        return "failed", failed, None
    lines = _log(folder)
    step = max((line["step"] for line in lines), default=0)
    last = next((line for line in reversed(lines) if line["event"] == "end"), None)
    if last is None or last.get("interrupted") is not False or last["step"] != step:
        return "incomplete", f"it was last at step {step}" if step else "it has no step yet", None
    if about.get("val") is None:
        return "another", "it was trained without a list to evaluate on", None
    for line in reversed(lines):
        if line["event"] == "evaluate" and line["step"] == step:
            score = _score(line)
            if score is not None:
                return "done", "", score
    return "incomplete", "its log has no evaluation after the last step", None


def _score(line: Mapping[str, Any]) -> Score | None:
    try:
        return Score(
            float(line["top1"]),
            float(line["top5"]),
            float(line["loss"]),
            int(line["videos"]),
            int(line["missing"]),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _own(jobs: Jobs, job: Job, about: Mapping[str, Any]) -> bool:
    """Whether a training is of this job's architecture."""
    decisions = about.get("architecture")
    return about.get("space_hash") == jobs.space.hash and decisions == dict(job.architecture)


def _begun(folder: str) -> bool:
    """Whether a training has more than a description."""
    return os.path.isdir(os.path.join(folder, "checkpoints"))


def description(folder: str) -> Mapping[str, Any] | None:
    try:
        found = json.loads(read_text(os.path.join(folder, RUN), limit=LONGEST, what="run"))
    except (ValueError, DiagnosticError):
        return None
    return found if isinstance(found, dict) else None


def _log(folder: str) -> list[dict[str, Any]]:
    """Whole lines of a log; the last one may be cut off."""
    try:
        lines, _ = read_lines(os.path.join(folder, LOG), limit=LONGEST, what="log")
    except DiagnosticError:
        return []
    found: list[dict[str, Any]] = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and isinstance(event.get("step"), int) and "event" in event:
            found.append(event)
    return found


# ---------------------------------------------------------------- failures


def failure(folder: str) -> str:
    """Why the training in a folder could not go on; empty if it did not fail."""
    path = os.path.join(folder, FAILED)
    if not os.path.exists(path):
        return ""
    try:
        found = json.loads(read_text(path, limit=LONGEST, what="failure"))
        return f"{found['code']}: {found['message']}"
    except (ValueError, KeyError, TypeError, DiagnosticError):
        return f"{FAILED} cannot be read"


def note_failure(folder: str, diagnostics: Sequence[Diagnostic]) -> None:
    """Keep why a training could not go on beside it."""
    first = diagnostics[0]
    about = {"format_version": 1, "code": first.code, "message": first.message}
    write_atomic(os.path.join(folder, FAILED), json.dumps(about, indent=1) + "\n")


def _brief(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
