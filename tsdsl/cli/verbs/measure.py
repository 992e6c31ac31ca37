"""``tsdsl measure``: a latency for each operation that a space has, as a cost table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import click

from tsdsl.cli.colour import colour_option
from tsdsl.cli.open_spec import NetworkOptions, architecture
from tsdsl.cli.option_groups import takes
from tsdsl.cli.output import aligned, data, note, show
from tsdsl.cli.progress_bar import progress
from tsdsl.cli.quantities import duration, several
from tsdsl.cli.timing_options import OperationTimingOptions, busy, threads_text
from tsdsl.diagnostics.render import visible

if TYPE_CHECKING:
    from tsdsl.analysis.costs.configuration import Configuration
    from tsdsl.backends.timing import Setup
    from tsdsl.measuring import MeasuringEvent, MeasuringFinished, MeasuringStarted

#: Advice for a busy machine.
HINT = "more --repeats, --statistic min and --threads 1 --clock cpu help"

EPILOG = """\b
Examples:
  tsdsl measure my_space.tsnet -o latency.json
  tsdsl measure my_space.tsnet --device cuda --dtype float16 --batch 8 -o latency.json
  tsdsl measure my_space.tsnet --frozen arch.json --repeats 5       # one network, quickly
  tsdsl flops my_space.tsnet --costs latency.json
"""


@click.command(epilog=EPILOG)
@takes(spec=NetworkOptions)
@click.option(
    "-o",
    "output",
    type=click.Path(),
    default="latency.json",
    show_default=True,
    metavar="TABLE",
    help="File of the table ('-' for standard output). If it exists, what it has is kept.",
)
@click.option("--force", is_flag=True, help="Measure again what the table already has.")
@takes(timing=OperationTimingOptions)
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
    help="Seed of the order of operations, and of the networks of --check.",
)
@colour_option
def command(
    spec: NetworkOptions,
    output: str,
    force: bool,
    timing: OperationTimingOptions,
    check: int,
    seed: int,
) -> int:
    """Measure the latency of every operation of a space.

    Each operation that some architecture has, with its arguments and input shapes, is timed once,
    alone. The latency of an architecture is then the sum over its operations: give the table to
    flops, sample or space with --costs. --check measures how well that sum predicts the latency of
    whole networks.

    After Ctrl-C, the table has what was measured, and the same command continues from there. Exit
    code 1 if an operation could not be measured.
    """
    space = spec.load()
    arch = architecture(space, spec.frozen) if spec.frozen is not None else None
    setup = timing.setup()
    from tsdsl.measuring import measure_events

    path = None if output == "-" else output
    is_file = path is not None and (not os.path.exists(path) or os.path.isfile(path))
    shown = _Shown(setup, output, is_file)
    events = measure_events(space, arch, setup, path=path, force=force, check=check, seed=seed)
    with closing(events), shown:
        for event in events:
            shown(event)
    finished = shown.finished
    if path is None:
        from tsdsl.analysis.costs.cost_file import dump

        data(dump(finished.table))
    elif is_file:
        note(f"wrote {visible(path)}")
    if finished.failures:
        _show_failures(finished.failures, spec.file)
        return 1
    report = finished.table.provenance.get("check") if shown.checked else None
    if report is not None:
        (data if is_file else note)(_report(report))
    return 0


class _Shown:
    """Shows the events of a measurement."""

    finished: MeasuringFinished

    def __init__(self, setup: Setup, output: str, is_file: bool) -> None:
        self._setup, self._output, self._is_file = setup, output, is_file
        self._bar = ExitStack()
        self._planned = self._checked = 0
        self._timed: set[Configuration] = set()
        #: Whether whole networks were timed, at least one of them without failing.
        self.checked = False

    def __enter__(self) -> _Shown:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        self._bar.close()
        if kind is not None and self._planned and not self._checked and self._is_file:
            note(
                f"{len(self._timed)} of {several(self._planned, 'operation')} are kept in"
                f" {self._output}; the same command goes on from there"
            )

    def __call__(self, event: MeasuringEvent) -> None:
        from tsdsl import measuring as m

        match event:
            case m.MeasuringStarted():
                self._start(event)
            case m.OperationsPlanned():
                self._planned = event.operations
                note(
                    f"{several(event.operations, 'operation')} to measure, about"
                    f" {duration(event.seconds)}"
                )
                self._steps = self._bar.enter_context(progress("measuring", event.visits))
            case m.OperationTimed():
                self._timed.add(event.operation)
                self._steps()
            case m.CheckStarted():
                self._checked = event.networks
                self._bar.close()
                self._steps = self._bar.enter_context(progress("checking", event.visits))
            case m.NetworkChecked():
                self._steps()
            case m.MeasuringFinished():
                self._bar.close()
                self._finish(event)

    def _start(self, event: MeasuringStarted) -> None:
        if not event.exact:
            note(
                "the space is too coupled to tell which operations it has: some may be superfluous"
            )
        if said := busy(self._setup, HINT):
            note(said)
        kept = f"; {event.kept} are in {self._output} already" if event.kept else ""
        note(
            f"{several(event.operations, 'operation')} (with arguments and shapes) on"
            f" {self._setup.device_name}, {threads_text(self._setup)}{self._setup.dtype}, batch"
            f" {self._setup.batch}{kept}"
        )

    def _finish(self, event: MeasuringFinished) -> None:
        self.finished = event
        failed = event.check_failures
        self.checked = len(failed) < self._checked
        if failed:
            note(f"{len(failed)} of {self._checked} whole networks failed: {visible(failed[0])}")


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


def _show_failures(failures: Mapping[Configuration, str], file: str) -> None:
    from tsdsl.measuring import failed

    found = failed(failures, file)
    show(found)
    more = len(failures) - len(found)
    note(
        (f"and {more} more; " if more else "")
        + "the table lacks these: try a smaller --batch, another --dtype or --device"
    )
