"""``tsdsl flops``: multiply-adds and parameters, without building anything."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

import tsdsl
from tsdsl.analysis.costs.items import Grouping, cost_items
from tsdsl.cli import cost_tables
from tsdsl.cli.colour import colour_option
from tsdsl.cli.open_spec import SpecWithCosts, architecture, frozen_field
from tsdsl.cli.option_groups import takes
from tsdsl.cli.output import coloured, data, show
from tsdsl.cli.parameter_types import Amount
from tsdsl.cli.plot_option import plot_option, plotting, write
from tsdsl.cli.quantities import amount, flops

if TYPE_CHECKING:
    from tsdsl.analysis.elimination.bounds import Bounds

EPILOG = """\b
Examples:
  tsdsl flops specs/x3d_s.tsnet --set crop=182 --views 30
  tsdsl flops space.tsnet                                   # minimum and maximum, exact
  tsdsl flops space.tsnet --frozen arch.json --by stage
  tsdsl flops space.tsnet --frozen arch.json --min 1.37G --max 1.43G
  tsdsl flops space.tsnet --costs latency.json              # of tsdsl measure
  tsdsl flops specs/slowfast_r50.tsnet --plot slowfast.svg
"""


class CountedNetworkOptions(SpecWithCosts):
    """A space, or one network of it, with tables of further costs."""

    frozen: str | None = frozen_field


@click.command(epilog=EPILOG)
@takes(spec=CountedNetworkOptions)
@click.option(
    "--views",
    type=click.IntRange(1),
    metavar="N",
    help="Also print the cost of N views of a video.",
)
@click.option(
    "--by",
    type=click.Choice(["stream", "stage", "block", "op"]),
    help="Rows of the table; stage if left out.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@plot_option
@click.option("--min", "low", type=Amount(), metavar="X", help="Fail below X multiply-adds.")
@click.option("--max", "high", type=Amount(), metavar="Y", help="Fail above Y multiply-adds.")
@colour_option
def command(
    spec: CountedNetworkOptions,
    views: int | None,
    by: Grouping | None,
    as_json: bool,
    plot: str | None,
    low: int | None,
    high: int | None,
) -> int:
    """Count multiply-adds and parameters.

    FLOPs are multiply-adds of convolutions, linear layers and matrix products, for one view (clip
    and crop). For a space without --frozen, prints the exact minimum and maximum of each cost over
    its architectures, then the networks with the fewest and the most FLOPs.

    With --min or --max, exit code 1 if the count (of a space: every architecture) lies outside.
    """
    if low is not None and high is not None and low > high:
        raise click.UsageError("--min is larger than --max")
    plots = plotting() if plot is not None else None
    space = spec.load()
    arch = architecture(space, spec.frozen) if spec.frozen is not None else None
    if arch is None and space.decisions and by is not None:
        raise click.UsageError("--by is for one architecture: name it with --frozen")
    if plots is not None and plot is not None:
        write(plots.network(space, arch, by or "stage"), plot)
    if arch is None and space.decisions:
        return _space(spec.file, space, views, as_json, low, high)
    network = space.network(arch)
    if as_json:
        data(json.dumps(_network_json(space, network, views), indent=2))
    elif coloured(sys.stdout):
        from tsdsl.cli.coloured_tables import print_costs

        print_costs(network, by or "stage", views, list(space.costs.values()))
    else:
        data(cost_tables.costs(network, by or "stage", views, list(space.costs.values())))
    macs = sum(item.macs for item in cost_items(network))
    return _window(spec.file, macs, macs, low, high)


def _space(
    file: str,
    space: tsdsl.Space,
    views: int | None,
    as_json: bool,
    low: int | None,
    high: int | None,
) -> int:
    bounds = space.bounds("macs")
    known = {"macs": bounds} | {name: _bounds(space, name) for name in ("params", *space.costs)}
    if as_json:
        report: dict[str, Any] = _head(space, views) | {"macs": None, "params": None, "items": []}
        report["bounds"] = {
            name: None if ends is None else {"min": ends.min.value, "max": ends.max.value}
            for name, ends in known.items()
        }
        for name, end in (("min", bounds.min), ("max", bounds.max)):
            report[name] = {
                "network": "fewest FLOPs" if name == "min" else "most FLOPs",
                "macs": end.value,
                "params": int(space.params(end.architecture)),
                "decisions": dict(end.architecture),
            }
        for name, table in space.costs.items():
            ends = known[name]
            if ends is None:
                continue
            report.setdefault("costs", {})[name] = {
                "unit": table.unit,
                "min": {"value": ends.min.value, "decisions": dict(ends.min.architecture)},
                "max": {"value": ends.max.value, "decisions": dict(ends.max.architecture)},
            }
        data(json.dumps(report, indent=2))
    else:
        data(cost_tables.bounds(space, known, views))
    return _window(file, bounds.min.value, bounds.max.value, low, high)


def _bounds(space: tsdsl.Space, cost: str) -> Bounds | None:
    """The minimum and maximum of a cost; None where decisions are too coupled to compute them."""
    try:
        return space.bounds(cost)
    except tsdsl.DiagnosticError as error:
        if any(found.code != "E0592" for found in error.diagnostics):
            raise
        return None


def _head(space: tsdsl.Space, views: int | None) -> dict[str, Any]:
    return {
        "format_version": 1,
        "space": space.graph.name,
        "space_hash": space.hash,
        "input_shape": list(space.input_shape),
        "flops_convention": cost_tables.CONVENTION,
        **({"views": views} if views else {}),
    }


def _network_json(space: tsdsl.Space, network: Any, views: int | None) -> dict[str, Any]:
    measured = space.costs
    found = cost_items(network, list(measured.values()))
    costs = {
        name: {"unit": table.unit, "value": sum(item.costs[k] for item in found)}
        for k, (name, table) in enumerate(measured.items())
    }
    return _head(space, views) | {
        "macs": sum(item.macs for item in found),
        "params": sum(item.params for item in found),
        **({"costs": costs} if costs else {}),
        "items": [
            {
                "path": ".".join(item.path),
                "op": item.op,
                "macs": item.macs,
                "params": item.params,
                "shape": list(item.shape),
                **({"costs": dict(zip(measured, item.costs, strict=True))} if measured else {}),
            }
            for item in found
        ],
    }


def _window(file: str, least: int, most: int, low: int | None, high: int | None) -> int:
    """The exit code: 0 if some count from ``least`` to ``most`` lies in the window, else 1, with an
    error."""
    if low is not None and most < low:
        count, end, side, wanted, gap = most, "maximum", "below --min", low, low - most
    elif high is not None and least > high:
        count, end, side, wanted, gap = least, "minimum", "above --max", high, least - high
    else:
        return 0
    subject = "the network" if least == most else f"the {end} of the space"
    message = f"{subject} has {flops(count)} (multiply-adds): {amount(gap)} {side} {amount(wanted)}"
    show([tsdsl.Diagnostic("E0591", message, file=file)])
    return 1
