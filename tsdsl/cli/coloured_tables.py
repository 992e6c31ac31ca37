"""Costs on a terminal. The only file that imports rich."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tsdsl.analysis.costs.cost import Cost
from tsdsl.analysis.costs.items import Grouping, cost_items, grouped
from tsdsl.cli import cost_tables
from tsdsl.ir.network import Network


def print_costs(
    network: Network, by: Grouping, views: int | None, measured: Sequence[Cost] = ()
) -> None:
    """Print the table of one network, coloured."""
    found = grouped(cost_items(network, measured), by)
    console = Console(force_terminal=True, highlight=False, soft_wrap=False)
    console.print(cost_tables.title(network), style="bold", markup=False)
    console.print(_table(cost_tables.cells(found, by, measured)))
    console.print(cost_tables.footer(sum(row.macs for row in found), views), markup=False)
    for table in measured:
        console.print(cost_tables.origin(table), markup=False)


def print_rows(lines: Sequence[Sequence[str]], footer: str) -> None:
    """Print a header with rows, of which the first two columns are text, and lines below. A table
    that is wider than the terminal is not cut."""
    table = Table(box=None, pad_edge=False, header_style="bold cyan")
    for at, name in enumerate(lines[0]):
        table.add_column(name, justify="right" if at > 1 else "left", no_wrap=True)
    for row in lines[1:]:
        table.add_row(*map(Text, row))
    console = Console(force_terminal=True, highlight=False)
    wide = console.measure(table, options=console.options.update(max_width=1000)).maximum
    Console(force_terminal=True, highlight=False, width=max(console.width, wide)).print(table)
    console.print(f"\n{footer}", markup=False, soft_wrap=True)


def _table(lines: Sequence[Sequence[str]]) -> Table:
    head, *body, total = lines
    table = Table(box=None, pad_edge=False, show_footer=True, header_style="bold cyan")
    for at, (name, sum_) in enumerate(zip(head, total, strict=True)):
        flush = at > 0
        table.add_column(
            name,
            justify="right" if flush else "left",
            footer=sum_,
            footer_style="bold",
            no_wrap=flush,
            overflow="fold",
        )
    for row in body:
        table.add_row(*row)
    return table
