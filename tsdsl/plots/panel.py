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

from tsdsl.plots.style import MUTED, RULE, SMALL, TITLE, WIDTH, settings
from tsdsl.plots.units import AxisUnit

#: Points from the axes up: the legend's line, the facts, the title.
_LINE = 11.5
#: Another line of facts.
_FURTHER = 8.4
_ABOVE = 3.0
#: Inches of a small character, on average.
_CHARACTER = 0.0505
#: Inches of a letter of a row's name, and left of axes without such names.
_LETTER = 0.06
_LEFT = 0.85
#: Characters of a row's name that are shown.
_LONGEST = 26
#: Characters of a line, however narrow the axes are.
_LEAST = 20
#: Characters that the key of a legend is as wide as, with its spaces.
_KEY = 6.5


class Panel(Protocol):
    """All that it shows is computed; ``height`` in inches."""

    @property
    def height(self) -> float: ...

    def draw(self, ax: Axes) -> Axes: ...


def drawn(panel: Panel, ax: Axes | None) -> Axes:
    """A panel in these axes, as they are set up; without, in a figure of its own."""
    if ax is not None:
        return panel.draw(ax)
    with settings():
        figure = Figure(figsize=(WIDTH, panel.height), layout="constrained")
        made = panel.draw(figure.add_subplot())
        settle(figure)
    return made


def settle(figure: Figure) -> None:
    """Lay it out for good. Each time moves things a little, from where they stand then: a second
    time they fit, and further times would not give the same file."""
    engine = figure.get_layout_engine()
    assert engine is not None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        for _ in range(2):
            engine.execute(figure)
    figure.set_layout_engine("none")


def headline(ax: Axes, title: str, facts: str, handles: Sequence[Artist]) -> None:
    """Title, facts and legend, from the top down to the axes, in as many lines as they need."""
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
        # The title makes room for all of it.
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
    """About how many small characters fit above axes. The layout comes later: what is known is the
    part of the figure that they share, and the names of rows that stand left of them, or of other
    axes that they are aligned with."""
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
    """Of a legend, by the characters that its labels and their keys need. It fills columns from the
    first on, which are longer if there is a remainder."""
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
    """What a panel shows, in words."""
    ax.set_label(text)


def described(figure: Figure) -> tuple[str, str]:
    """The title and the description of a figure: those of its panels."""
    panels = [ax for ax in figure.axes if ax.get_title(loc="left")]
    titles = [ax.get_title(loc="left") for ax in panels]
    words = [str(ax.get_label()) for ax in panels]
    return (
        "; ".join(titles).replace(r"\$", "$"),
        " ".join(words).replace(r"\$", "$"),
    )


def cost_axis(ax: Axes, unit: AxisUnit) -> None:
    """The horizontal axis of a cost, whose values are in ``unit`` already."""
    formatter = ScalarFormatter(useOffset=False)
    formatter.set_scientific(False)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8))
    ax.xaxis.set_major_formatter(formatter)
    ax.set_xlabel(unit.label)


def bare(ax: Axes, *sides: str) -> None:
    """Without the lines of these sides."""
    for side in sides:
        ax.spines[side].set_visible(False)


def rows_axis(ax: Axes, names: Sequence[str], places: Sequence[float], size: float) -> None:
    """A vertical axis of names, the first one at the top. Of a long name, the end says most."""
    shown = ["\n".join(map(_short, name.splitlines())) for name in names]
    ax.set_yticks(list(places), shown, fontsize=size)
    ax.tick_params(axis="y", length=0, pad=4)
    bare(ax, "top", "right")
    ax.spines["left"].set_color(RULE)


def _short(name: str) -> str:
    shown = name if len(name) <= _LONGEST else "\N{HORIZONTAL ELLIPSIS}" + name[1 - _LONGEST :]
    return shown.replace("$", r"\$")
