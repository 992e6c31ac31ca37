"""What all panels have in common: axes of their own or the caller's, a title, a line of facts below
it, a legend below that, and what they say to who cannot see them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from textwrap import wrap
from typing import Protocol

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from tsdsl.plots.inline_figure import InlineFigure
from tsdsl.plots.style import MUTED, RULE, SMALL, TITLE, WIDTH, settings
from tsdsl.plots.units import AxisUnit

#: Points, from the axes upwards: height of a line of the legend, of the facts and of the title.
_LINE = 11.5
#: Points: height of a further line of facts.
_FURTHER = 8.4
_ABOVE = 3.0
#: Inches: mean width of a small character.
_CHARACTER = 0.0505
#: Inches: width of a character of a row's name, and of the margin of axes without such names.
_LETTER = 0.06
_LEFT = 0.85
#: Characters of a row's name that are shown.
_LONGEST = 26
#: Smallest number of characters in a line, for narrow axes.
_LEAST = 20
#: Width of the key of a legend with its spaces, in characters.
_KEY = 6.5


class Panel(Protocol):
    """A panel whose data is computed and which has not been drawn. ``height`` is in inches."""

    @property
    def height(self) -> float: ...

    def draw(self, ax: Axes) -> Axes: ...


def drawn(panel: Panel, ax: Axes | None) -> Axes:
    """Draw a panel into axes as they are, or into a figure of its own."""
    if ax is not None:
        return panel.draw(ax)
    with settings():
        figure = InlineFigure(figsize=(WIDTH, panel.height), layout="constrained")
        made = panel.draw(figure.add_subplot())
        settle(figure)
    return made


def settle(figure: Figure) -> None:
    """Lay out the figure twice and then fix the layout. Each layout moves elements slightly,
    depending on where they are; with more passes, the file would not be reproducible."""
    engine = figure.get_layout_engine()
    assert engine is not None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        for _ in range(2):
            engine.execute(figure)
    figure.set_layout_engine("none")


def headline(ax: Axes, title: str, facts: str, handles: Sequence[Artist]) -> None:
    """Draw title, facts and legend above the axes, in as many lines as they need."""
    room = _room(ax)
    at = _ABOVE
    if handles:
        columns = _columns([str(handle.get_label()) for handle in handles], room)
        legend = ax.legend(
            handles=handles,
            loc="lower left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=columns,
            frameon=False,
            borderaxespad=0.2,
            borderpad=0.0,
            columnspacing=1.4,
            handlelength=1.6,
            handletextpad=0.5,
            fontsize=SMALL,
        )
        # The title reserves the space for all of them.
        legend.set_in_layout(False)
        at += _LINE * -(-len(handles) // columns)
    if facts:
        lines = wrap(facts, room)
        said = ax.annotate(
            "\n".join(lines),
            (0.0, 1.0),
            (0.0, at),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=SMALL,
            color=MUTED,
            va="bottom",
        )
        said.set_in_layout(False)
        at += _LINE + _FURTHER * (len(lines) - 1)
    ax.set_title(title, loc="left", fontsize=TITLE, fontweight="bold", pad=at)


def _room(ax: Axes) -> int:
    """Approximate number of small characters that fit above axes. The layout is not known yet: the
    estimate uses the axes' share of the figure, and the names of rows to the left of axes."""
    root, spec = ax.get_figure(root=True), ax.get_subplotspec()
    assert root is not None
    if spec is None:
        return max(int(root.get_figwidth() * ax.get_position().width / _CHARACTER), _LEAST)
    names = [
        len(line)
        for other in root.axes
        for label in other.get_yticklabels()
        for line in label.get_text().splitlines()
    ]
    width = root.get_figwidth() * len(spec.colspan) / spec.get_gridspec().ncols
    width -= max(_LEFT, max(names, default=0) * _LETTER + 0.2)
    return max(int(width / _CHARACTER), _LEAST)


def _columns(labels: Sequence[str], room: int) -> int:
    """Number of columns of a legend, from the characters of its labels and keys. The legend fills
    columns one by one; the first ones get the remainder."""
    for columns in range(len(labels), 1, -1):
        least, longer = divmod(len(labels), columns)
        widths, at = 0.0, 0
        for column in range(columns):
            rows = least + (column < longer)
            widths += max(map(len, labels[at : at + rows])) + _KEY
            at += rows
        if widths <= room:
            return columns
    return 1


def describe(ax: Axes, text: str) -> None:
    """Attach a description of a panel in words."""
    ax.set_label(text)


def cost_axis(ax: Axes, unit: AxisUnit) -> None:
    """Set up the horizontal axis of a cost whose values are in ``unit``."""
    formatter = ScalarFormatter(useOffset=False)
    formatter.set_scientific(False)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8))
    ax.xaxis.set_major_formatter(formatter)
    ax.set_xlabel(unit.label)


def bare(ax: Axes, *sides: str) -> None:
    """Hide the lines at some sides of axes."""
    for side in sides:
        ax.spines[side].set_visible(False)


def rows_axis(ax: Axes, names: Sequence[str], places: Sequence[float], size: float) -> None:
    """Set up a vertical axis of names, the first one at the top. Long names keep their end, which
    is the most specific part."""
    shown = ["\n".join(map(_short, name.splitlines())) for name in names]
    ax.set_yticks(list(places), shown, fontsize=size)
    ax.tick_params(axis="y", length=0, pad=4)
    bare(ax, "top", "right")
    ax.spines["left"].set_color(RULE)


def _short(name: str) -> str:
    shown = name if len(name) <= _LONGEST else "\N{HORIZONTAL ELLIPSIS}" + name[1 - _LONGEST :]
    return shown.replace("$", r"\$")
