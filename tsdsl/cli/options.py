"""Options and arguments that several verbs have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from tsdsl.cli.option_groups import OptionGroup, option
from tsdsl.cli.parameter_types import CostWindow, Ends, Setting, Window

if TYPE_CHECKING:
    from tsdsl.space import Space

spec_argument = click.argument("file", type=click.Path(), metavar="FILE")

frozen_option = click.option(
    "--frozen",
    type=click.Path(),
    metavar="ARCH",
    help="The architecture (an arch.json of the space).",
)

space_option = click.option(
    "--space",
    "name",
    metavar="NAME",
    help="Which space, of a file that has several; also one that others extend.",
)

costs_option = click.option(
    "--costs",
    type=click.Path(),
    multiple=True,
    metavar="TABLE",
    help="A cost table, such as latency.json of 'tsdsl measure'; may be repeated.",
)


def _settings(
    ctx: click.Context, parameter: click.Parameter, values: tuple[tuple[str, Any], ...]
) -> dict[str, Any]:
    return dict(values)


set_option = click.option(
    "--set",
    "settings",
    type=Setting(),
    multiple=True,
    callback=_settings,
    metavar="NAME=VALUE",
    help="Give a param, a decision (by its path) or a setting of a section (train.lr) another"
    " value; may be repeated.",
)


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
