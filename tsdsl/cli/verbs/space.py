"""``tsdsl space``: the size of a space, its costs, and the share that fits a budget."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from math import isinf
from typing import TYPE_CHECKING, Any

import click

import tsdsl
from tsdsl.analysis.costs.items import Grouping
from tsdsl.cli.colour import colour_option
from tsdsl.cli.open_spec import SpecWithCosts
from tsdsl.cli.option_groups import takes
from tsdsl.cli.output import coloured, data, show
from tsdsl.cli.parameter_types import AnyWindow, Ends
from tsdsl.cli.plot_option import plot_option, plotting, write
from tsdsl.cli.window_options import windows_by_cost

if TYPE_CHECKING:
    from tsdsl.analysis.elimination.phases import PhaseCost
    from tsdsl.analysis.summary import CostSummary, SpaceSummary
    from tsdsl.analysis.windows.window import CountBetween

EPILOG = """\b
Examples:
  tsdsl space my_space.tsnet
  tsdsl space my_space.tsnet --window 1.37G..1.43G
  tsdsl space my_space.tsnet --window 2.4G..2.5G --window params:..8M --json
  tsdsl space my_space.tsnet --distribution dist.json --by block
  tsdsl space my_space.tsnet --costs latency.json --window latency:8ms..10ms
  tsdsl space my_space.tsnet --plot my_space.svg
"""
#: Bins of the histograms in JSON.
BINS = 40


@click.command(epilog=EPILOG)
@takes(spec=SpecWithCosts)
@click.option(
    "--distribution",
    type=click.Path(),
    metavar="DIST",
    help="Probabilities of the options (a distribution.json of the space); the spec's own if left"
    " out.",
)
@click.option(
    "--window",
    "windows",
    type=AnyWindow(),
    multiple=True,
    metavar="[COST:]A..B",
    help="Count the architectures whose cost is between A and B: multiply-adds, or the named cost."
    " May be repeated, for the architectures in all windows. The budgets of the spec if left out.",
)
@click.option(
    "--by",
    type=click.Choice(["stream", "stage", "block", "op"]),
    help="Rows of the table of expected costs; streams and their stages if left out.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@plot_option
@colour_option
def command(
    spec: SpecWithCosts,
    distribution: str | None,
    windows: Sequence[tuple[str, Ends]],
    by: Grouping | None,
    as_json: bool,
    plot: str | None,
) -> int:
    """Report the size and the costs of a space, and what fits a budget.

    Prints the number of architectures, the minimum, maximum and mean of each cost, how many
    architectures lie in a window, and how the cost divides among streams and stages. Different
    architectures can build the same network: in a space of at most 65,536 architectures, the number
    of distinct networks is given, too.

    Each number is exact or has proven bounds; the output says which. FLOPs are multiply-adds of
    convolutions, linear layers and matrix products, for one view (clip and crop).

    Exit code 1 if no architecture lies in the window.
    """
    plots = plotting() if plot is not None else None
    space = spec.load()
    given_windows = windows_by_cost(space, windows) or None
    from tsdsl.analysis.distribution import Distribution
    from tsdsl.analysis.summary import summarise
    from tsdsl.cli.text_histogram import columns, drawable

    given = Distribution.load(space.graph, distribution) if distribution is not None else None
    width = shutil.get_terminal_size((80, 24)).columns
    kinds: tuple[Grouping, ...] = (
        ("stream", "stage") if by in (None, "stream", "stage") else ("stream", "stage", by)
    )
    found = summarise(space, given, given_windows, kinds, BINS if as_json else columns(width))
    if as_json:
        data(_dumped(_json(found, distribution)))
    else:
        from tsdsl.cli.space_report import overview

        whose = "initial" if distribution is None else "given"
        under = f"under the {whose} distribution"
        blocks = drawable(sys.stdout.encoding)
        data(overview(found, by, under, width, blocks, coloured(sys.stdout)))
    show(found.notes)
    if plots is not None and plot is not None:
        write(plots.overview(found), plot)
    if found.count == 0:
        show([_missed(spec.file, found)])
        return 1
    return 0


def _missed(file: str, found: SpaceSummary) -> tsdsl.Diagnostic:
    from tsdsl.cli.space_report import unit_of, window_text

    texts = [window_text(n, ends, found.costs[n].unit) for n, ends in found.windows.items()]
    ends = []
    for name in found.windows:
        cost = found.costs[name]
        if cost.bounds is not None:
            unit = unit_of(cost)
            texts_of = [unit.text(end.value) for end in cost.bounds]
            ends.append(f"{' to '.join(dict.fromkeys(texts_of))} {unit.name}")
    whose = f" ({found.windows_from})" if found.windows_from else ""
    return tsdsl.Diagnostic(
        "E0591",
        f"no architecture lies in {' and '.join(texts)}{whose}",
        file=file,
        help=f"the space has {'; '.join(ends)}",
    )


# ------------------------------------------------------------------ JSON


def _dumped(report: dict[str, Any]) -> str:
    """The report as JSON text, without Python's limit on the digits of printed integers."""
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        return json.dumps(report, indent=2, allow_nan=False)
    finally:
        sys.set_int_max_str_digits(limit)


def _json(found: SpaceSummary, distribution: str | None) -> dict[str, Any]:
    from tsdsl.analysis.costs.counted import COUNTED
    from tsdsl.cli.cost_tables import CONVENTION

    space = found.space
    tables = {name: _cost(found.costs[name]) for name in space.costs}
    report: dict[str, Any] = {
        "format_version": 1,
        "space": space.name,
        "space_hash": space.hash,
        "input_shape": list(space.input_shape),
        "flops_convention": CONVENTION,
        "distribution": distribution or "initial",
        "decisions": len(space.decisions),
        "size": found.size,
        "networks": found.networks,
        **{cost.name: _cost(found.costs[cost.name]) for cost in COUNTED},
        **({"costs": tables} if tables else {}),
    }
    if found.windows:
        report["window"] = {
            name: {"low": _end(low), "high": _end(high)}
            for name, (low, high) in found.windows.items()
        }
        report["window_from"] = found.windows_from or "asked for"
        report["count"] = _count(found.count)
        mass = found.mass
        report["mass"] = None if mass is None else mass.estimate
        report["mass_bounds"] = None if mass is None else {"low": mass.low, "high": mass.high}
    divided = {name: cost for name, cost in found.costs.items() if cost.breakdown}
    report["breakdown"] = {name: cost.breakdown for name, cost in divided.items()}
    report["phases"] = [
        {
            "name": same[0].name,
            "streams": list(same[0].streams),
            "learned": list(same[0].learned),
            **{name: _phase(phase) for name, phase in zip(divided, same, strict=True)},
        }
        for same in zip(*(cost.phases for cost in divided.values()), strict=True)
    ]
    report["notes"] = [{"code": n.code, "message": n.message, "help": n.help} for n in found.notes]
    return report


def _cost(cost: CostSummary) -> dict[str, Any]:
    bounds, drawn = cost.bounds, cost.histogram
    made: dict[str, Any] = {"unit": cost.unit} if cost.unit else {}
    made |= {
        "min": bounds and bounds.min.value,
        "max": bounds and bounds.max.value,
        "mean": cost.mean,
        "std": cost.std,
        "architectures": {"mean": cost.uniform_mean, "std": cost.uniform_std},
    }
    if cost.quantiles is not None:
        from tsdsl.analysis.summary import SHARES

        made["quantiles"] = [
            {"share": share, "low": q.low, "high": q.high, "estimate": q.estimate}
            for share, q in zip(SHARES, cost.quantiles, strict=True)
        ]
    if drawn is not None:
        made["histogram"] = {
            "exact": drawn.exact,
            "edges": drawn.edges.tolist(),
            "share": drawn.share.tolist(),
            "low": drawn.low.tolist(),
            "high": drawn.high.tolist(),
        }
    return made


def _phase(phase: PhaseCost) -> dict[str, Any]:
    return {
        "mean": phase.mean,
        "std": phase.std,
        "min": phase.min,
        "max": phase.max,
        "budgets": [{"low": b.low, "high": b.high, "weight": b.weight} for b in phase.budgets],
    }


def _count(count: int | CountBetween | None) -> Any:
    if count is None or isinstance(count, int):
        return count
    return {"low": count.low, "high": count.high, "estimate": count.estimate}


def _end(value: float) -> float | None:
    """None for an end that is open; an integer where it is one."""
    if isinf(value):
        return None
    return int(value) if value == int(value) else value
