"""What the verbs that run networks on videos share: options, workers, being stopped."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from tsdsl.cli.output import note
from tsdsl.cli.parameter_types import Device

if TYPE_CHECKING:
    from tsdsl.sema.sections import Evaluate
    from tsdsl.space import Space

#: Exit code after an interrupt.
INTERRUPTED = 130

data_option = click.option(
    "--data",
    "source",
    type=click.Path(),
    required=True,
    metavar="LIST",
    help="Videos and labels: a CSV, or a folder with a folder for each class.",
)
root_option = click.option(
    "--root", type=click.Path(), metavar="DIR", help="What paths of LIST are relative to."
)
run_option = click.option(
    "-o",
    "folder",
    type=click.Path(),
    metavar="RUN",
    help="Folder for log, checkpoints and weights; runs/SPACE if left out.",
)
resume_option = click.option(
    "--resume", is_flag=True, help="Go on with the run in RUN, if there is one."
)
seed_option = click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True
)
workers_option = click.option(
    "--workers",
    type=click.IntRange(0, 1024),
    metavar="N",
    help="Processes that decode, for each rank; left out, as many as there are processors,"
    " at most 16.",
)
any_device_option = click.option(
    "--device", type=Device(), help="cpu or cuda[:N]; a GPU if there is one."
)
save_every_option = click.option(
    "--save-every",
    type=click.IntRange(1),
    metavar="STEPS",
    help="Steps between checkpoints; an epoch if left out.",
)
log_every_option = click.option(
    "--log-every",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    metavar="STEPS",
    help="Steps between lines of the log.",
)
tensorboard_option = click.option("--tensorboard", is_flag=True, help="Write RUN/tensorboard, too.")


def needs_training() -> None:
    """Raises `UsageError` where the libraries that training needs are not installed."""
    from importlib.util import find_spec

    missing = [name for name in ("torch", "av", "PIL", "safetensors") if find_spec(name) is None]
    if missing:
        raise click.UsageError(f"this needs {', '.join(missing)}: pip install 'tsdsl[train]'")


def budgets_of_spec(space: Space) -> dict[str, tuple[float, float]]:
    """The windows that the last phase of a spec's search has, by the cost's name; said aloud."""
    from tsdsl.searching.plan import plan_of

    search = space.sections.search if space.sections else None
    if search is None or not search.phases:
        return {}
    phase = plan_of(space, 1).phases[-1]
    found = {str(space.cost(b.cost)): (b.low, b.high) for b in phase.budgets}
    # Of the processes of a run, one says it.
    said = found.items() if os.environ.get("RANK", "0") == "0" else ()
    for cost, (low, high) in said:
        note(f"within the budget of phase {phase.name}: {cost} in {low:,.0f}..{high:,.0f}")
    return found


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


@contextmanager
def stopped(is_first: bool) -> Iterator[Callable[[], bool]]:
    """Whether the run was asked to stop: by Ctrl-C, or by SIGTERM as clusters send it. A second
    Ctrl-C does not wait. Ranks but the first leave it to that one."""
    asked = False

    def ask(number: int, frame: Any) -> None:
        nonlocal asked
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked = True

    before = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, ask if is_first else signal.SIG_IGN)
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
