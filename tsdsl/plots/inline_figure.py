"""A figure that notebooks show where a cell ends with it."""

from __future__ import annotations

from matplotlib.figure import Figure

from tsdsl.plots.files import render


class InlineFigure(Figure):
    """A `matplotlib.figure.Figure` with an image of itself for IPython. pyplot is not needed, and
    no backend is chosen: what the notebook has set up stays as it is."""

    def _repr_svg_(self) -> str:
        return render(self, ".svg").decode("utf-8")

    def _repr_png_(self) -> bytes:
        return render(self, ".png")
