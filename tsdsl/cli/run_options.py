"""What the verbs that run networks on videos share: options, workers, being stopped."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from tsdsl.cli.option_groups import OptionGroup, option
from tsdsl.cli.output import note
from tsdsl.cli.parameter_types import Device
from tsdsl.units import interval_text

if TYPE_CHECKING:
    from tsdsl.sema.sections import Evaluate
    from tsdsl.space import Space


# Fields that several groups have.
save_every_field: Any = option(
    "--save-every",
    type=click.IntRange(1),
    metavar="STEPS",
    help="Steps between checkpoints; an epoch if left out.",
)
log_every_field: Any = option(
    "--log-every",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    metavar="STEPS",
    help="Steps between lines of the log.",
)
threads_field: Any = option(
    "--threads",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Threads of the CPU; left out, torch's choice.",
)
amp_field: Any = option("--amp", is_flag=True, help="Compute in bfloat16 where that is safe.")
micro_batch_field: Any = option(
    "--micro-batch",
    type=click.IntRange(1),
    metavar="N",
    help="Clips of one forward pass of a process, to save memory; left out, its share of the"
    " batch.",
)


class VideoOptions(OptionGroup):
    """The list of videos that a verb learns from or evaluates on."""

    data: Any = option(
        "--data",
        type=click.Path(),
        required=True,
        metavar="LIST",
        help="Videos and labels: a CSV, or a folder with a folder for each class.",
    )
    root: str | None = option(
        "--root", type=click.Path(), metavar="DIR", help="Folder that paths of LIST start from."
    )


class OptionalVideoOptions(VideoOptions):
    """A list of videos that not everything a verb does needs."""

    data: str | None = option(
        "--data",
        type=click.Path(),
        metavar="LIST",
        help="Videos and labels to train on: a CSV, or a folder with a folder for each class.",
    )


class ValidationOptions(OptionGroup):
    """The list of videos on which something that learns from others is evaluated."""

    val: Any = option("--val", type=click.Path(), metavar="LIST", help="Videos to evaluate on.")
    val_root: str | None = option(
        "--val-root", type=click.Path(), metavar="DIR", help="As --root, for --val."
    )
    evaluate: str | None = option(
        "--evaluate",
        metavar="NAME",
        help="The spec's evaluate section for --val; one clip and one crop if left out.",
    )

    def section(self, space: Space) -> Evaluate | None:
        """Raises `UsageError` if the spec has no section of that name."""
        return evaluate_section(space, self.evaluate)


class RunOptions(OptionGroup):
    """The folder of a run, and its seed."""

    folder: str | None = option(
        "-o",
        type=click.Path(),
        metavar="RUN",
        help="Folder for log, checkpoints and weights; left out, one in runs/ with the name of the"
        " space.",
    )
    resume: bool = option("--resume", is_flag=True, help="Continue the run in RUN, if it has one.")
    seed: int = option(
        "--seed",
        type=click.IntRange(0, 2**63 - 1),
        default=0,
        show_default=True,
        help="Seed of everything that is random.",
    )

    def folder_for(self, name: str) -> str:
        """The folder that is given, otherwise ``runs/NAME``."""
        return self.folder or os.path.join("runs", name)


class LoggedRunOptions(RunOptions):
    """A run with checkpoints and a log."""

    save_every: int | None = save_every_field
    log_every: int = log_every_field
    tensorboard: bool = option(
        "--tensorboard", is_flag=True, help="Also write a TensorBoard log, in RUN/tensorboard."
    )


class MachineOptions(OptionGroup):
    """What a run computes on."""

    workers: int | None = option(
        "--workers",
        type=click.IntRange(0, 1024),
        metavar="N",
        help="Processes that decode, for each rank; left out, as many as there are processors,"
        " at most 16.",
    )
    device: str | None = option(
        "--device", type=Device(), help="cpu or cuda[:N]; left out, a GPU if there is one."
    )
    threads: int | None = threads_field

    @property
    def decoders(self) -> int:
        """Processes that decode, for each rank."""
        return default_workers() if self.workers is None else self.workers


def needs_training() -> None:
    """Raises `UsageError` where the libraries that training needs are not installed."""
    _needs("train", "torch", "av", "PIL", "safetensors")


def needs_videos() -> None:
    """Raises `UsageError` where the library that decodes videos is not installed."""
    _needs("video", "av")


def _needs(extra: str, *modules: str) -> None:
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise click.UsageError(f"this needs {', '.join(missing)}: pip install 'tsdsl[{extra}]'")


def windows_of_search(space: Space) -> dict[str, tuple[float, float]]:
    """The windows of `budget_windows`, of which the user is told."""
    from tsdsl.searching.windows import budget_windows

    windows = budget_windows(space)
    search = space.sections.search if space.sections else None
    phase = search.schedule[-1].name if search and search.schedule else ""
    # One of the processes of a run says it.
    said = windows.items() if os.environ.get("RANK", "0") == "0" else ()
    for cost, (low, high) in said:
        note(f"within the budget of phase {phase}: {cost} in {interval_text(low, high)}")
    return windows


def default_workers() -> int:
    """Processes that decode for a rank of this machine. The one that computes waits for them more
    often than they are in its way: with two processors, a training on the CPU is a quarter faster
    with two of them than with one. Raises `RanksError`."""
    from tsdsl.training.torchrun import processes_here

    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(16, cpus // processes_here(os.environ)))


def evaluate_section(space: Space, name: str | None) -> Evaluate | None:
    """The section of that name. Raises `UsageError`."""
    if name is None:
        return None
    found = space.sections.evaluations if space.sections else ()
    for section in found:
        if section.name == name:
            return section
    known = ", ".join(section.name for section in found) or "none"
    raise click.UsageError(f"there is no evaluate section '{name}'; the spec has: {known}")
