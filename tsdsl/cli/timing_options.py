"""The options of `measure` and `bench`: what is timed on which device, and how often."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from tsdsl.cli.option_groups import OptionGroup, option
from tsdsl.cli.parameter_types import Device
from tsdsl.cli.quantities import several
from tsdsl.cli.run_options import threads_field

if TYPE_CHECKING:
    from tsdsl.backends.timing import Clock, Dtype, Setup, Statistic


class TimingOptions(OptionGroup):
    """What is timed on which device, and how often."""

    device: str = option(
        "--device", type=Device(), default="cpu", show_default=True, help="cpu or cuda[:N]."
    )
    dtype: Dtype = option(
        "--dtype",
        type=click.Choice(["float32", "float16", "bfloat16"]),
        default="float32",
        show_default=True,
        help="Type of weights and inputs.",
    )
    batch: int = option(
        "--batch",
        type=click.IntRange(1, 4096),
        default=1,
        show_default=True,
        help="Clips in a call.",
    )
    threads: int | None = threads_field
    clock: Clock = option(
        "--clock",
        type=click.Choice(["wall", "cpu"]),
        default="wall",
        show_default=True,
        help="cpu: processor time, for --threads 1 on a machine that others use too.",
    )

    def _setup(self, repeats: int, warmup: int, statistic: Statistic = "median") -> Setup:
        """Raises `UsageError` if torch is missing or options exclude each other, `SpecError` for a
        device that does not exist."""
        if self.clock == "cpu" and (self.device != "cpu" or self.threads != 1):
            raise click.UsageError("--clock cpu is for --device cpu --threads 1")
        try:
            from tsdsl.measuring import setup_of
        except ModuleNotFoundError as missing:
            if missing.name != "torch":
                raise
            raise click.UsageError("measuring needs torch: pip install 'tsdsl[torch]'") from None
        return setup_of(
            self.device,
            self.dtype,
            self.batch,
            repeats,
            warmup,
            self.threads,
            statistic,
            self.clock,
        )


class OperationTimingOptions(TimingOptions):
    """How each operation is timed."""

    repeats: int = option(
        "--repeats",
        type=click.IntRange(1, 10_000),
        default=20,
        show_default=True,
        help="Samples of an operation.",
    )
    statistic: Statistic = option(
        "--statistic",
        type=click.Choice(["median", "min"]),
        default="median",
        show_default=True,
        help="Statistic of the samples; min suits a machine that others use too.",
    )
    warmup: int = option(
        "--warmup",
        type=click.IntRange(0, 10_000),
        default=3,
        show_default=True,
        help="Calls before the samples.",
    )

    def setup(self) -> Setup:
        """Raises what `TimingOptions._setup` does."""
        return self._setup(self.repeats, self.warmup, self.statistic)


class NetworkTimingOptions(TimingOptions):
    """How each network is timed."""

    repeats: int | None = option(
        "--repeats",
        type=click.IntRange(1, 100_000),
        help="Samples of a network; left out, 500 on a GPU and 30 on the CPU.",
    )
    warmup: int | None = option(
        "--warmup",
        type=click.IntRange(0, 10_000),
        help="Calls before the samples; left out, 10 on a GPU and 3 on the CPU.",
    )
    channels_last: bool = option(
        "--channels-last", is_flag=True, help="Keep channels innermost in memory."
    )
    compiled: bool = option("--compile", is_flag=True, help="Apply torch.compile to each network.")
    seed: int = option(
        "--seed",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Seed of the order in each round.",
    )

    def setup(self) -> Setup:
        """Raises what `TimingOptions._setup` does."""
        return self._setup(*self.samples())

    def samples(self) -> tuple[int, int]:
        """Samples and calls before them: as given, otherwise those of the kind of device."""
        repeats, warmup = self.repeats, self.warmup
        if repeats is not None and warmup is not None:
            return repeats, warmup
        try:
            from tsdsl.backends.bench import REPEATS, WARMUP
        except ModuleNotFoundError as missing:
            if missing.name != "torch":
                raise
            return 1, 1  # `_setup` says what is missing.
        kind = self.device.partition(":")[0]
        return (
            REPEATS[kind] if repeats is None else repeats,
            WARMUP[kind] if warmup is None else warmup,
        )


def busy(setup: Setup, hint: str) -> str | None:
    """A warning if other processes keep the processor busy, with advice; None on a GPU."""
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
