"""``tsdsl random``: architectures at random, each trained from scratch, beside a given one."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click

import tsdsl
from tsdsl.cli.colour import colour_option
from tsdsl.cli.event_loop import INTERRUPTED, drain, follow, stop_on_signal
from tsdsl.cli.open_spec import SpecWithCosts, architecture
from tsdsl.cli.option_groups import OptionGroup, option, takes
from tsdsl.cli.output import data, note, show
from tsdsl.cli.quantities import several
from tsdsl.cli.run_options import (
    MachineOptions,
    OptionalVideoOptions,
    ValidationOptions,
    log_every_field,
    micro_batch_field,
    needs_training,
    save_every_field,
    windows_of_search,
)
from tsdsl.cli.window_options import WindowOptions
from tsdsl.diagnostics.render import visible

if TYPE_CHECKING:
    from tsdsl.searching.random_search.jobs import Jobs
    from tsdsl.searching.windows import DrawWeights

EPILOG = """\b
Examples:
  tsdsl random my_space.tsnet -n 8 --flops 1.37G..1.43G --against runs/search/arch.json \\
    -o runs/random --draw-only
  tsdsl random my_space.tsnet -o runs/random --data train.csv --val val.csv
  sbatch --array=0-8 --wrap 'tsdsl random my_space.tsnet -o runs/random \\
    --data train.csv --val val.csv --job $SLURM_ARRAY_TASK_ID'
  tsdsl random my_space.tsnet -o runs/random --report
"""


class DrawOptions(WindowOptions):
    """Which architectures are drawn, and which they are compared with."""

    count: int | None = option(
        "-n", type=click.IntRange(1, 100_000), metavar="N", help="Number of architectures to draw."
    )
    seed: int | None = option(
        "--seed", type=click.IntRange(0, 2**63 - 1), help="Seed of the draw; 0 if left out."
    )
    uniform: bool = option("--uniform", is_flag=True, help="Draw uniformly over architectures.")
    against: tuple[str, ...] = option(
        "--against",
        type=click.Path(),
        multiple=True,
        metavar="ARCH",
        help="An architecture (arch.json) to compare with; may be repeated.",
    )

    def jobs(self, space: tsdsl.Space, folder: str) -> Jobs:
        """The jobs of a folder, which are drawn if it has none. Raises `UsageError` if it has none
        and ``-n`` is left out, and what `continued_draw` and `prepare` do."""
        from tsdsl.searching.random_search.jobs import Draw, continued_draw, load, prepare

        given = [(path, architecture(space, path)) for path in self.against]
        windows = self.windows(space)
        before = load(space, folder)
        weights: DrawWeights | None = "architectures" if self.uniform else None
        if before is not None:
            draw = continued_draw(before.draw, self.count, self.seed, weights, windows)
        elif self.count is None:
            raise click.UsageError(f"'{visible(folder)}' has no jobs: -n says how many to draw")
        else:
            windows = windows or windows_of_search(space)
            draw = continued_draw(Draw(self.count), None, self.seed, weights, windows)
        return prepare(space, folder, draw, given)


class JobOptions(OptionGroup):
    """The folder of the jobs, and what is done with them."""

    folder: str | None = option(
        "-o",
        type=click.Path(),
        metavar="DIR",
        help="Folder of the jobs and their runs; runs/SPACE-random if left out.",
    )
    draw_only: bool = option("--draw-only", is_flag=True, help="Write the jobs, and train none.")
    job: int | None = option("--job", type=click.IntRange(0), metavar="K", help="Train job K only.")
    report: bool = option(
        "--report", is_flag=True, help="Compare the jobs that are done, and train none."
    )


class JobTrainingOptions(OptionGroup):
    """How each job is trained, beside the recipe of the spec."""

    train_seed: int = option(
        "--train-seed",
        type=click.IntRange(0, 2**63 - 1),
        default=0,
        show_default=True,
        help="Seed of the initial weights and of the order of videos, the same for all jobs.",
    )
    micro_batch: int | None = micro_batch_field
    save_every: int | None = save_every_field
    log_every: int = log_every_field


@click.command(epilog=EPILOG)
@takes(
    spec=SpecWithCosts,
    draw=DrawOptions,
    videos=OptionalVideoOptions,
    validation=ValidationOptions,
    jobs=JobOptions,
    training=JobTrainingOptions,
    machine=MachineOptions,
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@colour_option
def command(
    spec: SpecWithCosts,
    draw: DrawOptions,
    videos: OptionalVideoOptions,
    validation: ValidationOptions,
    jobs: JobOptions,
    training: JobTrainingOptions,
    machine: MachineOptions,
    as_json: bool,
) -> int:
    """Train architectures drawn at random, to compare a search with.

    N distinct networks are drawn from the spec's initial distribution (or uniformly, with
    --uniform), conditioned on the windows of their costs; the draw is exact, and depends on the
    seed only. Without a window, the budgets of the last phase of the spec's search apply. Each
    network is a job: it is trained by the spec's train section and evaluated on --val after its
    last step. So is each architecture that --against names.

    DIR/jobs has the jobs, numbered from 0, and DIR/runs/K the run of job K, as 'tsdsl train'
    writes it. If DIR has jobs already, they are continued: jobs that are done are left as they
    are, and one that was interrupted resumes. Several processes may share the jobs of a folder.

    Exit code 1 if a job of the report is not done.
    """
    needs_training()
    if sum([jobs.draw_only, jobs.job is not None, jobs.report]) > 1:
        raise click.UsageError("--draw-only, --job and --report exclude each other")
    from tsdsl.cli import random_report
    from tsdsl.searching.random_search.ranking import report

    space = spec.load()
    prepared = draw.jobs(space, jobs.folder or os.path.join("runs", f"{space.name}-random"))
    _note_fewer(prepared)
    if jobs.draw_only:
        listed = random_report.jobs_as_json if as_json else random_report.jobs_text
        _print(listed(prepared))
        return 0
    if jobs.job is not None and jobs.job >= len(prepared.jobs):
        last = len(prepared.jobs) - 1
        raise click.UsageError(f"there is no job {jobs.job}: the jobs are 0 to {last}")
    if not jobs.report:
        options: dict[str, Any] = {
            "train_seed": training.train_seed,
            "root": videos.root,
            "val_root": validation.val_root,
            "views": validation.section(space),
            "workers": machine.decoders,
            "micro_batch": training.micro_batch,
            "threads": machine.threads,
            "save_every": training.save_every,
            "log_every": training.log_every,
            "about": spec.about,
        }
        code = _train(prepared, jobs.job, videos.data, validation.val, machine.device, options)
        if code is not None:
            return code
    compared = report(prepared)
    if jobs.job is not None:
        (one,) = (each for each in compared.outcomes if each.job.number == jobs.job)
        _print(
            random_report.outcome_as_json(compared, one)
            if as_json
            else random_report.outcome_text(one)
        )
        return int(one.state != "done")
    _print(compared.as_json() if as_json else random_report.report_text(compared))
    return int(not compared.whole)


def _print(result: dict[str, Any] | str) -> None:
    data(result if isinstance(result, str) else json.dumps(result, indent=2))


def _note_fewer(jobs: Jobs) -> None:
    """Say that the windows have fewer networks than were to be drawn, on the first rank."""
    if jobs.drawn < jobs.draw.n and os.environ.get("RANK", "0") == "0":
        where = " in these windows" if jobs.draw.windows else ""
        count = several(jobs.drawn, "distinct network")
        note(f"no more than {count}{where}: fewer than -n {jobs.draw.n}, all are taken")


def _train(
    jobs: Jobs,
    only: int | None,
    videos: str | None,
    val: str | None,
    device: str | None,
    options: dict[str, Any],
) -> int | None:
    """Train the jobs that are not done, or ``only`` one. The exit code, where this ends the
    command; None where a report follows."""
    from tsdsl.cli.random_report import job_title
    from tsdsl.cli.train_report import TrainReport
    from tsdsl.searching.random_search.run import Busy, check_alike, remaining, todo, train_job
    from tsdsl.training.ranks import Ranks
    from tsdsl.training.trainer import TrainingError

    with Ranks.of(device) as ranks, stop_on_signal(ranks.is_first) as stop:
        if videos is not None and val is not None:
            same = {name: options[name] for name in ("train_seed", "root", "val_root", "views")}
            check_alike(jobs, videos, val, **same)
        numbers = todo(jobs, ranks, only)
        if numbers and videos is None:
            raise click.UsageError("--data LIST says what to train on (or --report what is done)")
        if numbers and val is None:
            raise click.UsageError("--val LIST says what they are compared on")
        # The ranks of a run go on together, or not at all.
        go_on = only is None and ranks.world == 1
        for number in remaining(jobs, ranks, numbers):
            assert videos is not None and val is not None
            events = train_job(jobs, number, videos, val, ranks, stop=stop, **options)
            if not ranks.is_first:
                drain(events)
                continue
            at = numbers.index(number) + 1
            note(f"job {number} ({at} of {len(numbers)}): {job_title(jobs, number)}")
            try:
                finished = follow(events, TrainReport(jobs.run(number), options["workers"]))
            except Busy:
                if not go_on:
                    raise
                note(f"job {number} is being trained by another process")
            except TrainingError as failure:
                if not go_on:
                    raise
                show(failure.diagnostics)
            else:
                if finished.interrupted:
                    note(f"stopped in job {number}; the same command goes on")
                    return INTERRUPTED
        return None if ranks.is_first else 0
