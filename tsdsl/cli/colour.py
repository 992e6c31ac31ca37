"""The option ``--color``. It is read before a verb runs, so that this file imports click only."""

from __future__ import annotations

from contextvars import ContextVar

import click

#: What ``--color`` says: auto, always or never.
colour: ContextVar[str] = ContextVar("colour", default="auto")


def _set_colour(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        colour.set(value)


colour_option = click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    callback=_set_colour,
    expose_value=False,
    is_eager=True,
    help="Colour the output; auto: on a terminal, unless NO_COLOR is set.",
)
