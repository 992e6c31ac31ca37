"""``tsdsl measure``: a latency for each operation that a space has, as a cost table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

import tsdsl
from tsdsl.analysis.costs.cost_table import Configuration, CostTable
from tsdsl.cli.colour import colour_option
from tsdsl.cli.open_spec import architecture
from tsdsl.cli.options import frozen_option, set_option, space_option, spec_argument
from tsdsl.cli.output import aligned, data, note, show
from tsdsl.cli.progress_bar import progress
from tsdsl.cli.quantities import duration, several
from tsdsl.cli.timing_options import (
    batch_option,
    busy,
    clock_option,
    device_option,
    dtype_option,
    setup_of,
    threads_option,
    threads_text,
)
from tsdsl.diagnostics.render import visible

if TYPE_CHECKING:
    from tsdsl.analysis.elimination.configurations import ConfigurationSet
    from tsdsl.backends.timing import Measurements, Setup

#: Architectures that are drawn, for those to check to spread evenly over what they cost.
DRAWN = 2000
#: Seconds between two savings of what is measured so far.
SAVED_EVERY = 30
#: For a busy machine.
HINT = "more --repeats, --statistic min and --threads 1 --clock cpu help"
#: Failures that are named.
SHOWN = 10

EPILOG = """\b
Examples:
  tsdsl measure my_space.tsnet -o latency.json
  tsdsl measure my_space.tsnet --device cuda --dtype float16 --batch 8 -o latency.json
  tsdsl measure my_space.tsnet --frozen arch.json --repeats 5       # one network, quickly
  tsdsl flops my_space.tsnet --costs latency.json
"""


@click.command(epilog=EPILOG)
@spec_argument
@frozen_option
@set_option
@space_option
@click.option(
    "-o",
    "output",
    type=click.Path(),
    default="latency.json",
    show_default=True,
    metavar="TABLE",
    help="The table ('-' for standard output). What one that is there has already is kept.",
)
@click.option("--force", is_flag=True, help="Measure again what the table has.")
@device_option
@dtype_option
@batch_option
@threads_option
@click.option(
    "--repeats",
    type=click.IntRange(1, 10_000),
    default=20,
    show_default=True,
    help="Samples of an operation.",
)
@click.option(
    "--statistic",
    type=click.Choice(["median", "min"]),
    default="median",
    show_default=True,
    help="Of the samples; min suits a machine that others use too.",
)
@clock_option
@click.option(
    "--warmup",
    type=click.IntRange(0, 10_000),
    default=3,
    show_default=True,
    help="Calls before the samples.",
)
@click.option(
    "--check",
    type=click.IntRange(0, 100_000),
    default=30,
    show_default=True,
    metavar="N",
    help="Time N whole networks against the sum of their operations; 0 for none.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Of the order, and --check.",
)
@colour_option
def command(
    file: str,
    frozen: str | None,
    settings: dict[str, Any],
    name: str | None,
    output: str,
    force: bool,
    device: str,
    dtype: Any,
    batch: int,
    threads: int | None,
    repeats: int,
    statistic: Any,
    clock: Any,
    warmup: int,
    check: int,
    seed: int,
) -> int:
    """Measure the latency of every operation of a space.

    Each operation, with its arguments and input shapes, that some architecture has is timed once,
    alone; an architecture's latency is then the sum over its operations (flops, sample, space:
    --costs). --check says how well that sum predicts whole networks.

    Interrupted, it keeps what is measured; the same command goes on from there. Exit code 1 if an
    operation could not be measured.
    """
    space = tsdsl.load(file, set=settings, space=name)
    arch = architecture(space, frozen) if frozen is not None else None
    asked = _asked(space, arch)
    setup = setup_of(device, dtype, batch, repeats, warmup, threads, clock, statistic)
    before = _before(output, setup, force)
    todo = [c for c in asked.configurations if force or c not in before.values]
    if not asked.exact:
        note("the space is too coupled to tell which operations it has: some may be superfluous")
    if said := busy(setup, HINT):
        note(said)
    kept = len(asked.configurations) - len(todo)
    run = _Run(space, setup, before, output, seed)
    run.save()
    note(
        f"{several(len(asked.configurations), 'operation')} (with arguments and shapes) on"
        f" {setup.device_name}, {threads_text(setup)}{dtype}, batch {batch}"
        + (f"; {kept} are in {output} already" if kept else "")
    )
    failures = run.measure(todo) if todo else {}
    report = run.check(check, arch) if check and not failures else None
    run.finish()
    if failures:
        _tell(failures, file)
        return 1
    if report is not None:
        (data if run.is_file else note)(_report(report))
    return 0


def _asked(space: tsdsl.Space, arch: tsdsl.Architecture | None) -> ConfigurationSet:
    from tsdsl.analysis.elimination.configurations import configurations, of_network

    if arch is not None or not space.decisions:
        return of_network(space.network(arch))
    return configurations(space.graph)


def _before(output: str, setup: Setup, force: bool) -> CostTable:
    """The table to go on from: what the file has, if it was measured in the same way."""
    empty = CostTable("latency", "ns", {}, {})
    if not os.path.isfile(output):
        return empty
    found = CostTable.load(output)
    now = setup.identity
    other = [key for key, value in now.items() if found.provenance.get(key) != value]
    if found.name == "latency" and not other:
        return found
    if found.name == "latency" and (force or not found.values):
        return empty
    if found.name != "latency":
        message = f"this table has the cost '{found.name}', not latency"
        hint = "write to another file with -o"
    else:
        differ = ", ".join(
            f"{key} was {visible(str(found.provenance.get(key)))}, is {now[key]}" for key in other
        )
        message = f"this table was measured in another way: {differ}"
        hint = "write to another file with -o, or begin anew with --force"
    raise tsdsl.SpecError([tsdsl.Diagnostic("E0725", message, file=output, help=hint)])


class _Run:
    """One measurement and the file that it goes to."""

    def __init__(
        self, space: tsdsl.Space, setup: Setup, before: CostTable, output: str, seed: int
    ) -> None:
        self._space = space
        self._setup = setup
        self._output = output
        #: What is no file takes the table once, when it is complete.
        self.is_file = output != "-" and (not os.path.exists(output) or os.path.isfile(output))
        self._seed = seed
        self._values = dict(before.values)
        self._spreads = dict(before.spreads)
        spaces = before.provenance.get("spaces")
        self._provenance: dict[str, Any] = {
            **before.provenance,
            "tsdsl": tsdsl.__version__,
            **setup.identity,
            "repeats": setup.repeats,
            "warmup": setup.warmup,
            "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "spaces": {**(spaces if isinstance(spaces, dict) else {}), space.hash: space.name},
        }

    @property
    def table(self) -> CostTable:
        return CostTable("latency", "ns", self._values, self._provenance, self._spreads)

    def save(self) -> None:
        if self.is_file or os.path.isdir(self._output):
            self.table.save(self._output)

    def finish(self) -> None:
        if self._output == "-":
            from tsdsl.analysis.costs.cost_file import dump

            data(dump(self.table))
        elif self.is_file:
            note(f"wrote {visible(self._output)}")
        else:
            self.table.save(self._output)

    def measure(self, todo: Sequence[Configuration]) -> Mapping[Configuration, str]:
        """Time what is to do, saving after each round. What failed, and why."""
        from tsdsl.backends.timing import Measurements, estimate, rounds, shares

        setup = self._setup
        subjects = {asked: partial(setup.call_of, asked) for asked in todo}
        measured: Measurements[Configuration] = Measurements()
        # A check of fewer operations says nothing of these.
        self._provenance.pop("check", None)
        try:
            left = estimate(setup, subjects, self._seed)
            note(f"{several(len(todo), 'operation')} to measure, about {duration(left)}")
            visits = len(shares(setup.repeats)) * len(subjects)
            saved = monotonic()
            with progress("measuring", visits) as step:
                for _ in rounds(setup, subjects, self._seed, measured):
                    if monotonic() - saved > SAVED_EVERY:
                        self._take(measured)
                        saved = monotonic()
                    step()
        except BaseException:
            self._take(measured)
            if self.is_file:
                note(
                    f"{len(measured.samples)} of {several(len(todo), 'operation')} are kept in"
                    f" {self._output}; the same command goes on from there"
                )
            raise
        self._take(measured)
        return measured.failures

    def _take(self, measured: Measurements[Configuration]) -> None:
        for name in measured.samples:
            self._values[name] = measured.value(name, self._setup.statistic)
            self._spreads[name] = measured.spread(name)
        for name in measured.failures:
            self._values.pop(name, None)
            self._spreads.pop(name, None)
        self.save()

    def check(self, count: int, arch: tsdsl.Architecture | None) -> dict[str, Any] | None:
        """Time whole networks: how well sums of operations predict them. None if all failed."""
        from tsdsl.analysis.costs.rank import kendall, spearman
        from tsdsl.backends.timing import Measurements, rounds, shares

        setup, space = self._setup, self._space.with_costs(self.table)
        if arch is not None or not space.decisions:
            chosen = [space.architecture({}) if arch is None else arch]
        else:
            chosen = _spread(space, count, self._seed)
        networks = {one: space.network(one) for one in chosen}
        subjects = {one: partial(setup.call_of_network, networks[one]) for one in chosen}
        measured: Measurements[tsdsl.Architecture] = Measurements()
        with progress("checking", len(shares(setup.repeats)) * len(subjects)) as step:
            for _ in rounds(setup, subjects, self._seed, measured):
                step()
        if measured.failures:
            why = next(iter(measured.failures.values()))
            note(f"{len(measured.failures)} of {len(chosen)} whole networks failed: {visible(why)}")
        timed = [one for one in chosen if one in measured.samples]
        if not timed:
            return None
        sums = [int(space.value("latency", one)) for one in timed]
        wholes = [measured.value(one, setup.statistic) for one in timed]
        ratios = sorted(s / max(w, 1) for s, w in zip(sums, wholes, strict=True))
        report: dict[str, Any] = {
            "architectures": len(timed),
            "seed": self._seed,
            "spearman": _rounded(spearman(sums, wholes)),
            "kendall": _rounded(kendall(sums, wholes)),
            "sum_over_whole": {
                "median": _rounded(_median(ratios)),
                "min": _rounded(ratios[0]),
                "max": _rounded(ratios[-1]),
            },
            "sums": sums,
            "wholes": wholes,
        }
        self._provenance["check"] = report
        self.save()
        return report


def _spread(space: tsdsl.Space, count: int, seed: int) -> list[tsdsl.Architecture]:
    """Architectures at even quantiles of the predicted latency of many that are drawn, all
    equally probable."""
    drawn = space.sample(max(DRAWN, 4 * count), seed=seed, weights="architectures")
    predicted = [int(value) for value in space.value("latency", drawn)]
    ordered = sorted(range(len(drawn)), key=lambda k: (predicted[k], k))
    if len(drawn) <= count:
        return [drawn[k] for k in ordered]
    if count == 1:
        return [drawn[ordered[len(ordered) // 2]]]
    return [drawn[ordered[k * (len(ordered) - 1) // (count - 1)]] for k in range(count)]


def _report(report: Mapping[str, Any]) -> str:
    ratio = report["sum_over_whole"]
    rows = [["whole networks timed", str(report["architectures"])]]
    if report["spearman"] is not None:
        rows += [
            ["Spearman rank correlation", f"{report['spearman']:.3f}"],
            ["Kendall rank correlation", f"{report['kendall']:.3f}"],
        ]
    rows += [
        ["sum of operations / whole, median", f"{ratio['median']:.3f}"],
        ["sum of operations / whole, range", f"{ratio['min']:.3f} to {ratio['max']:.3f}"],
    ]
    return aligned(rows)


def _tell(failures: Mapping[Configuration, str], file: str) -> None:
    found = [
        tsdsl.Diagnostic("E0727", f"{name} cannot be measured: {visible(why)}", file=file)
        for name, why in list(failures.items())[:SHOWN]
    ]
    show(found)
    more = len(failures) - len(found)
    note(
        (f"and {more} more; " if more else "")
        + "the table lacks these: try a smaller --batch, another --dtype or --device"
    )


def _median(ordered: Sequence[float]) -> float:
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
