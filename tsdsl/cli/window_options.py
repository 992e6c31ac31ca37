"""The options that give windows of costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from tsdsl.cli.option_groups import OptionGroup, option
from tsdsl.cli.parameter_types import CostWindow, Ends, Window

if TYPE_CHECKING:
    from tsdsl.space import Space


class WindowOptions(OptionGroup):
    """Windows that the costs of architectures lie in."""

    flops: Ends | None = option(
        "--flops",
        type=Window(),
        metavar="A..B",
        help="Multiply-adds for one clip, as in 2.4G..2.5G.",
    )
    params: Ends | None = option(
        "--params", type=Window(), metavar="A..B", help="Parameters, as in ..15M."
    )
    within: Sequence[tuple[str, Ends]] = option(
        "--within",
        type=CostWindow(),
        multiple=True,
        metavar="COST:A..B",
        help="Any cost by its name, as in latency:8ms..10ms; may be repeated.",
    )

    def windows(self, space: Space) -> dict[str, tuple[float, float]]:
        """The window of each cost that has one, in the cost's own unit. Raises what
        `windows_by_cost` does."""
        given = [("macs", self.flops), ("params", self.params), *self.within]
        return windows_by_cost(space, [(name, ends) for name, ends in given if ends is not None])


def windows_by_cost(
    space: Space, given: Iterable[tuple[str, Ends]]
) -> dict[str, tuple[float, float]]:
    """Windows by the name of the cost, in the cost's own unit. Raises `UsageError` if a cost has
    two of them, or has ends in a unit of time and is no time; `SpecError` if the space does not
    have it."""
    windows: dict[str, tuple[float, float]] = {}
    for name, ends in given:
        cost = space.cost(name)
        if ends.timed and cost.unit != "ns":
            raise click.UsageError(f"'{name}' is not measured in units of time")
        if str(cost) in windows:
            raise click.UsageError(f"'{name}' has two windows: give one")
        windows[str(cost)] = (ends.low, ends.high)
    return windows
