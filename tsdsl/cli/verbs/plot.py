"""``tsdsl plot``: a figure of how a search went."""

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
    help="Decisions that begin so, such as a stream or a stage; may be repeated.",
)
@colour_option
def command(folder: str, output: str, only: tuple[str, ...]) -> None:
    """Draw how a search went: curves, and every option over time.

    RUN is the folder of 'tsdsl search', also of one that still runs. Blue is what a phase learns,
    grey what stands in it; the triangle marks the option that is most probable in the end.
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
