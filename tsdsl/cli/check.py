"""``tsdsl check``: everything that is wrong in specs."""

from __future__ import annotations

import click

import tsdsl
from tsdsl.cli.options import colour_option, costs_option
from tsdsl.cli.output import data, note, show
from tsdsl.diagnostics.catalogue import FILES
from tsdsl.diagnostics.render import summary

EPILOG = """\b
Examples:
  tsdsl check specs/x3d_s.tsnet
  tsdsl check --format github specs/*.tsnet     # annotations in a workflow
  tsdsl check --dump my.tsnet > my.json         # the validated document
"""


@click.command(epilog=EPILOG)
@click.argument("files", nargs=-1, required=True, type=click.Path(), metavar="FILE...")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif", "github"]),
    default="text",
    help="text is for people and goes to standard error, the others to standard output.",
)
@costs_option
@click.option("--dump", is_flag=True, help="Print the validated document of one spec as JSON.")
@colour_option
def command(files: tuple[str, ...], form: str, costs: tuple[str, ...], dump: bool) -> int:
    """Report everything that is wrong in specs.

    Every architecture of a space is checked; with --costs also that the table has every operation
    that one of them has. Exit code 1 if there is an error; a warning is none.
    """
    if dump and (len(files) != 1 or form != "text"):
        raise click.UsageError("--dump takes one FILE and no --format")
    found = [finding for file in files for finding in _check(file, costs)]
    if form == "text":
        show(found)
        if not dump:
            counted = f"{len(files)} file{'s' if len(files) > 1 else ''} checked"
            note(f"{counted}: {summary(found) or 'no findings'}")
    else:
        from tsdsl.diagnostics.export import FORMATS

        if text := FORMATS[form](found):
            data(text)
    if any(d.span is None and d.code in FILES for d in found):
        return 3
    if any(d.severity == "error" for d in found):
        return 1
    if dump:
        data(tsdsl.load(files[0]).document.model_dump_json(indent=2))
    return 0


def _check(file: str, costs: tuple[str, ...]) -> list[tsdsl.Diagnostic]:
    found = tsdsl.check(file)
    if not costs or any(d.severity == "error" for d in found):
        return found
    try:
        space = tsdsl.load(file, costs=costs)
        for name in space.costs:
            space.bounds(name)
    except tsdsl.SpecError as error:
        found.extend(error.diagnostics)
    return found
