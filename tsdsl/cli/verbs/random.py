"""``tsdsl random``: architectures at random, each trained from scratch, beside a given one."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

import tsdsl
from tsdsl.cli.colour import colour_option
from tsdsl.cli.open_spec import architecture
from tsdsl.cli.options import (
    budgets,
    costs_option,
    flops_option,
    params_option,
    set_option,
    space_option,
    spec_argument,
    within_option,
)
from tsdsl.cli.output import aligned, data, note, show
from tsdsl.cli.parameter_types import Ends
from tsdsl.cli.quantities import amount, several
from tsdsl.cli.run_options import (
    INTERRUPTED,
    any_device_option,
    budgets_of_spec,
    default_workers,
    evaluate_section,
    log_every_option,
    needs_training,
    root_option,
    save_every_option,
    stopped,
    workers_option,
)
from tsdsl.cli.timing_options import threads_option
from tsdsl.cli.training_progress import follow
from tsdsl.diagnostics.render import visible

if TYPE_CHECKING:
    from tsdsl.searching.random_search.jobs import Jobs
    from tsdsl.searching.random_search.ranking import Outcome, Report

EPILOG = """\b
Examples:
  tsdsl random my_space.tsnet -n 8 --flops 1.37G..1.43G --against runs/search/arch.json \\
    -o runs/random --draw-only
  tsdsl random my_space.tsnet -o runs/random --data train.csv --val val.csv
  sbatch --array=0-8 --wrap 'tsdsl random my_space.tsnet -o runs/random \\
    --data train.csv --val val.csv --job $SLURM_ARRAY_TASK_ID'
  tsdsl random my_space.tsnet -o runs/random --report
"""


@click.command(epilog=EPILOG)
@spec_argument
@click.option("-n", "count", type=click.IntRange(1, 100_000), metavar="N", help="How many to draw.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Of the draw; 0 if left out.")
@click.option("--uniform", is_flag=True, help="All architectures are equally probable.")
@flops_option
@params_option
@within_option
@costs_option
@click.option(
    "--against",
    type=click.Path(),
    multiple=True,
    metavar="ARCH",
    help="An architecture (arch.json) to compare with; may be repeated.",
)
@set_option
@space_option
@click.option(
    "--data",
    "source",
    type=click.Path(),
    metavar="LIST",
    help="Videos and labels to train on: a CSV, or a folder with a folder for each class.",
)
@root_option
@click.option("--val", type=click.Path(), metavar="LIST", help="Videos to evaluate on.")
@click.option("--val-root", type=click.Path(), metavar="DIR", help="As --root, for --val.")
@click.option(
    "--evaluate",
    "evaluation",
    metavar="NAME",
    help="The spec's evaluate section for --val; one clip and one crop if left out.",
)
@click.option(
    "-o",
    "folder",
    type=click.Path(),
    metavar="DIR",
    help="Folder for jobs and their runs; runs/SPACE-random if left out.",
)
@click.option("--draw-only", is_flag=True, help="Write the jobs, and train none.")
@click.option("--job", type=click.IntRange(0), metavar="K", help="Train this one only.")
@click.option("--report", "report_only", is_flag=True, help="Compare what is done, and train none.")
@click.option(
    "--train-seed",
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    show_default=True,
    help="Of initial weights and the order of videos, the same for all jobs.",
)
@click.option(
    "--micro-batch",
    type=click.IntRange(1),
    metavar="N",
    help="Clips of one forward pass of a process, to save memory.",
)
@workers_option
@any_device_option
@threads_option
@save_every_option
@log_every_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@colour_option
def command(
    file: str,
    count: int | None,
    seed: int | None,
    uniform: bool,
    flops: Ends | None,
    params: Ends | None,
    within: Sequence[tuple[str, Ends]],
    costs: tuple[str, ...],
    against: tuple[str, ...],
    settings: dict[str, Any],
    name: str | None,
    source: str | None,
    root: str | None,
    val: str | None,
    val_root: str | None,
    evaluation: str | None,
    folder: str | None,
    draw_only: bool,
    job: int | None,
    report_only: bool,
    train_seed: int,
    micro_batch: int | None,
    workers: int | None,
    device: str | None,
    threads: int | None,
    save_every: int | None,
    log_every: int,
    as_json: bool,
) -> int:
    """Train architectures drawn at random, to compare a search with.

    N distinct networks are drawn with the weights that the spec gives its options (--uniform:
    all alike), given that each cost is in its window, exactly; equal seeds draw alike on every
    machine. Without a window, the budgets of the last phase of the spec's search are meant. Each
    is a job, trained by the spec's train section and evaluated on --val after its last step, and
    so is each that is given with --against.

    DIR/jobs has the jobs, from 0 on, DIR/runs/K the run of job K, as of 'tsdsl train'. Where DIR
    has jobs, those are meant. Jobs that are done are not done again; one that was interrupted goes
    on where it was. Several processes may share the jobs of a folder.

    Exit code 1 if a job of the report is not done.
    """
    needs_training()
    if sum([draw_only, job is not None, report_only]) > 1:
        raise click.UsageError("--draw-only, --job and --report exclude each other")
    from tsdsl.searching.random_search.ranking import report

    space = tsdsl.load(file, set=settings, space=name, costs=costs)
    windows = budgets(space, flops, params, within)
    folder = folder or os.path.join("runs", f"{space.name}-random")
    jobs = _jobs(space, folder, count, seed, uniform, windows, against)
    if draw_only:
        data(json.dumps(_listed(jobs), indent=2) if as_json else _list(jobs))
        return 0
    if job is not None and job >= len(jobs.jobs):
        raise click.UsageError(f"there is no job {job}: the jobs are 0 to {len(jobs.jobs) - 1}")
    if not report_only:
        stopped_ = _train(
            jobs,
            job,
            source,
            val,
            device,
            train_seed=train_seed,
            root=root,
            val_root=val_root,
            views=evaluate_section(space, evaluation),
            workers=default_workers() if workers is None else workers,
            micro_batch=micro_batch,
            threads=threads,
            save_every=save_every,
            log_every=log_every,
            about={"spec": os.path.basename(file)},
        )
        if stopped_ is not None:
            return stopped_
    found = report(jobs)
    if job is not None:
        (one,) = (each for each in found.outcomes if each.job.number == job)
        data(json.dumps(_one(found, one), indent=2) if as_json else _told(one))
        return int(one.state != "done")
    data(json.dumps(found.as_json(), indent=2) if as_json else _report(found))
    return int(not found.whole)


def _jobs(
    space: tsdsl.Space,
    folder: str,
    count: int | None,
    seed: int | None,
    uniform: bool,
    windows: dict[str, tuple[float, float]],
    against: Sequence[str],
) -> Jobs:
    """Those of the folder, or of a draw. Raises `UsageError` and what `prepare` does."""
    from tsdsl.searching.random_search.jobs import Draw, load, prepare, windows_of

    given = [(path, architecture(space, path)) for path in against]
    found = load(space, folder)
    draw = None
    if found is None:
        if count is None:
            raise click.UsageError(f"'{visible(folder)}' has no jobs: -n says how many to draw")
        windows = windows or budgets_of_spec(space)
        draw = Draw(
            count, seed or 0, "architectures" if uniform else "initial", windows_of(windows)
        )
    else:
        # What is not said is as it was.
        old = found.draw
        draw = Draw(
            old.n if count is None else count,
            old.seed if seed is None else seed,
            "architectures" if uniform else old.weights,
            windows_of(windows) or old.windows,
        )
    jobs = prepare(space, folder, draw, given)
    if jobs.drawn < draw.n and os.environ.get("RANK", "0") == "0":
        where = " in these windows" if draw.windows else ""
        all_ = several(jobs.drawn, "distinct network")
        note(f"no more than {all_}{where}: fewer than -n {draw.n}, all are taken")
    return jobs


def _train(
    jobs: Jobs,
    job: int | None,
    source: str | None,
    val: str | None,
    device: str | None,
    **options: Any,
) -> int | None:
    """Train what is not done; an exit code where that is the end."""
    from tsdsl.searching.random_search.run import Busy, check_alike, todo, train_job
    from tsdsl.training.ranks import Ranks
    from tsdsl.training.trainer import TrainingError

    with Ranks.of(device) as ranks, stopped(ranks.is_first) as stop:
        if source is not None and val is not None:
            asked = {name: options[name] for name in ("train_seed", "root", "val_root", "views")}
            check_alike(jobs, source, val, **asked)
        numbers = todo(jobs, ranks, job)
        if numbers and source is None:
            raise click.UsageError("--data LIST says what to train on (or --report what is done)")
        if numbers and val is None:
            raise click.UsageError("--val LIST says what they are compared on")
        for at, number in enumerate(numbers):
            assert source is not None and val is not None
            if not todo(jobs, ranks, number):
                # Another process was faster.
                continue
            events = train_job(jobs, number, source, val, ranks, stop=stop, **options)
            if not ranks.is_first:
                for _ in events:
                    pass
                continue
            note(f"job {number} ({at + 1} of {len(numbers)}): {_called(jobs, number)}")
            try:
                finished = follow(events)
            except Busy:
                if job is not None or ranks.world > 1:
                    raise
                note(f"job {number} is being trained by another process")
                continue
            except TrainingError as bad:
                if job is not None or ranks.world > 1:
                    raise
                show(bad.diagnostics)
                continue
            if finished.interrupted:
                note(f"stopped in job {number}; the same command goes on")
                return INTERRUPTED
        return None if ranks.is_first else 0


def _called(jobs: Jobs, number: int) -> str:
    job = jobs.jobs[number]
    cost = f"{amount(jobs.space.flops(job.architecture))} FLOPs"
    return cost if job.given is None else f"{visible(job.given)}, {cost}"


# ---------------------------------------------------------------- what is told


def _list(jobs: Jobs) -> str:
    space = jobs.space
    rows = [["job", "FLOPs", "parameters", "given as"]]
    for job in jobs.jobs:
        macs, params = space.flops(job.architecture), space.params(job.architecture)
        rows.append([str(job.number), amount(macs), f"{params:,}", visible(job.given or "")])
    last = len(jobs.jobs) - 1
    return f"{aligned(rows, (0, 1, 2))}\n\njobs 0 to {last} in {os.path.join(jobs.folder, 'jobs')}"


def _listed(jobs: Jobs) -> dict[str, Any]:
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


def _one(found: Report, outcome: Outcome) -> dict[str, Any]:
    (row,) = (each for each in found.as_json()["jobs"] if each["job"] == outcome.job.number)
    # How many others are done by now is no part of it.
    return {"format_version": 1, **{key: row[key] for key in row if key != "rank"}}


def _told(outcome: Outcome) -> str:
    rows = [["job", str(outcome.job.number)]]
    if outcome.score is not None:
        rows += [
            ["top-1", f"{outcome.score.top1:.1%}"],
            ["loss", f"{outcome.score.loss:.4f}"],
        ]
    else:
        rows.append([outcome.state, outcome.why])
    return aligned(rows)


def _report(found: Report) -> str:
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
