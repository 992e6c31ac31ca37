"""``tsdsl evolve``: the architecture that evolution finds with the weights of a supernet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import click

from tsdsl.cli.colour import colour_option
from tsdsl.cli.event_loop import Stop, run_to_the_end
from tsdsl.cli.open_spec import SpecWithCosts
from tsdsl.cli.option_groups import OptionGroup, option, takes
from tsdsl.cli.parameter_types import Amount
from tsdsl.cli.run_options import (
    MachineOptions,
    RunOptions,
    ValidationOptions,
    VideoOptions,
    amp_field,
    needs_training,
    windows_of_search,
)
from tsdsl.cli.window_options import WindowOptions
from tsdsl.searching.defaults import EVOLVE_BN_BATCHES, EVOLVE_MEMORY

if TYPE_CHECKING:
    from tsdsl.searching.evolution.run import Event
    from tsdsl.training.ranks import Ranks

EPILOG = """\b
Examples:
  tsdsl evolve my_space.tsnet --weights runs/search/supernet.safetensors \\
    --data train.csv --val val.csv --flops 1.37G..1.43G -o runs/evolution
  tsdsl evolve my_space.tsnet --weights runs/search/supernet.safetensors \\
    --data train.csv --val val.csv --population 20 --generations 10 --fitness loss
  tsdsl train my_space.tsnet --frozen runs/evolution/arch.json --data train.csv
"""


class RequiredValidationOptions(ValidationOptions):
    """The list on which candidates are scored."""

    val: str = option(
        "--val",
        type=click.Path(),
        required=True,
        metavar="LIST",
        help="Videos on which candidates are scored.",
    )


class CandidateOptions(WindowOptions):
    """Which candidates there are: their windows, and how a generation follows from the last."""

    population: int = option(
        "--population",
        type=click.IntRange(1, 100_000),
        default=50,
        show_default=True,
        metavar="N",
        help="Number of candidates in a generation.",
    )
    generations: int = option(
        "--generations",
        type=click.IntRange(1, 100_000),
        default=20,
        show_default=True,
        metavar="N",
        help="Number of generations, the random first one included.",
    )
    parents: int = option(
        "--parents",
        type=click.IntRange(1, 100_000),
        default=10,
        show_default=True,
        metavar="N",
        help="Number of parents: the best candidates so far.",
    )
    crossover: float = option(
        "--crossover",
        type=click.FloatRange(0, 1),
        default=0.5,
        show_default=True,
        metavar="SHARE",
        help="Share of a generation with two parents; the others are mutations of one.",
    )
    mutation: float = option(
        "--mutation",
        type=click.FloatRange(0, 1, min_open=True),
        default=0.1,
        show_default=True,
        metavar="P",
        help="Probability with which a mutation changes a decision.",
    )
    uniform: bool = option(
        "--uniform", is_flag=True, help="Draw the first generation uniformly over architectures."
    )


class ScoringOptions(OptionGroup):
    """How a candidate is scored."""

    weights: str = option(
        "--weights",
        type=click.Path(),
        required=True,
        metavar="FILE",
        help="Weights of the supernet: supernet.safetensors of a search.",
    )
    fitness: Literal["accuracy", "loss"] = option(
        "--fitness",
        type=click.Choice(["accuracy", "loss"]),
        default="accuracy",
        show_default=True,
        help="accuracy: top-1 accuracy, ties broken by cross-entropy; loss: cross-entropy.",
    )
    bn_batches: int = option(
        "--bn-batches",
        type=click.IntRange(0),
        default=EVOLVE_BN_BATCHES,
        show_default=True,
        metavar="N",
        help="Training batches from which each candidate's batch-norm statistics are estimated;"
        " 0 keeps the supernet's.",
    )
    batch: int | None = option(
        "--batch", type=click.IntRange(1, 4096), metavar="N", help="Views in a forward pass."
    )
    memory: int = option(
        "--memory",
        type=Amount(),
        default=EVOLVE_MEMORY,
        show_default=True,
        metavar="BYTES",
        help="Memory for decoded clips; what does not fit is decoded once for each generation.",
    )
    amp: bool = amp_field


@click.command(epilog=EPILOG)
@takes(
    spec=SpecWithCosts,
    videos=VideoOptions,
    validation=RequiredValidationOptions,
    candidates=CandidateOptions,
    scoring=ScoringOptions,
    run=RunOptions,
    machine=MachineOptions,
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@colour_option
def command(
    spec: SpecWithCosts,
    videos: VideoOptions,
    validation: RequiredValidationOptions,
    candidates: CandidateOptions,
    scoring: ScoringOptions,
    run: RunOptions,
    machine: MachineOptions,
    as_json: bool,
) -> int:
    """Search a space by evolution over a trained supernet.

    Candidates are scored on --val with the weights that they have in the supernet, and with
    batch-norm statistics of their own. The first generation is drawn at random; the next ones are
    crossovers and mutations of the best candidates so far. All candidates lie in the windows, and
    no network is scored twice. Without a window, the budgets of the last phase of the spec's
    search apply.

    RUN gets arch.json (the best candidate), model.py, model.safetensors (with the weights that it
    has in the supernet) and log.jsonl (a line for each candidate). After Ctrl-C, or if it was
    killed, the same command with --resume continues.
    """
    needs_training()
    from tsdsl.cli.evolve_report import EvolveReport
    from tsdsl.searching.evolution.population import Settings
    from tsdsl.searching.evolution.run import run as evolution_run
    from tsdsl.training.ranks import use_threads
    from tsdsl.training.scoring import AT_ONCE
    from tsdsl.weights.weight_files import load

    space = spec.load()
    windows = candidates.windows(space) or windows_of_search(space)
    views = validation.section(space)
    weights = load(scoring.weights)
    use_threads(machine.threads)
    folder = run.folder_for(f"{space.name}-evolution")
    settings = Settings(
        candidates.population,
        candidates.generations,
        candidates.parents,
        candidates.crossover,
        candidates.mutation,
    )

    def begin(ranks: Ranks, stop: Stop) -> Iterator[Event]:
        return evolution_run(
            space,
            weights,
            videos.data,
            validation.val,
            ranks,
            root=videos.root,
            val_root=validation.val_root,
            views=views,
            settings=settings,
            seed=run.seed,
            weights="architectures" if candidates.uniform else "initial",
            within=windows,
            fitness=scoring.fitness,
            folder=folder,
            resume=run.resume,
            workers=machine.decoders,
            at_once=scoring.batch or AT_ONCE,
            bn_batches=scoring.bn_batches,
            memory=scoring.memory,
            mixed_precision=scoring.amp,
            about=spec.about,
            stop=stop,
        )

    report = EvolveReport(
        folder, other_space=weights.about.get("space_hash") not in (None, space.hash)
    )
    return run_to_the_end(machine.device, begin, report, as_json)
