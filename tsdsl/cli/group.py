"""A group of verbs that are listed without being imported."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

#: Verb -> its line in ``tsdsl --help``. The verb is ``command`` of ``tsdsl.cli.verbs.VERB``.
VERBS = {
    "bench": "Time networks side by side, with memory and ratios.",
    "check": "Report all errors and warnings in specs.",
    "compile": "Compile a network to Python source that needs torch only.",
    "completion": "Print the script that lets a shell complete tsdsl.",
    "data": "Work with lists of videos.",
    "eval": "Evaluate a network on videos, by an evaluate section of the spec.",
    "evolve": "Search a space by evolution over a trained supernet.",
    "flops": "Count multiply-adds and parameters.",
    "init": "Write a commented spec to start from.",
    "measure": "Measure the latency of every operation of a space.",
    "plot": "Draw the course of a search: curves, and every option over time.",
    "random": "Train architectures drawn at random, to compare a search with.",
    "sample": "Draw architectures from a space, within budgets if some are given.",
    "search": "Search a space on videos, by the spec's search section.",
    "space": "Report the size and the costs of a space, and what fits a budget.",
    "train": "Train a network of a spec on videos, by the spec's train section.",
    "weights": "Inspect weights, and convert them for a network.",
}


class LazyGroup(click.Group):
    """Imports a verb when it is called or asked for its help, not to list it."""

    def __init__(
        self, *args: Any, verbs: Mapping[str, str], prefix: str = "tsdsl.cli.verbs.", **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.verbs = dict(verbs)
        self.prefix = prefix

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.verbs:
            return None
        command: click.Command = import_module(f"{self.prefix}{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.verbs and not name.startswith("-"):
            from tsdsl.diagnostics import did_you_mean
            from tsdsl.diagnostics.render import visible

            hint = did_you_mean(name, self.verbs, f"one of {', '.join(self.verbs)}") or ""
            ctx.fail(f"there is no verb '{visible(name)}': {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(self.verbs.items()))
