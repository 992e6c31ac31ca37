"""Costs as aligned text. `rich_tables` draws the same rows on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import tsdsl
from tsdsl.analysis.costs.cost_table import CostTable
from tsdsl.analysis.costs.items import CostGroup, Grouping, cost_items, grouped
from tsdsl.cli.output import aligned
from tsdsl.cli.quantities import flops, quantity, scaled, several, size, unit
from tsdsl.diagnostics.render import visible
from tsdsl.ir.network import Network

if TYPE_CHECKING:
    from tsdsl.analysis.costs.cost import Cost
    from tsdsl.analysis.elimination.bounds import Bounds

CONVENTION = (
    "FLOPs are multiply-adds (MACs) of convolutions, linear layers and matrix products for one "
    "view; bias, normalisation, activations, pooling and element-wise work count nothing"
)
#: Shown in place of a bound that cannot be computed because decisions are too coupled.
UNKNOWN = "?"


def note(name: str) -> str:
    """The definition of FLOPs that is printed below a table whose unit is ``name``."""
    return (
        f"{name} (multiply-adds) of convolutions, linear layers and matrix products, for one view"
    )


def cells(
    found: Sequence[CostGroup], by: Grouping, measured: Sequence[Cost] = ()
) -> list[list[str]]:
    """Header, rows and total as text, with a column for each cost table."""
    macs, params = sum(row.macs for row in found), sum(row.params for row in found)
    name, scale = unit(macs)
    return [
        [by, "ops", name, "share", "params", *(table.name for table in measured)],
        *(
            [
                row.name,
                str(row.ops),
                scaled(row.macs, scale),
                f"{100 * row.macs / macs if macs else 0:.1f}%",
                f"{row.params:,}",
                *(quantity(t, value) for t, value in zip(measured, row.costs, strict=True)),
            ]
            for row in found
        ),
        [
            "total",
            str(sum(row.ops for row in found)),
            scaled(macs, scale),
            "",
            f"{params:,}",
            *(quantity(t, sum(row.costs[k] for row in found)) for k, t in enumerate(measured)),
        ],
    ]


#: Columns of `cells` that are numbers.
NUMBERS = (1, 2, 3, 4)


def costs(network: Network, by: Grouping, views: int | None, measured: Sequence[Cost] = ()) -> str:
    """The cost table of one network, the definition of FLOPs, and the cost of several views."""
    found = grouped(cost_items(network, measured), by)
    rows = cells(found, by, measured)
    table = aligned(rows, range(1, len(rows[0])))
    said = "".join(f"\n{origin(t)}" for t in measured)
    return f"{title(network)}\n\n{table}\n\n{footer(sum(row.macs for row in found), views)}{said}"


def origin(cost: Cost) -> str:
    """How a cost table adds up; if it was measured, on which device and with which batch size."""
    provenance = cost.provenance if isinstance(cost, CostTable) else {}
    device, batch = provenance.get("device"), provenance.get("batch")
    where = f", measured on {visible(str(device))[:80]}" if device else ""
    clips = f", batch {batch}" if isinstance(batch, int) and batch != 1 else ""
    return f"{cost.name}: the sum over operations{where}{clips}"


def title(network: Network) -> str:
    return f"{network.name}: clip {size(network.clip.shape)}"


def footer(macs: int, views: int | None) -> str:
    several = f"\n{views} views: {flops(macs * views)} (multiply-adds)" if views else ""
    return note(unit(macs)[0]) + several


def bounds(space: tsdsl.Space, ends: Mapping[str, Bounds | None], views: int | None) -> str:
    """The ends of every cost over a space, then the networks with the fewest and the most FLOPs,
    side by side. ``ends`` by the name of the cost, "macs" first; None where one is not known."""
    found = ends["macs"]
    assert found is not None
    name, scale = unit(found.max.value)
    both = (found.min, found.max)
    archs = [end.architecture for end in both]

    def macs(values: Iterable[int]) -> list[str]:
        return [scaled(value, scale) for value in values]

    def row(cost: str) -> list[str]:
        known = ends[cost]
        values = None if known is None else [end.value for end in known]
        if cost == "macs":
            return [name, *macs(values or [])]
        if values is None:
            return [cost, UNKNOWN, UNKNOWN]
        return [cost, *(quantity(space.cost(cost), value) for value in values)]

    over = [["over the space", "minimum", "maximum"], *map(row, ends)]
    own = [
        ["the network with", "fewest FLOPs", "most FLOPs"],
        [name, *macs(end.value for end in both)],
        *([[f"{views} views", *macs(end.value * views for end in both)]] if views else []),
        ["params", *(f"{int(space.params(arch)):,}" for arch in archs)],
        *(
            [cost, *(quantity(table, int(space.value(cost, arch))) for arch in archs)]
            for cost, table in space.costs.items()
        ),
    ]
    names = [decision.path for decision in space.graph.decisions]
    chosen = [[path, *(option(arch, path) for arch in archs)] for path in names]
    # One layout, so that the columns of all parts stand below each other.
    lines = aligned([*over, *own, *chosen], (1, 2)).split("\n")
    first, second = len(over), len(over) + len(own)
    parts = ("\n".join(part) for part in (lines[:first], lines[first:second], lines[second:]))
    unknown = (
        f"; {UNKNOWN}: decisions are too coupled to compute it" if None in ends.values() else ""
    )
    return (
        f"{space.graph.name}: {several(len(names), 'decision')}, clip {size(space.input_shape)}\n\n"
        + "\n\n".join(parts)
        + f"\n\n{note(name)}\n"
        f"exact over all architectures{unknown}; - marks an inactive decision"
        + "".join(f"\n{origin(table)}" for table in space.costs.values())
    )


def option(arch: tsdsl.Architecture, path: str) -> str:
    """The chosen option as text; a dash if the decision is inactive."""
    if path not in arch:
        return "-"
    value = arch[path]
    return str(value).lower() if isinstance(value, bool) else visible(str(value))


def summary(space: tsdsl.Space, arch: tsdsl.Architecture | None) -> str:
    """A summary of a network: input, output, size and cost by stage."""
    network = space.network(arch)
    found = cost_items(network)
    tensors = sum(len(call.params) for _, call in network.ops())
    macs, params = sum(item.macs for item in found), sum(item.params for item in found)
    facts = [
        ["input", "N x " + size(network.clip.shape)],
        ["output", "N x " + size(network.body.result.shape)],
        ["cost", f"{flops(macs)} (multiply-adds) per view"],
        ["params", f"{params:,} in {tensors} tensors"],
        ["operations", str(len(found))],
    ]
    table = aligned(cells(grouped(found, "stage"), "stage"), NUMBERS)
    return f"{network.name}\n{aligned(facts)}\n\n{table}"
