"""``tsdsl plot``: a figure of the course of a search."""

from __future__ import annotations

import click

from tsdsl.cli.colour import colour_option
from tsdsl.cli.parameter_types import FigureFile
from tsdsl.cli.plot_option import plotting, write
from tsdsl.diagnostics.render import visible

EPILOG = """\b
Examples:
  tsdsl plot runs/search -o search.svg
  tsdsl plot runs/search -o sparse.png --only sparse.s2 --only sparse.s3
"""


@click.command(epilog=EPILOG)
@click.argument("folder", type=click.Path(), metavar="RUN")
@click.option(
    "-o",
    "output",
    type=FigureFile(),
    required=True,
    metavar="FIGURE",
    help="A file that ends with .svg, .png or .pdf (needs matplotlib).",
)
@click.option(
    "--only",
    multiple=True,
    metavar="PATH",
    help="Show only decisions whose path begins with PATH, such as a stream or a stage; may be"
    " repeated.",
)
@colour_option
def command(folder: str, output: str, only: tuple[str, ...]) -> None:
    """Draw the course of a search: curves, and every option over time.

    RUN is the folder of a 'tsdsl search', which may still be running. Decisions that a phase learns
    are blue, decisions that are fixed in it grey; a triangle marks the option that is most probable
    at the end.
    """
    plots = plotting("tsdsl plot")
    from tsdsl.plots.search_panels import NoSuchDecision
    from tsdsl.searching.history import History

    history = History.read(folder)
    try:
        figure = plots.search(history, only)
    except NoSuchDecision as unknown:
        raise click.UsageError(visible(str(unknown))) from None
    write(figure, output)
