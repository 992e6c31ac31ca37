"""The jobs of a random search and how they compare, as text and JSON."""

from __future__ import annotations

import os
from typing import Any

from tsdsl.cli.output import aligned
from tsdsl.cli.quantities import amount, several
from tsdsl.diagnostics.render import visible
from tsdsl.searching.random_search.jobs import Jobs
from tsdsl.searching.random_search.ranking import Outcome, Report


def job_title(jobs: Jobs, number: int) -> str:
    job = jobs.jobs[number]
    cost = f"{amount(jobs.space.flops(job.architecture))} FLOPs"
    return cost if job.given is None else f"{visible(job.given)}, {cost}"


def jobs_text(jobs: Jobs) -> str:
    space = jobs.space
    rows = [["job", "FLOPs", "parameters", "given as"]]
    for job in jobs.jobs:
        macs, params = space.flops(job.architecture), space.params(job.architecture)
        rows.append([str(job.number), amount(macs), f"{params:,}", visible(job.given or "")])
    last = len(jobs.jobs) - 1
    return f"{aligned(rows, (0, 1, 2))}\n\njobs 0 to {last} in {os.path.join(jobs.folder, 'jobs')}"


def jobs_as_json(jobs: Jobs) -> dict[str, Any]:
    space = jobs.space
    return {
        "format_version": 1,
        "space": space.name,
        "n": jobs.draw.n,
        "drawn": jobs.drawn,
        "seed": jobs.draw.seed,
        "weights": jobs.draw.weights,
        "windows": jobs.draw.plain_windows,
        "jobs": [
            {
                "job": job.number,
                "drawn": job.drawn,
                "given": job.given,
                "macs": space.flops(job.architecture),
                "params": space.params(job.architecture),
                "decisions": dict(job.architecture),
            }
            for job in jobs.jobs
        ],
    }


def outcome_as_json(found: Report, outcome: Outcome) -> dict[str, Any]:
    (row,) = (each for each in found.as_json()["jobs"] if each["job"] == outcome.job.number)
    # How many others are done by now is no part of it.
    return {"format_version": 1, **{key: row[key] for key in row if key != "rank"}}


def outcome_text(outcome: Outcome) -> str:
    rows = [["job", str(outcome.job.number)]]
    if outcome.score is not None:
        rows += [
            ["top-1", f"{outcome.score.top1:.1%}"],
            ["loss", f"{outcome.score.loss:.4f}"],
        ]
    else:
        rows.append([outcome.state, outcome.why])
    return aligned(rows)


def report_text(found: Report) -> str:
    tops = [each.score.top1 for each in found.outcomes if each.score is not None]
    rows = [["rank", "job", "top-1", "loss", "FLOPs", "parameters", ""]]
    for each in found.outcomes:
        score = each.score
        shared = score is not None and tops.count(score.top1) > 1
        rows.append(
            [
                "-" if each.rank is None else f"{each.rank}{'=' * shared}",
                str(each.job.number),
                "-" if score is None else f"{score.top1:.1%}",
                "-" if score is None else f"{score.loss:.4f}",
                amount(each.macs),
                f"{each.params:,}",
                "; ".join(_remarks(each)),
            ]
        )
    lines = [aligned(rows, range(6)), "", _summary(found)]
    lines += [_given(found, each) for each in found.outcomes if each.job.given is not None]
    return "\n".join(lines)


def _remarks(each: Outcome) -> list[str]:
    said = [] if each.job.given is None else [visible(each.job.given)]
    if not each.inside:
        said.append("outside of the windows")
    if each.state != "done":
        said.append(f"{each.state}: {visible(each.why)}" if each.why else each.state)
    if each.score is not None and each.score.missing:
        said.append(f"{several(each.score.missing, 'video')} cannot be used")
    return said


def _summary(found: Report) -> str:
    random, of = found.random, found.jobs.drawn
    done = f"random: {random.done} of {of} done"
    if random.mean is None or random.best is None:
        return done
    std = "" if random.std is None else f", standard deviation {100 * random.std:.1f} points"
    return f"{done}; top-1 {random.mean:.1%} in the mean{std}, {random.best:.1%} the best"


def _given(found: Report, each: Outcome) -> str:
    called = visible(each.job.given or "")
    if each.score is None or each.rank is None:
        return f"{called}: {each.state}"
    text = f"{called}: top-1 {each.score.top1:.1%}, rank {each.rank} of {found.ranked}"
    others = sum(other.rank == each.rank for other in found.outcomes) - 1
    if others:
        text += f", shared with {several(others, 'other')}"
    mean = found.random.mean
    if mean is not None:
        points = 100 * (each.score.top1 - mean)
        text += f", {points:+.1f} points from the mean of the random ones"
    return text
