"""``tsdsl search``: the architecture of a space that a supernet finds on a list of videos."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import click

from tsdsl.cli.colour import colour_option
from tsdsl.cli.event_loop import Stop, run_to_the_end
from tsdsl.cli.open_spec import SpecWithCosts
from tsdsl.cli.option_groups import OptionGroup, option, takes
from tsdsl.cli.run_options import (
    LoggedRunOptions,
    MachineOptions,
    OptionalVideoOptions,
    ValidationOptions,
    amp_field,
    micro_batch_field,
    needs_training,
)
from tsdsl.searching.defaults import SEARCH_BN_BATCHES

if TYPE_CHECKING:
    from tsdsl.searching.run import Event
    from tsdsl.training.ranks import Ranks

EPILOG = """\b
Examples:
  tsdsl search my_space.tsnet --plan
  tsdsl search my_space.tsnet --data train.csv -o runs/search
  tsdsl search my_space.tsnet --data train.csv -o runs/search --resume
  tsdsl space my_space.tsnet --distribution runs/search/distribution.json
  torchrun --nproc-per-node 8 -m tsdsl.cli search my_space.tsnet --data train.csv
"""


class SearchOptions(OptionGroup):
    """How a space is searched, beside the search section of the spec."""

    cost_term: Literal["sampled", "exact"] = option(
        "--cost-term",
        type=click.Choice(["sampled", "exact"]),
        default="sampled",
        show_default=True,
        help="Gradient of the budgets' penalty: estimated from the sampled architectures, as the"
        " paper prints it, or the exact one of the expected cost.",
    )
    bn_batches: int = option(
        "--bn-batches",
        type=click.IntRange(0),
        default=SEARCH_BN_BATCHES,
        show_default=True,
        metavar="N",
        help="Training batches from which batch-norm statistics of the result are estimated anew;"
        " 0 keeps the supernet's.",
    )
    micro_batch: int | None = micro_batch_field
    amp: bool = amp_field


@click.command(epilog=EPILOG)
@takes(
    spec=SpecWithCosts,
    videos=OptionalVideoOptions,
    validation=ValidationOptions,
    run=LoggedRunOptions,
)
@click.option(
    "--plan", "plan_only", is_flag=True, help="Print what the search would do, and what it costs."
)
@takes(searching=SearchOptions, machine=MachineOptions)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@colour_option
def command(
    spec: SpecWithCosts,
    videos: OptionalVideoOptions,
    validation: ValidationOptions,
    run: LoggedRunOptions,
    plan_only: bool,
    searching: SearchOptions,
    machine: MachineOptions,
    as_json: bool,
) -> int:
    """Search a space on videos, by the spec's search section.

    One supernet has the weights of all architectures. With 'search parsec', each phase learns a
    distribution over the options of its decisions, within its budgets. With 'search uniform',
    steps train architectures drawn uniformly, and an evolution selects one on --val. --set
    replaces any setting, as in --set search.samples=4 or --set search.PHASE.epochs=10.

    RUN gets arch.json (the architecture with which the search ends), model.py and
    model.safetensors (with the weights that it has in the supernet), supernet.safetensors,
    log.jsonl and checkpoints; with parsec also distribution.json, and 'tsdsl plot RUN' draws the
    course of the search. After Ctrl-C, or if it was killed, the same command with --resume
    continues.

    Exit code 1 if a phase missed a budget. Each budget is checked for the architecture with which
    the phase ended, and counts the streams that exist in it.
    """
    needs_training()
    space = spec.load()
    if plan_only:
        from tsdsl.cli.search_plan_report import plan

        plan(space, videos.data, videos.root, searching.micro_batch, as_json)
        return 0
    if videos.data is None:
        raise click.UsageError("--data LIST says what to search on (or --plan what would be done)")
    data = videos.data
    from tsdsl.cli.search_report import SearchReport
    from tsdsl.searching.run import run as search_run
    from tsdsl.training.ranks import use_threads

    use_threads(machine.threads)
    folder = run.folder_for(f"{space.name}-search")

    def begin(ranks: Ranks, stop: Stop) -> Iterator[Event]:
        return search_run(
            space,
            data,
            ranks,
            root=videos.root,
            val=validation.val,
            val_root=validation.val_root,
            views=validation.section(space),
            folder=folder,
            resume=run.resume,
            seed=run.seed,
            workers=machine.decoders,
            cost_term=searching.cost_term,
            mixed_precision=searching.amp,
            bn_batches=searching.bn_batches,
            micro_batch=searching.micro_batch,
            save_every=run.save_every,
            log_every=run.log_every,
            tensorboard=run.tensorboard,
            about=spec.about,
            stop=stop,
        )

    return run_to_the_end(machine.device, begin, SearchReport(folder), as_json)
