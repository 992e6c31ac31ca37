"""What is timed where: the options that `measure` and `bench` share, and what they mean."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from tsdsl.cli.parameter_types import Device
from tsdsl.cli.quantities import several

if TYPE_CHECKING:
    from tsdsl.backends.timing import Setup


device_option = click.option(
    "--device", type=Device(), default="cpu", show_default=True, help="cpu or cuda[:N]."
)
dtype_option = click.option(
    "--dtype",
    type=click.Choice(["float32", "float16", "bfloat16"]),
    default="float32",
    show_default=True,
    help="Of weights and inputs.",
)
batch_option = click.option(
    "--batch", type=click.IntRange(1, 4096), default=1, show_default=True, help="Clips of a call."
)
threads_option = click.option(
    "--threads", type=click.IntRange(1, 1024), help="Threads of the CPU; left out, torch's choice."
)
clock_option = click.option(
    "--clock",
    type=click.Choice(["wall", "cpu"]),
    default="wall",
    show_default=True,
    help="cpu: the processor's time, for --threads 1 on a machine that others use too.",
)


def setup_of(
    device: str,
    dtype: Any,
    batch: int,
    repeats: int,
    warmup: int,
    threads: int | None,
    clock: Any,
    statistic: Any = "median",
) -> Setup:
    """Raises `UsageError` where torch is missing or options do not go together, `SpecError` for a
    device that is not there."""
    if clock == "cpu" and (device != "cpu" or threads != 1):
        raise click.UsageError("--clock cpu is for --device cpu --threads 1")
    try:
        from tsdsl.measuring import setup_of as checked
    except ModuleNotFoundError as missing:
        if missing.name != "torch":
            raise
        raise click.UsageError("measuring needs torch: pip install 'tsdsl[torch]'") from None
    return checked(device, dtype, batch, repeats, warmup, threads, statistic, clock)


def busy(setup: Setup, hint: str) -> str | None:
    """What to say of a processor that others keep busy."""
    if setup.device.type != "cpu" or not hasattr(os, "getloadavg"):
        return None
    load, count = os.getloadavg()[0], os.cpu_count() or 1
    if load < count / 2:
        return None
    return (
        f"this machine is busy (load {load:.1f} on {several(count, 'processor')}): what is measured"
        f" will vary; {hint}"
    )


def threads_text(setup: Setup) -> str:
    """``2 threads, `` on the CPU."""
    threads = setup.identity["threads"]
    return f"{several(threads, 'thread')}, " if threads else ""
