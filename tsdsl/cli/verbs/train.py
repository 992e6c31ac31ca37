"""``tsdsl train``: a network of a spec on a list of videos."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

import click

from tsdsl.cli.colour import colour_option
from tsdsl.cli.open_spec import open_network, say_filled
from tsdsl.cli.options import frozen_option, set_option, space_option, spec_argument
from tsdsl.cli.output import aligned, data, note
from tsdsl.cli.run_options import (
    INTERRUPTED,
    any_device_option,
    data_option,
    default_workers,
    evaluate_section,
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
from tsdsl.cli.training_progress import follow
from tsdsl.diagnostics.render import visible

if TYPE_CHECKING:
    from tsdsl.training.events import TrainingFinished

EPILOG = """\b
Examples:
  tsdsl train my.tsnet --data train.csv --val val.csv -o runs/first
  tsdsl train my.tsnet --frozen arch.json --data train.csv --set train.epochs=20 --workers 8
  tsdsl train my.tsnet --data train.csv --val val.csv -o runs/first --resume
  torchrun --nproc-per-node 8 -m tsdsl.cli train my.tsnet --data train.csv -o runs/first
"""


@click.command(epilog=EPILOG)
@spec_argument
@frozen_option
@set_option
@space_option
@data_option
@root_option
@click.option(
    "--val", type=click.Path(), metavar="LIST", help="Videos to evaluate on between epochs."
)
@click.option("--val-root", type=click.Path(), metavar="DIR", help="As --root, for --val.")
@click.option(
    "--evaluate",
    "evaluation",
    metavar="NAME",
    help="The spec's evaluate section for --val; one clip and one crop if left out.",
)
@run_option
@resume_option
@click.option("--weights", type=click.Path(), metavar="FILE", help="Weights to begin with.")
@click.option(
    "--weights-except",
    "kept",
    multiple=True,
    metavar="MODULE",
    help="A module that FILE is not for, such as the classifier of other classes; may be repeated.",
)
@seed_option
@workers_option
@click.option(
    "--micro-batch",
    type=click.IntRange(1),
    metavar="N",
    help="Clips of one forward pass of a process, to save memory; its share of the batch if left"
    " out.",
)
@any_device_option
@threads_option
@click.option("--channels-last", is_flag=True, help="Keep channels innermost in memory.")
@save_every_option
@click.option(
    "--evaluate-every",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="EPOCHS",
    help="Epochs between evaluations.",
)
@log_every_option
@tensorboard_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON at the end.")
@colour_option
def command(
    file: str,
    frozen: str | None,
    settings: dict[str, Any],
    name: str | None,
    source: str,
    root: str | None,
    val: str | None,
    val_root: str | None,
    evaluation: str | None,
    folder: str | None,
    resume: bool,
    weights: str | None,
    kept: tuple[str, ...],
    seed: int,
    workers: int | None,
    micro_batch: int | None,
    device: str | None,
    threads: int | None,
    channels_last: bool,
    save_every: int | None,
    evaluate_every: int,
    log_every: int,
    tensorboard: bool,
    as_json: bool,
) -> int:
    """Train a network of a spec on videos, by the spec's train section.

    Every setting of the recipe can be given another value with --set, as in --set train.lr=0.05.
    Under torchrun, the processes of all machines share each batch.

    RUN gets model.py (the network; needs torch only), last.safetensors and best.safetensors,
    log.jsonl and checkpoints. Stopped by Ctrl-C, or killed, the same command with --resume goes on
    exactly where it was.
    """
    needs_training()
    from tsdsl.training.ranks import Ranks
    from tsdsl.training.run import network, run

    if val is None and (evaluation or val_root):
        raise click.UsageError("--evaluate and --val-root are for --val LIST")
    space, arch = open_network(file, frozen, settings, name)
    views = evaluate_section(space, evaluation)
    net = network(space, arch, seed, threads)
    about: dict[str, Any] = {"spec": os.path.basename(file)}
    if kept and weights is None:
        raise click.UsageError("--weights-except is for --weights FILE")
    if weights is not None:
        about["initial_weights"] = _begin_with(net, weights, kept)
    folder = folder or os.path.join("runs", space.name)
    workers = default_workers() if workers is None else workers
    with Ranks.of(device) as ranks, stopped(ranks.is_first) as stop:
        events = run(
            net,
            source,
            space,
            ranks,
            frozen=arch,
            root=root,
            val=val,
            val_root=val_root,
            views=views,
            folder=folder,
            resume=resume,
            seed=seed,
            workers=workers,
            micro_batch=micro_batch,
            channels_last=channels_last,
            save_every=save_every,
            evaluate_every=evaluate_every,
            log_every=log_every,
            tensorboard=tensorboard,
            about=about,
            stop=stop,
        )
        if ranks.is_first:
            finished = follow(events)
        else:
            for _ in events:
                pass
            return 0
    if finished.interrupted:
        note(f"stopped after step {finished.step}; the same command with --resume goes on")
        return INTERRUPTED
    if as_json:
        data(json.dumps(_json(finished, folder), indent=2))
    else:
        data(_text(finished, folder))
        _advise(finished, workers)
    return 0


def _begin_with(net: Any, path: str, kept: Sequence[str]) -> str:
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


def _json(finished: TrainingFinished, folder: str) -> dict[str, Any]:
    return {
        "format_version": 1,
        "run": folder,
        "steps": finished.step,
        "epochs": finished.epoch,
        "seconds": round(finished.seconds, 3),
        "step_seconds": finished.step_seconds,
        "waited": finished.waited,
        "peak_memory": finished.peak_memory,
        "loss": finished.loss,
        "top1": finished.top1,
        "best_top1": finished.best_top1,
        "best_epoch": finished.best_epoch,
        "samples": finished.samples,
        "replaced": finished.replaced,
        "bad_videos": [problem._asdict() for problem in finished.bad_videos],
    }


def _text(finished: TrainingFinished, folder: str) -> str:
    rows = [["steps", f"{finished.step} ({finished.epoch:g} epochs)"]]
    if finished.step_seconds:
        waits = finished.waited / finished.step_seconds
        rows.append(["step", f"{finished.step_seconds:.4g} s, {waits:.0%} of it waiting for data"])
    if finished.peak_memory:
        rows.append(["peak memory", f"{finished.peak_memory / 2**20:,.0f} MiB"])
    if finished.loss is not None:
        rows.append(["loss of the last steps", f"{finished.loss:.4f}"])
    if finished.top1 is not None and finished.best_top1 is not None:
        rows.append(["top-1 of the last evaluation", f"{finished.top1:.1%}"])
        rows.append(
            ["top-1 of the best", f"{finished.best_top1:.1%} (epoch {finished.best_epoch})"]
        )
    rows.append(["videos that cannot be used", str(len(finished.bad_videos))])
    best = finished.best_top1 is not None
    rows.append(
        ["weights", os.path.join(folder, "best.safetensors" if best else "last.safetensors")]
    )
    return aligned(rows)


def _advise(finished: TrainingFinished, workers: int) -> None:
    """Say how many processes would decode as fast as the network learns."""
    computing = finished.step_seconds - finished.waited
    if finished.waited < 0.05 * finished.step_seconds or computing <= 0:
        return
    # A step lasts as long as the processes need for its clips; without any, this one decodes.
    decoding = finished.step_seconds * workers if workers else finished.waited
    wanted = ceil(decoding / computing)
    note(f"the network waits for data: with a processor for each, --workers {wanted} would keep up")
