"""``tsdsl train``: a network of a spec on a list of videos."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from tsdsl.cli.colour import colour_option
from tsdsl.cli.event_loop import Stop, run_to_the_end
from tsdsl.cli.open_spec import NetworkOptions, say_filled
from tsdsl.cli.option_groups import OptionGroup, option, takes
from tsdsl.cli.output import note
from tsdsl.cli.run_options import (
    LoggedRunOptions,
    MachineOptions,
    ValidationOptions,
    VideoOptions,
    micro_batch_field,
    needs_training,
)
from tsdsl.diagnostics.render import visible

if TYPE_CHECKING:
    from tsdsl.training.events import Event
    from tsdsl.training.ranks import Ranks

EPILOG = """\b
Examples:
  tsdsl train my.tsnet --data train.csv --val val.csv -o runs/first
  tsdsl train my.tsnet --frozen arch.json --data train.csv --set train.epochs=20 --workers 8
  tsdsl train my.tsnet --data train.csv --val val.csv -o runs/first --resume
  torchrun --nproc-per-node 8 -m tsdsl.cli train my.tsnet --data train.csv -o runs/first
"""


class TrainingOptions(OptionGroup):
    """How a network is trained, beside the recipe of the spec."""

    weights: str | None = option(
        "--weights", type=click.Path(), metavar="FILE", help="Initial weights."
    )
    weights_except: tuple[str, ...] = option(
        "--weights-except",
        multiple=True,
        metavar="MODULE",
        help="A module that does not take its weights from FILE, such as the classifier of other"
        " classes; may be repeated.",
    )
    evaluate_every: int = option(
        "--evaluate-every",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        metavar="EPOCHS",
        help="Epochs between evaluations.",
    )
    micro_batch: int | None = micro_batch_field
    channels_last: bool = option(
        "--channels-last", is_flag=True, help="Keep channels innermost in memory."
    )


@click.command(epilog=EPILOG)
@takes(
    spec=NetworkOptions,
    videos=VideoOptions,
    validation=ValidationOptions,
    run=LoggedRunOptions,
    training=TrainingOptions,
    machine=MachineOptions,
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@colour_option
def command(
    spec: NetworkOptions,
    videos: VideoOptions,
    validation: ValidationOptions,
    run: LoggedRunOptions,
    training: TrainingOptions,
    machine: MachineOptions,
    as_json: bool,
) -> int:
    """Train a network of a spec on videos, by the spec's train section.

    --set replaces any setting of the recipe, as in --set train.lr=0.05. Under torchrun, the
    processes of all machines share each batch.

    RUN gets model.py (the network; it needs torch only), last.safetensors and best.safetensors,
    log.jsonl and checkpoints. After Ctrl-C, or if it was killed, the same command with --resume
    continues exactly where the training was.
    """
    needs_training()
    from tsdsl.cli.train_report import TrainReport
    from tsdsl.training.run import network
    from tsdsl.training.run import run as training_run

    if validation.val is None and (validation.evaluate or validation.val_root):
        raise click.UsageError("--evaluate and --val-root are for --val LIST")
    space, arch = spec.open()
    views = validation.section(space)
    net = network(space, arch, run.seed, machine.threads)
    about = dict(spec.about)
    if training.weights_except and training.weights is None:
        raise click.UsageError("--weights-except is for --weights FILE")
    if training.weights is not None:
        about["initial_weights"] = _load(net, training.weights, training.weights_except)
    folder = run.folder_for(space.name)
    workers = machine.decoders

    def begin(ranks: Ranks, stop: Stop) -> Iterator[Event]:
        return training_run(
            net,
            videos.data,
            space,
            ranks,
            frozen=arch,
            root=videos.root,
            val=validation.val,
            val_root=validation.val_root,
            views=views,
            folder=folder,
            resume=run.resume,
            seed=run.seed,
            workers=workers,
            micro_batch=training.micro_batch,
            channels_last=training.channels_last,
            save_every=run.save_every,
            evaluate_every=training.evaluate_every,
            log_every=run.log_every,
            tensorboard=run.tensorboard,
            about=about,
            stop=stop,
        )

    return run_to_the_end(machine.device, begin, TrainReport(folder, workers), as_json)


def _load(net: Any, path: str, kept: Sequence[str]) -> str:
    """Load initial weights, except for modules that are kept; a digest of what was loaded."""
    import hashlib

    from tsdsl.weights.weight_files import load_into

    loaded = load_into(net, path, except_for=kept)
    if os.environ.get("RANK", "0") == "0":
        if loaded.left_out:
            note(f"not from {visible(path)}: {', '.join(loaded.left_out)}")
        say_filled(loaded)
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return " except ".join([digest, *kept])
