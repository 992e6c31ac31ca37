"""Figures as files. The same figure gives the same bytes, with the same version of matplotlib."""

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
from tsdsl.plots.panel import described
from tsdsl.plots.style import DPI, settings

#: What a figure can be written as.
FORMATS = (".svg", ".png", ".pdf")
#: Of a side of a PNG: matplotlib draws fewer than 2^16.
_PIXELS = 60_000


def save(figure: Figure, path: PathLike) -> None:
    """Write a figure, whole or not at all, in the format of its suffix (`FORMATS`). Raises
    `FileError`; `ValueError` for another suffix."""
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    write_atomic(path, render(figure, suffix))


def render(figure: Figure, suffix: str = ".svg") -> bytes:
    """A figure in one of `FORMATS`, without date and version."""
    if suffix not in FORMATS:
        raise ValueError(f"a figure is one of {', '.join(FORMATS)}, not '{suffix}'")
    title, description = described(figure)
    made = io.BytesIO()
    with settings(), warnings.catch_warnings():
        # A name in a script that the font lacks: boxes in a PNG, and still text in an SVG.
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
    """With what a screen reader says of it: the first two elements."""
    start = svg.index("<svg ")
    end = svg.index(">", start)
    said = f"\n <title>{escape(title)}</title>\n <desc>{escape(description)}</desc>"
    return f'{svg[:end]} role="img">{said}{svg[end + 1 :]}'
