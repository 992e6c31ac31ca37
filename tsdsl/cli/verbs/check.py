"""``tsdsl check``: all errors and warnings in specs."""

from __future__ import annotations

from pathlib import Path

import click

import tsdsl
from tsdsl.cli.colour import colour_option
from tsdsl.cli.open_spec import costs_field, space_field
from tsdsl.cli.option_groups import OptionGroup, takes
from tsdsl.cli.output import data, note, show
from tsdsl.compiler import select, tables
from tsdsl.diagnostics.catalogue import FILES
from tsdsl.diagnostics.render import summary
from tsdsl.sema.check import CheckedFile, check_file

EPILOG = """\b
Examples:
  tsdsl check specs/x3d_s.tsnet
  tsdsl check --format github specs/*.tsnet     # annotations in a workflow
  tsdsl check --dump my.tsnet > my.json         # the validated document
"""


class SpaceOptions(OptionGroup):
    """Cost tables that the spaces are checked with, and the space that is dumped."""

    costs: tuple[str, ...] = costs_field
    space_name: str | None = space_field


@click.command(epilog=EPILOG)
@click.argument("files", nargs=-1, required=True, type=click.Path(), metavar="FILE...")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif", "github"]),
    default="text",
    help="text goes to standard error, the machine-readable formats to standard output.",
)
@click.option("--dump", is_flag=True, help="Print the validated document of one spec as JSON.")
@takes(spaces=SpaceOptions)
@colour_option
def command(files: tuple[str, ...], form: str, dump: bool, spaces: SpaceOptions) -> int:
    """Report all errors and warnings in specs.

    Every architecture of a space is checked; with --costs also that the table has every operation
    of every architecture. Exit code 1 if there is an error; warnings do not change it.
    """
    if dump and (len(files) != 1 or form != "text"):
        raise click.UsageError("--dump takes one FILE and no --format")
    costs, name = spaces.costs, spaces.space_name
    if name is not None and not dump:
        raise click.UsageError("--space is for --dump: all spaces of a file are checked")
    if dump:
        return _dump(files[0], costs, name)
    found = [finding for file in files for finding in _check(file, costs)[0]]
    if form == "text":
        show(found)
        counted = f"{len(files)} file{'s' if len(files) > 1 else ''} checked"
        note(f"{counted}: {summary(found) or 'no findings'}")
    else:
        from tsdsl.diagnostics.export import FORMATS

        if text := FORMATS[form](found):
            data(text)
    return _code(found)


def _dump(file: str, costs: tuple[str, ...], name: str | None) -> int:
    found, checked = _check(file, costs)
    show(found)
    if checked is not None and not _code(found):
        space = select(checked, file, name)
        data(space.document.model_dump_json(indent=2))
    return _code(found)


def _code(found: list[tsdsl.Diagnostic]) -> int:
    if any(d.span is None and d.code in FILES for d in found):
        return 3
    return int(any(d.severity == "error" for d in found))


def _check(file: str, costs: tuple[str, ...]) -> tuple[list[tsdsl.Diagnostic], CheckedFile | None]:
    """The errors and warnings of a file, and its checked spaces; None if it cannot be read."""
    try:
        checked = check_file(Path(file))
    except tsdsl.DiagnosticError as error:
        return list(error.diagnostics), None
    found = list(checked.diagnostics)
    if costs and not checked.has_errors:
        try:
            given = tables(costs)
            for name in checked.names:
                space = select(checked, file, name).with_costs(*given)
                for cost in space.costs:
                    space.bounds(cost)
                spans = space.sections.cost_spans if space.sections else {}
                defined = [span for cost, span in spans.items() if cost in space.costs]
                found = [f for f in found if f.code != "W0910" or f.span not in defined]
        except tsdsl.SpecError as error:
            found.extend(error.diagnostics)
    return found, checked
