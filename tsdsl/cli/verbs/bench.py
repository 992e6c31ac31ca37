"""``tsdsl bench``: times several networks in one run, in turn."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from contextlib import ExitStack, redirect_stdout
from typing import TYPE_CHECKING, Any

import click

import tsdsl
from tsdsl.cli.bench_networks import BenchedNetworkOptions, Network, networks, other, unique
from tsdsl.cli.bench_report import as_json, facts, rows
from tsdsl.cli.colour import colour_option
from tsdsl.cli.option_groups import takes
from tsdsl.cli.output import aligned, check_outputs, coloured, data, note, show
from tsdsl.cli.progress_bar import progress
from tsdsl.cli.quantities import duration, several
from tsdsl.cli.timing_options import NetworkTimingOptions, busy, threads_text
from tsdsl.diagnostics.render import visible
from tsdsl.files import write_atomic

if TYPE_CHECKING:
    from tsdsl.backends.bench import BenchReport
    from tsdsl.backends.timing import Setup

HINT = (
    "more --repeats and --threads 1 --clock cpu help, and ratios, of one round each, vary less than"
    " times"
)

EPILOG = """\b
Examples:
  tsdsl bench specs/x3d_s.tsnet specs/x3d_m.tsnet --views 30
  tsdsl bench specs/x3d_s.tsnet --evaluate lcr --device cuda --dtype float16 --batch 30
  tsdsl bench my_space.tsnet --frozen a.json --frozen b.json -o bench.json
  tsdsl bench specs/x3d_s.tsnet --against my_module:make_network    # make_network() of my_module.py
"""


class Target(click.ParamType):  # type: ignore[type-arg]
    """``module:function``, names with dots on both sides."""

    name = "module:function"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        names, colon, inside = text.partition(":")
        parts = [*names.split("."), *inside.split(".")]
        if not colon or not all(part.isidentifier() for part in parts):
            hint = " (a module's name has no .py)" if re.search(r"\.py\b|/", names) else ""
            self.fail(f"'{visible(text)}' is not module:function{hint}", param, ctx)
        return text


@click.command(epilog=EPILOG)
@takes(timed=BenchedNetworkOptions)
@click.option(
    "--against",
    type=Target(),
    multiple=True,
    metavar="MODULE:FUNCTION",
    help="Also time the module, or (module, example_input), that a function returns; may be"
    " repeated.",
)
@takes(timing=NetworkTimingOptions)
@click.option("--json", "print_json", is_flag=True, help="Print JSON.")
@click.option(
    "-o", "output", type=click.Path(), metavar="FILE.json", help="Also write the JSON to a file."
)
@colour_option
def command(
    timed: BenchedNetworkOptions,
    against: tuple[str, ...],
    timing: NetworkTimingOptions,
    print_json: bool,
    output: str | None,
) -> int:
    """Time networks side by side, with memory and ratios.

    The table has a row for each spec without decisions, each --frozen architecture and each
    --against. Networks are timed in turn, round by round; a ratio compares times of the same round,
    relative to the first network.

    Exit code 1 if a network could not be timed; the others are timed all the same.
    """
    if timed.views is not None and timed.evaluate is not None:
        raise click.UsageError("--views and --evaluate both say how many views: give one")
    if output == "-":
        print_json, output = True, None
    check_outputs([output], [*timed.files, *timed.frozen])
    candidates = networks(timed)
    # A module without an input of its own takes the clip, and the views, of the first spec.
    candidates += [other(target, candidates[0]) for target in against]
    names = unique([network.labels for network in candidates])
    chosen = dict(zip(names, candidates, strict=True))
    setup = timing.setup()
    if said := busy(setup, HINT):
        note(said)

    # Modules may print: standard output is for the report.
    with redirect_stdout(sys.stderr):
        report = _timed(chosen, setup, timing)
    shown = {name: network.shown for name, network in chosen.items()}
    text = json.dumps(as_json(report, shown), indent=2, allow_nan=False)
    if print_json:
        data(text)
    elif coloured(sys.stdout):
        from tsdsl.cli.coloured_tables import print_rows

        print_rows(rows(report, shown), facts(report, shown))
    else:
        table = rows(report, shown)
        data(f"{aligned(table, range(2, len(table[0])))}\n\n{facts(report, shown)}")
    if output is not None:
        write_atomic(output, text + "\n")
        note(f"wrote {visible(output)}")
    return 1 if any(row.failure is not None for row in report.rows) else 0


def _timed(
    chosen: Mapping[str, Network],
    setup: Setup,
    timing: NetworkTimingOptions,
) -> BenchReport:
    """Times all networks, and shows progress and failures."""
    from tsdsl.measuring import BenchFinished, NetworkPrepared, TimingStarted, bench_events

    failures: dict[str, str] = {}
    with ExitStack() as bar:
        step = bar.enter_context(progress("preparing", len(chosen)))
        for event in bench_events(
            {name: network.lazy for name, network in chosen.items()},
            setup,
            channels_last=timing.channels_last,
            compiled=timing.compiled,
            seed=timing.seed,
        ):
            match event:
                case NetworkPrepared():
                    if event.failure is not None:
                        failures[event.name] = event.failure
                    step()
                case TimingStarted():
                    bar.close()
                    _show_failures(failures, chosen)
                    if event.networks:
                        note(
                            f"{several(event.networks, 'network')} on {setup.device_name},"
                            f" {threads_text(setup)}{setup.dtype}, batch {setup.batch};"
                            f" {setup.repeats} samples of each, about {duration(event.seconds)}"
                        )
                    step = bar.enter_context(progress("timing", event.visits))
                case BenchFinished(report=report):
                    bar.close()
                case _:
                    step()
    later = {row.name: row.failure for row in report.rows if row.failure is not None}
    _show_failures({name: why for name, why in later.items() if name not in failures}, chosen)
    return report


def _show_failures(failures: Mapping[str, str], chosen: Mapping[str, Network]) -> None:
    show(
        [
            tsdsl.Diagnostic(
                "E0728",
                f"{name} cannot be timed: {visible(why)}",
                file=chosen[name].shown.file,
                help=chosen[name].shown.help,
            )
            for name, why in failures.items()
        ]
    )
