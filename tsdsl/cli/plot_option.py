"""``--plot``: figures, if matplotlib is there."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

import click

from tsdsl.cli.output import note
from tsdsl.cli.parameter_types import FigureFile
from tsdsl.diagnostics.render import visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

plot_option = click.option(
    "--plot",
    type=FigureFile(),
    metavar="FIGURE",
    help="Draw it too: a file that ends with .svg, .png or .pdf (needs matplotlib).",
)


def plotting(what: str = "--plot") -> ModuleType:
    """Import `tsdsl.plots`. Raises `UsageError` where matplotlib is missing or cannot be imported,
    which is to be known before any work. ``what`` needs it."""
    try:
        import_module("matplotlib")
    except ModuleNotFoundError as missing:
        if missing.name != "matplotlib":
            raise
        raise click.UsageError(f"{what} needs matplotlib: pip install 'tsdsl[plot]'") from None
    except (ImportError, OSError, ValueError) as broken:
        # The import reads the user's configuration and environment, which may be wrong.
        why = visible(f"{type(broken).__name__}: {broken}")
        message = f"{what} needs matplotlib, which cannot be imported: {why}"
        raise click.UsageError(message) from None
    import tsdsl.plots

    return tsdsl.plots


def write(figure: Figure, path: str) -> None:
    """Raises `FileError`."""
    plotting().save(figure, path)
    note(f"wrote {visible(path)}")
