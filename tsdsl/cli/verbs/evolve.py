"""``tsdsl evolve``: the architecture that evolution finds with the weights of a supernet."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import click

import tsdsl
from tsdsl.cli.colour import colour_option
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
from tsdsl.cli.parameter_types import Amount, Ends
from tsdsl.cli.progress_bar import progress
from tsdsl.cli.quantities import amount, several
from tsdsl.cli.run_options import (
    INTERRUPTED,
    any_device_option,
    budgets_of_spec,
    data_option,
    default_workers,
    evaluate_section,
    needs_training,
    resume_option,
    root_option,
    run_option,
    seed_option,
    stopped,
    workers_option,
)
from tsdsl.cli.timing_options import threads_option
from tsdsl.searching.defaults import EVOLVE_BN_BATCHES, EVOLVE_MEMORY

if TYPE_CHECKING:
    from tsdsl.searching.evolution.run import (
        Event,
        EvolutionFinished,
        EvolutionStarted,
        GenerationFinished,
    )

EPILOG = """\b
Examples:
  tsdsl evolve my_space.tsnet --weights runs/search/supernet.safetensors \\
    --data train.csv --val val.csv --flops 1.37G..1.43G -o runs/evolution
  tsdsl evolve my_space.tsnet --weights runs/search/supernet.safetensors \\
    --data train.csv --val val.csv --population 20 --generations 10 --fitness loss
  tsdsl train my_space.tsnet --frozen runs/evolution/arch.json --data train.csv
"""


@click.command(epilog=EPILOG)
@spec_argument
@click.option(
    "--weights",
    type=click.Path(),
    required=True,
    metavar="FILE",
    help="Those of the supernet: supernet.safetensors of a search.",
)
@data_option
@root_option
@click.option(
    "--val",
    type=click.Path(),
    required=True,
    metavar="LIST",
    help="Videos that candidates are scored on.",
)
@click.option("--val-root", type=click.Path(), metavar="DIR", help="As --root, for --val.")
@click.option(
    "--evaluate",
    "evaluation",
    metavar="NAME",
    help="The spec's evaluate section for --val; one clip and one crop if left out.",
)
@flops_option
@params_option
@within_option
@costs_option
@click.option(
    "--population",
    type=click.IntRange(1, 100_000),
    default=50,
    show_default=True,
    metavar="N",
    help="Candidates of a generation.",
)
@click.option(
    "--generations",
    type=click.IntRange(1, 100_000),
    default=20,
    show_default=True,
    metavar="N",
    help="With the first one, which is drawn.",
)
@click.option(
    "--parents",
    type=click.IntRange(1, 100_000),
    default=10,
    show_default=True,
    metavar="N",
    help="How many of the best so far have children.",
)
@click.option(
    "--crossover",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    metavar="SHARE",
    help="Share of a generation that has two parents; the others are mutations of one.",
)
@click.option(
    "--mutation",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.1,
    show_default=True,
    metavar="P",
    help="Probability that a choice of a mutation changes.",
)
@click.option(
    "--fitness",
    type=click.Choice(["accuracy", "loss"]),
    default="accuracy",
    show_default=True,
    help="Top-1, then the lower cross-entropy; or the lower cross-entropy alone.",
)
@click.option("--uniform", is_flag=True, help="What is drawn: all architectures alike.")
@click.option(
    "--bn-batches",
    type=click.IntRange(0),
    default=EVOLVE_BN_BATCHES,
    show_default=True,
    metavar="N",
    help="Training batches that each candidate's running statistics come from; 0 for the"
    " supernet's.",
)
@click.option("--batch", type=click.IntRange(1, 4096), metavar="N", help="Views of a forward pass.")
@click.option(
    "--memory",
    type=Amount(),
    default=EVOLVE_MEMORY,
    show_default=True,
    metavar="BYTES",
    help="For decoded clips; what does not fit is decoded once a generation.",
)
@set_option
@space_option
@run_option
@resume_option
@seed_option
@workers_option
@click.option("--amp", is_flag=True, help="Compute in bfloat16 where that is safe.")
@any_device_option
@threads_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON at the end.")
@colour_option
def command(
    file: str,
    weights: str,
    source: str,
    root: str | None,
    val: str,
    val_root: str | None,
    evaluation: str | None,
    flops: Ends | None,
    params: Ends | None,
    within: Sequence[tuple[str, Ends]],
    costs: tuple[str, ...],
    population: int,
    generations: int,
    parents: int,
    crossover: float,
    mutation: float,
    fitness: Literal["accuracy", "loss"],
    uniform: bool,
    bn_batches: int,
    batch: int | None,
    memory: int,
    settings: dict[str, Any],
    name: str | None,
    folder: str | None,
    resume: bool,
    seed: int,
    workers: int | None,
    amp: bool,
    device: str | None,
    threads: int | None,
    as_json: bool,
) -> int:
    """Search a space by evolution over a trained supernet.

    Candidates are scored on --val with the weights that they have in the supernet, and running
    statistics of their own. The first generation is drawn from the windows, exactly; after that,
    the best so far have children: crossovers of two and mutations of one. What is outside of the
    windows, or was scored before, is never scored. Without a window, the budgets of the last phase
    of the spec's search are meant.

    RUN gets arch.json (the best candidate), model.py, model.safetensors (with the weights that it
    has in the supernet) and log.jsonl (a line for each candidate). Stopped by Ctrl-C, or killed,
    the same command with --resume goes on.
    """
    needs_training()
    from tsdsl.searching.evolution.population import Settings
    from tsdsl.searching.evolution.run import run
    from tsdsl.training.ranks import Ranks, use_threads
    from tsdsl.training.scoring import AT_ONCE
    from tsdsl.weights.weight_files import load

    space = tsdsl.load(file, set=settings, space=name, costs=costs)
    windows = budgets(space, flops, params, within) or budgets_of_spec(space)
    views = evaluate_section(space, evaluation)
    held = load(weights)
    use_threads(threads)
    folder = folder or os.path.join("runs", f"{space.name}-evolution")
    with Ranks.of(device) as ranks, stopped(ranks.is_first) as stop:
        events = run(
            space,
            held,
            source,
            val,
            ranks,
            root=root,
            val_root=val_root,
            views=views,
            settings=Settings(population, generations, parents, crossover, mutation),
            seed=seed,
            weights="architectures" if uniform else "initial",
            within=windows,
            fitness=fitness,
            folder=folder,
            resume=resume,
            workers=default_workers() if workers is None else workers,
            at_once=batch or AT_ONCE,
            bn_batches=bn_batches,
            memory=memory,
            mixed_precision=amp,
            about={"spec": os.path.basename(file)},
            stop=stop,
        )
        if not ranks.is_first:
            for _ in events:
                pass
            return 0
        found = _follow(events, held.about.get("space_hash") not in (None, space.hash))
    if found.interrupted:
        note(f"stopped after candidate {found.candidates}; the same command with --resume goes on")
        return INTERRUPTED
    if found.exhausted:
        count = several(found.candidates, "distinct network")
        note(f"{count} were scored: no more than these were found in the windows")
    data(json.dumps(_json(found, folder), indent=2) if as_json else _text(found, folder))
    return 0


# ---------------------------------------------------------------- what is told


def _follow(events: Iterator[Event], other: bool) -> EvolutionFinished:
    """Show what happens; gives the end. ``other``: whether the weights are those of another
    version of the space, which fit if anything begins."""
    from tsdsl.searching.evolution.run import (
        CandidateScored,
        EvolutionFinished,
        EvolutionStarted,
        GenerationFinished,
    )
    from tsdsl.training.events import WarningRaised

    begun = next(events)
    assert isinstance(begun, EvolutionStarted)
    if other:
        note("the weights were made for another version of the space; their shapes fit")
    note(_begun(begun))
    last: EvolutionFinished | None = None
    with progress("evolving", begun.total) as steps:
        for event in events:
            match event:
                case CandidateScored(candidate, measured):
                    steps(f"generation {candidate.generation} top-1 {measured.top1:.1%}")
                case GenerationFinished():
                    steps.say(_generation(event))
                case WarningRaised(diagnostics):
                    show(diagnostics)
                case EvolutionFinished():
                    last = event
                case _:
                    pass
    assert last is not None
    return last


def _begun(begun: EvolutionStarted) -> str:
    done = f", {begun.done} of them done" if begun.done else ""
    held = f"{_mebibytes(begun.views)} of views"
    if begun.parts > 1:
        held += f" decoded in {begun.parts} parts each generation"
    else:
        held += " kept in memory"
    statistics = f", {_mebibytes(begun.clips)} of training clips" if begun.clips else ""
    return (
        f"{several(begun.total, 'candidate')} at most{done}; {several(begun.videos, 'video')}"
        f" ({begun.device}): {held}{statistics}"
    )


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"


def _generation(event: GenerationFinished) -> str:
    best = event.measured
    return (
        f"generation {event.generation}: top-1 {event.mean:.1%} in the mean; the best so far"
        f" {best.top1:.1%}, loss {best.loss:.4f} (candidate {event.best.number})"
    )


def _json(found: EvolutionFinished, folder: str) -> dict[str, Any]:
    assert found.best is not None and found.measured is not None
    return {
        "format_version": 1,
        "run": folder,
        "candidates": found.candidates,
        "generations": found.generations,
        "exhausted": found.exhausted,
        "seconds": round(found.seconds, 3),
        "top1": found.measured.top1,
        "loss": found.measured.loss,
        "missing": found.missing,
        "candidate": found.best.number,
        "generation": found.best.generation,
        "macs": found.flops,
        "params": found.params,
        "decisions": dict(found.architecture),
    }


def _text(found: EvolutionFinished, folder: str) -> str:
    assert found.best is not None and found.measured is not None
    best = found.best
    rows = [
        ["candidates", f"{found.candidates} in {several(found.generations, 'generation')}"],
        ["the best", f"candidate {best.number} of generation {best.generation}: {best.origin}"],
        ["top-1 with inherited weights", f"{found.measured.top1:.1%}"],
        ["loss", f"{found.measured.loss:.4f}"],
        ["FLOPs (multiply-adds)", amount(found.flops)],
        ["parameters", f"{found.params:,}"],
        ["videos that cannot be used", str(found.missing)],
        ["architecture", os.path.join(folder, "arch.json")],
        ["its weights", os.path.join(folder, "model.safetensors")],
    ]
    return aligned(rows)
