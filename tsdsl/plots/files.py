"""Writes figures. Equal figures give equal bytes, with the same version of matplotlib."""

from __future__ import annotations

import io
import os
import warnings
from xml.sax.saxutils import escape

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from tsdsl.files import PathLike, write_atomic
from tsdsl.plots.style import DPI, settings

#: Extensions of the formats in which figures are written.
FORMATS = (".svg", ".png", ".pdf")
#: Largest side of a PNG in pixels. matplotlib draws fewer than 2^16.
_PIXELS = 60_000


def save(figure: Figure, path: PathLike) -> None:
    """Write a figure atomically, in the format of the path's extension (`FORMATS`). Raises
    `FileError`, and `ValueError` for another extension."""
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    write_atomic(path, render(figure, suffix))


def render(figure: Figure, suffix: str = ".svg") -> bytes:
    """A figure as bytes in one of `FORMATS`, without date and version."""
    if suffix not in FORMATS:
        raise ValueError(f"a figure is one of {', '.join(FORMATS)}, not '{suffix}'")
    title, description = _described(figure)
    made = io.BytesIO()
    with settings(), warnings.catch_warnings():
        # Names in a script that the font lacks: boxes in a PNG, text in an SVG.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        if suffix == ".png":
            FigureCanvasAgg(figure)
            dpi = min(DPI, _PIXELS / max(figure.get_size_inches()))
            figure.savefig(made, format="png", dpi=dpi, metadata={"Software": None})
            return made.getvalue()
        if suffix == ".pdf":
            FigureCanvasPdf(figure)
            pdf = {"Title": title, "Subject": description}
            nothing = dict.fromkeys(("Creator", "Producer", "CreationDate"))
            figure.savefig(made, format="pdf", metadata={**pdf, **nothing})
            return made.getvalue()
        FigureCanvasSVG(figure)
        unsaid = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(made, format="svg", metadata=unsaid)
    return _accessible(made.getvalue().decode("utf-8"), title, description).encode("utf-8")


def _accessible(svg: str, title: str, description: str) -> str:
    """Add title and description, which screen readers read, as the first two elements of an SVG."""
    start = svg.index("<svg ")
    end = svg.index(">", start)
    said = f"\n <title>{escape(title)}</title>\n <desc>{escape(description)}</desc>"
    return f'{svg[:end]} role="img">{said}{svg[end + 1 :]}'


def _described(figure: Figure) -> tuple[str, str]:
    """The title and the description of a figure, combined from its panels: their
    titles and labels."""
    panels = [ax for ax in figure.axes if ax.get_title(loc="left")]
    titles = [ax.get_title(loc="left") for ax in panels]
    words = [str(ax.get_label()) for ax in panels]
    return (
        "; ".join(titles).replace(r"\$", "$"),
        " ".join(words).replace(r"\$", "$"),
    )
