"""Options and arguments that several verbs have, and the types of their values."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

#: What ``--color`` says: auto, always or never.
colour: ContextVar[str] = ContextVar("colour", default="auto")
_SUFFIX = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_AMOUNT = re.compile(r"(\d+)(?:\.(\d+))?([kMGT]?)")


def _set_colour(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        colour.set(value)


colour_option = click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    callback=_set_colour,
    expose_value=False,
    is_eager=True,
    help="auto: on a terminal, unless NO_COLOR is set.",
)

spec_argument = click.argument("file", type=click.Path(), metavar="FILE")

frozen_option = click.option(
    "--frozen",
    type=click.Path(),
    metavar="ARCH",
    help="The architecture (an arch.json of the space).",
)


class Amount(click.ParamType):  # type: ignore[type-arg]
    """A number of operations: ``1.37G``, ``250M``, ``1370000000``; exactly that integer."""

    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = _AMOUNT.fullmatch(str(value))
        if not match or len(value) > 40:
            self.fail(f"'{value}' is not an amount such as 1.37G, 250M or 1370000000", param, ctx)
        whole, fraction, suffix = match[1], match[2] or "", match[3]
        parts: int = 10 ** len(fraction)
        scaled = int(whole + fraction) * _SUFFIX[suffix]
        if scaled % parts:
            self.fail(f"'{value}' is not a whole number", param, ctx)
        return scaled // parts


class Setting(click.ParamType):  # type: ignore[type-arg]
    """``name=value``: a param or a decision of the spec, and its value as the spec writes it."""

    name = "name=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not (equals and name.strip() and text.strip()):
            self.fail(f"'{value}' is not name=value, as in crop=182", param, ctx)
        return name.strip(), plain_value(text.strip())


def plain_value(text: str) -> int | float | bool | str:
    """A number or a boolean where the text is one; else the text, which the compiler reads."""
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"-?\d{1,30}", text):
        return int(text)
    if re.fullmatch(r"-?\d+\.\d+([eE][+-]?\d+)?", text) and len(text) < 40:
        return float(text)
    return text


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
    help="Give a param (or a decision, by its path) another value; may be repeated.",
)
