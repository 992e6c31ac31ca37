"""Costs as aligned text. `rich_tables` draws the same rows on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import tsdsl
from tsdsl.analysis.costs.items import By, Group, group, items
from tsdsl.cli.output import aligned
from tsdsl.diagnostics.render import visible
from tsdsl.ir.network import Network
from tsdsl.units import AMOUNTS

if TYPE_CHECKING:
    from tsdsl.analysis.costs.cost_table import CostTable
    from tsdsl.analysis.elimination.bounds import Bounds

CONVENTION = (
    "FLOPs are multiply-adds (MACs) of convolutions, linear layers and matrix products for one "
    "view; bias, normalisation, activations, pooling and element-wise work count nothing"
)
NOTE = "GFLOPs (multiply-adds) of convolutions, linear layers and matrix products, for one view"


def cells(found: Sequence[Group], by: By, measured: Sequence[CostTable] = ()) -> list[list[str]]:
    """Header, rows and total as text, with a column for each cost table."""
    macs, params = sum(row.macs for row in found), sum(row.params for row in found)
    return [
        [by, "ops", "GFLOPs", "share", "params", *(table.name for table in measured)],
        *(
            [
                row.name,
                str(row.ops),
                giga(row.macs),
                f"{100 * row.macs / macs if macs else 0:.1f}%",
                f"{row.params:,}",
                *(quantity(t, value) for t, value in zip(measured, row.costs, strict=True)),
            ]
            for row in found
        ),
        [
            "total",
            str(sum(row.ops for row in found)),
            giga(macs),
            "",
            f"{params:,}",
            *(quantity(t, sum(row.costs[k] for row in found)) for k, t in enumerate(measured)),
        ],
    ]


#: Columns of `cells` that are numbers.
NUMBERS = (1, 2, 3, 4)


def costs(network: Network, by: By, views: int | None, measured: Sequence[CostTable] = ()) -> str:
    """The table of one network, the convention, and what several views cost."""
    found = group(items(network, measured), by)
    rows = cells(found, by, measured)
    table = aligned(rows, range(1, len(rows[0])))
    said = "".join(f"\n{origin(t)}" for t in measured)
    return f"{title(network)}\n\n{table}\n\n{footer(sum(row.macs for row in found), views)}{said}"


def quantity(table: CostTable, value: int) -> str:
    """A value with its unit; of nanoseconds, milliseconds."""
    return f"{value / 1e6:,.3f} ms" if table.unit == "ns" else f"{value:,} {visible(table.unit)}"


def origin(table: CostTable) -> str:
    """What a measured cost is, and where it was measured."""
    device = table.provenance.get("device")
    batch = table.provenance.get("batch")
    where = f", measured on {visible(str(device))[:80]}" if device else ""
    clips = f", batch {batch}" if isinstance(batch, int) and batch != 1 else ""
    return f"{table.name}: the sum over operations{where}{clips}"


def title(network: Network) -> str:
    return f"{network.name}: clip {size(network.clip.shape)}"


def footer(macs: int, views: int | None) -> str:
    several = f"\n{views} views: {giga(macs * views)} GFLOPs (multiply-adds)" if views else ""
    return NOTE + several


def bounds(space: tsdsl.Space, found: Bounds, views: int | None) -> str:
    """The cheapest and the dearest architecture of a space, side by side."""
    both = (found.min, found.max)
    archs = [end.architecture for end in both]
    cost = [
        ["", "minimum", "maximum"],
        ["GFLOPs", *(giga(end.value) for end in both)],
        *([[f"{views} views", *(giga(end.value * views) for end in both)]] if views else []),
        ["params", *(f"{int(space.params(arch)):,}" for arch in archs)],
        *(
            [name, *(quantity(table, int(space.value(name, arch))) for arch in archs)]
            for name, table in space.costs.items()
        ),
        ["", "", ""],
    ]
    names = [decision.path for decision in space.graph.decisions]
    chosen = [[name, *(option(arch, name) for arch in archs)] for name in names]
    return (
        f"{space.graph.name}: {several(len(names), 'decision')}, clip {size(space.input_shape)}\n\n"
        f"{aligned([*cost, *chosen], (1, 2))}\n\n{NOTE}\n"
        "exact over the whole space; - is a decision that does not apply"
        + "".join(f"\n{measured(space, table)}" for table in space.costs.values())
    )


def measured(space: tsdsl.Space, table: CostTable) -> str:
    """The ends of a measured cost, whose architectures are not those of the FLOPs' ends."""
    ends = space.bounds(table.name)
    low, high = (quantity(table, end.value) for end in (ends.min, ends.max))
    return f"{origin(table)}; {low} to {high} over the whole space"


def option(arch: tsdsl.Architecture, path: str) -> str:
    """How an option is written; of a decision that is inactive, a dash."""
    if path not in arch:
        return "-"
    value = arch[path]
    return str(value).lower() if isinstance(value, bool) else visible(str(value))


def summary(space: tsdsl.Space, arch: tsdsl.Architecture | None) -> str:
    """What there is to know of a network: input, output, size, cost by stage."""
    network = space.network(arch)
    found = items(network)
    tensors = sum(len(call.params) for _, call in network.ops())
    macs, params = sum(item.macs for item in found), sum(item.params for item in found)
    facts = [
        ["input", "N x " + size(network.clip.shape)],
        ["output", "N x " + size(network.body.result.shape)],
        ["cost", f"{giga(macs)} GFLOPs (multiply-adds) per view"],
        ["params", f"{params:,} in {tensors} tensors"],
        ["operations", str(len(found))],
    ]
    table = aligned(cells(group(found, "stage"), "stage"), NUMBERS)
    return f"{network.name}\n{aligned(facts)}\n\n{table}"


def several(count: int, noun: str, plural: str | None = None) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {plural or noun + 's'}"


def size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def giga(count: int) -> str:
    return f"{count / 1e9:.3f}"


def amount(count: int) -> str:
    """With a suffix and three digits or four: 1.43G, 12.5M, 250."""
    for suffix, unit in reversed(AMOUNTS.items()):
        if count >= unit:
            return f"{count / unit:.4g}{suffix}"
    return str(count)
