"""``tsdsl search``: the architecture of a space that a supernet finds on a list of videos."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

import click

import tsdsl
from tsdsl.cli.colour import colour_option
from tsdsl.cli.options import costs_option, set_option, space_option, spec_argument
from tsdsl.cli.output import aligned, data, note, show
from tsdsl.cli.progress_bar import progress
from tsdsl.cli.quantities import amount, several
from tsdsl.cli.run_options import (
    INTERRUPTED,
    any_device_option,
    default_workers,
    log_every_option,
    needs_training,
    resume_option,
    root_option,
    run_option,
    save_every_option,
    seed_option,
    stopped,
    tensorboard_option,
    workers_option,
)
from tsdsl.cli.timing_options import threads_option
from tsdsl.diagnostics import DiagnosticError, FileError
from tsdsl.searching.defaults import SEARCH_BN_BATCHES

if TYPE_CHECKING:
    from tsdsl.searching.run import Event, SearchFinished
    from tsdsl.searching.searcher import PhaseFinished, SearchStepDone

EPILOG = """\b
Examples:
  tsdsl search my_space.tsnet --plan
  tsdsl search my_space.tsnet --data train.csv -o runs/search
  tsdsl search my_space.tsnet --data train.csv -o runs/search --resume
  tsdsl space my_space.tsnet --distribution runs/search/distribution.json
  torchrun --nproc-per-node 8 -m tsdsl.cli search my_space.tsnet --data train.csv
"""


@click.command(epilog=EPILOG)
@spec_argument
@set_option
@space_option
@costs_option
@click.option(
    "--data",
    "source",
    type=click.Path(),
    metavar="LIST",
    help="Videos and labels: a CSV, or a folder with a folder for each class.",
)
@root_option
@run_option
@resume_option
@click.option("--plan", "plan_only", is_flag=True, help="Say what would be done, and do nothing.")
@seed_option
@workers_option
@click.option(
    "--cost-term",
    type=click.Choice(["sampled", "exact"]),
    default="sampled",
    show_default=True,
    help="sampled: as the paper prints it; exact: of the mean cost, without noise.",
)
@click.option(
    "--bn-batches",
    type=click.IntRange(0),
    default=SEARCH_BN_BATCHES,
    show_default=True,
    metavar="N",
    help="Give the result running statistics of its own, from N batches; 0 for the supernet's.",
)
@click.option(
    "--micro-batch",
    type=click.IntRange(1),
    metavar="N",
    help="Clips of one forward pass of a process, to save memory; its share of the batch if left"
    " out.",
)
@click.option("--amp", is_flag=True, help="Compute in bfloat16 where that is safe.")
@any_device_option
@threads_option
@save_every_option
@log_every_option
@tensorboard_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON at the end.")
@colour_option
def command(
    file: str,
    settings: dict[str, Any],
    name: str | None,
    costs: tuple[str, ...],
    source: str | None,
    root: str | None,
    folder: str | None,
    resume: bool,
    plan_only: bool,
    seed: int,
    workers: int | None,
    cost_term: Literal["sampled", "exact"],
    bn_batches: int,
    micro_batch: int | None,
    amp: bool,
    device: str | None,
    threads: int | None,
    save_every: int | None,
    log_every: int,
    tensorboard: bool,
    as_json: bool,
) -> int:
    """Search a space on videos, by the spec's search section.

    One supernet holds the weights of all architectures; in each phase, PARSEC learns which options
    of its decisions are probable, inside of its budgets. Every setting can be given another value
    with --set, as in --set search.samples=4 or --set search.PHASE.epochs=10.

    RUN gets arch.json (the most probable architecture, within the budget), model.py and
    model.safetensors (with the weights that it has in the supernet), distribution.json, log.jsonl
    and checkpoints; 'tsdsl plot RUN' draws how it goes. Stopped by Ctrl-C, or killed, the same
    command with --resume goes on.

    Exit code 1 if a phase missed a budget: each is checked for the architecture that the phase
    ended with, of the streams that exist in it.
    """
    needs_training()
    space = tsdsl.load(file, set=settings, space=name, costs=costs)
    if plan_only:
        from tsdsl.cli.search_plan_report import plan

        plan(space, source, root, micro_batch, as_json)
        return 0
    if source is None:
        raise click.UsageError("--data LIST says what to search on (or --plan what would be done)")
    from tsdsl.searching.run import run
    from tsdsl.training.ranks import Ranks, use_threads

    use_threads(threads)
    folder = folder or os.path.join("runs", f"{space.name}-search")
    workers = default_workers() if workers is None else workers
    with Ranks.of(device) as ranks, stopped(ranks.is_first) as stop:
        events = run(
            space,
            source,
            ranks,
            root=root,
            folder=folder,
            resume=resume,
            seed=seed,
            workers=workers,
            cost_term=cost_term,
            mixed_precision=amp,
            bn_batches=bn_batches,
            micro_batch=micro_batch,
            save_every=save_every,
            log_every=log_every,
            tensorboard=tensorboard,
            about={"spec": os.path.basename(file)},
            stop=stop,
        )
        if not ranks.is_first:
            for _ in events:
                pass
            return 0
        finished = _follow(events, folder)
    if finished.interrupted:
        note(f"stopped after step {finished.step}; the same command with --resume goes on")
        return INTERRUPTED
    show(finished.missed)
    if as_json:
        data(json.dumps(_json(finished, folder), indent=2))
    else:
        data(_text(finished, folder))
    return int(not finished.met)


# ---------------------------------------------------------------- what is told


def _follow(events: Iterator[Event], folder: str) -> SearchFinished:
    """Show what happens; gives the end."""
    from tsdsl.searching.algorithm import AlgorithmEvent
    from tsdsl.searching.run import SearchFinished
    from tsdsl.searching.searcher import PhaseFinished, SearchStepDone
    from tsdsl.training.events import RunStarted, VideosRejected, WarningRaised

    started = next(events)
    assert isinstance(started, RunStarted)
    where = f"{several(started.world, 'process', 'processes')}, {started.device}"
    resumed = f", {started.step} of them done" if started.step else ""
    note(
        f"supernet of {started.parameters:,} parameters, batch {started.batch} ({where});"
        f" {several(started.total, 'step')}{resumed}, {started.steps_per_epoch} an epoch"
    )
    last: SearchFinished | None = None
    recent: list[SearchStepDone] = []
    with _keeping(folder), progress("searching", started.total, started.step) as steps:
        for event in events:
            match event:
                case SearchStepDone():
                    recent = [*recent[-49:], event]
                    steps(_brief(recent))
                case AlgorithmEvent():
                    steps.say(event.message)
                case PhaseFinished():
                    steps.say(_phase(event, recent))
                    recent = []
                case WarningRaised(diagnostics):
                    show(diagnostics)
                case VideosRejected(problems):
                    for problem in problems:
                        steps.say(f"replaced: {problem}")
                case SearchFinished():
                    last = event
                case _:
                    pass
    assert last is not None
    return last


@contextmanager
def _keeping(folder: str) -> Iterator[None]:
    """Where a search fails, say what is left of it."""
    try:
        yield
    except DiagnosticError as error:
        from tsdsl.training.checkpoint import Checkpoints

        with suppress(DiagnosticError):
            for step in Checkpoints(os.path.join(folder, "checkpoints")).steps()[-1:]:
                more = "; --resume goes on from there" if isinstance(error, FileError) else ""
                note(f"'{folder}' has the state after step {step}{more}")
        raise


def _brief(recent: list[SearchStepDone]) -> str:
    loss = sum(each.loss for each in recent) / len(recent)
    last = recent[-1]
    return f"{last.phase} loss {loss:.3f} {last.clips_per_second:.3g} clips/s"


def _phase(event: PhaseFinished, recent: list[SearchStepDone]) -> str:
    loss = sum(each.loss for each in recent) / max(1, len(recent))
    if event.flops is None:
        return f"phase {event.phase} ended after step {event.step}: loss {loss:.4f}"
    met = ", within its budgets" if event.met else "; no architecture lies within its budgets"
    chosen = f"{amount(event.flops)} FLOPs{met if event.budgets else ''}"
    return f"phase {event.phase} ended after step {event.step}: loss {loss:.4f}, {chosen}"


def _json(finished: SearchFinished, folder: str) -> dict[str, Any]:
    from tsdsl.searching.run import outcomes_as_json

    return {
        "format_version": 1,
        "run": folder,
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


def _text(finished: SearchFinished, folder: str) -> str:
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
        ["architecture", os.path.join(folder, "arch.json")],
        ["its weights", os.path.join(folder, "model.safetensors")],
    ]
    return aligned(rows)


def _met(met: bool) -> str:
    return "met" if met else "met by no architecture"
