"""A search over time: curves of its losses and costs, and the probability of every option.

With few options, each has a row with its name. With many, decisions have names, rows are thin, and
decisions are arranged in columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from tsdsl.analysis.costs.cost import Cost
from tsdsl.analysis.costs.cost_table import CostTable
from tsdsl.analysis.costs.named import counted
from tsdsl.ir.space import path_prefixes
from tsdsl.plots.inline_figure import InlineFigure
from tsdsl.plots.panel import bare, describe
from tsdsl.plots.style import DARK, INK, LIGHT, MUTED, RULE, SMALL, TEXT, TITLE, WINDOW, settings
from tsdsl.plots.units import AxisUnit, plain
from tsdsl.searching.alpha_image import colours
from tsdsl.searching.history import History, PastPhase

#: Largest number of options that each have a name, and of options in a column if there are more.
_NAMED, _COLUMN = 90, 200
#: Inches: height of a row with and without names; gap between decisions.
_ROW, _THIN, _GAP = 0.135, 0.05, 0.06
_LETTER, _MAP, _MARGIN = 0.058, 4.0, 0.25
#: Inches: smallest height of a decision, which is that of its name.
_NAME = 0.105
#: Inches: height of a curve, and the space above it.
_CURVE, _ABOVE = 1.0, 0.42
#: Inches: space above the maps (title, legend, phases) and below them (axis).
_HEAD, _FOOT = 0.85, 0.45
#: Width of a map in pixels.
_PIXELS = 800
#: Characters of a name that are shown.
_LONGEST = 34


class NoSuchDecision(ValueError):
    """No decision of the search begins with a path that was asked for."""


def search(history: History, only: Sequence[str] = ()) -> Figure:
    """A figure of a search over time: curves of losses and costs, and a map of the distribution.

    ``only``: paths of decisions or beginnings of them (``sparse.s2``); empty for all. Raises
    `NoSuchDecision` if one matches no decision.
    """
    columns, named = _columns(history, _wanted(history, only))
    letters = max(_letters(history, group, named) for column in columns for group in column)
    name = max(letters * _LETTER + 0.15, 0.75)
    wide = name + _MAP + _MARGIN
    width = max(wide * len(columns), 7.2)
    tall = max(column[-1].bottom for column in columns)
    curves = _curves(history)
    per_row = 2 if len(columns) < 3 else 4
    above = ceil(len(curves) / per_row) * (_CURVE + _ABOVE) + 0.4
    height = above + _HEAD + tall + _FOOT
    with settings():
        figure = InlineFigure(figsize=(width, height))

        def axes(left: float, top: float, across: float, down: float) -> Axes:
            """Add axes at a position in inches from the upper left corner."""
            place = left / width, 1 - (top + down) / height, across / width, down / height
            return figure.add_axes(place)

        figure.text(
            0.12 / width,
            1 - 0.12 / height,
            f"Search of {plain(history.space)}",
            fontsize=TITLE + 1,
            fontweight="bold",
            va="top",
        )
        room = width / per_row
        for at, curve in enumerate(curves):
            row, column = divmod(at, per_row)
            top = 0.4 + row * (_CURVE + _ABOVE) + _ABOVE - 0.15
            curve.draw(axes(column * room + 0.65, top, room - 0.85, _CURVE - 0.1), history)
        for at, groups in enumerate(columns):
            left = (width - wide * len(columns)) / 2 if len(columns) == 1 else 0.0
            ax = axes(left + at * wide + name, above + _HEAD, _MAP, groups[-1].bottom)
            _map(ax, history, groups, named)
            if at == 0:
                _legend(figure, ax, history)
    return figure


# ---------------------------------------------------------------- curves


@dataclass(frozen=True)
class _Curve:
    title: str
    #: Name, steps, values, colour and style of each line. A band has two rows of values.
    lines: tuple[tuple[str, list[int], Any, str, str], ...]
    #: Range that is shaded in each phase.
    windows: tuple[tuple[PastPhase, float, float], ...] = ()
    #: Whether values are shares from 0 to 1.
    share: bool = False

    def draw(self, ax: Axes, history: History) -> None:
        for phase, low, high in self.windows:
            shade = Rectangle(
                (phase.first, low), phase.steps, high - low, fc=WINDOW, alpha=0.6, lw=0, zorder=1
            )
            ax.add_patch(shade)
        for name, steps, values, colour, style in self.lines:
            marker = "." if len(steps) < 30 else ""
            for k, phase in enumerate(history.phases):
                last = phase.first + phase.steps
                own = [n for n, step in enumerate(steps) if phase.first < step <= last]
                ax.plot(
                    [steps[n] for n in own],
                    np.array([values[n] for n in own], np.float64),
                    style,
                    color=colour,
                    lw=1.0,
                    ms=3,
                    marker=marker,
                    label=name if k == 0 else "_",
                )
        _time(ax, history, below=False)
        ax.margins(y=0.1)
        if self.share:
            ax.set_ylim(-0.05, 1.05)
        ax.grid(axis="y", color=RULE, lw=0.4)
        ax.yaxis.set_major_locator(MaxNLocator(nbins=4))
        bare(ax, "top", "right")
        ax.tick_params(length=2)
        ax.set_title(self.title, fontsize=TEXT, fontweight="bold", pad=12)
        if len(self.lines) > 1 or self.windows:
            named = {line.get_label(): line for line in ax.get_lines()}
            handles = [named[line[0]] for line in self.lines]
            shades = [Patch(fc=WINDOW, alpha=0.6, label="budget")] if self.windows else []
            legend = ax.legend(
                handles=[*handles, *shades],
                loc="lower left",
                bbox_to_anchor=(-0.01, 0.98),
                ncols=4,
                frameon=False,
                fontsize=SMALL - 1,
                handlelength=1.4,
                columnspacing=1.0,
                borderaxespad=0.0,
                borderpad=0.0,
            )
            legend.set_in_layout(False)
        words = [f"{name} from {_ends(values)}" for name, _, values, _, _ in self.lines if values]
        describe(ax, f"{self.title}: {', '.join(words) or 'nothing yet'}.")


def _ends(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{known[0]:.3g} to {known[-1]:.3g}" if known else "nothing"


def _curves(history: History) -> list[_Curve]:
    lines = history.events.get("step", [])
    steps = [int(line["step"]) for line in lines]
    made = [
        _Curve("Loss", (("loss", steps, [line.get("loss") for line in lines], DARK, "-"),)),
        _Curve(
            "Entropy (nats)",
            (("entropy", steps, [line.get("entropy") for line in lines], DARK, "-"),),
        ),
    ]
    names = dict.fromkeys(name for line in lines for name in line.get("expected", {}))
    for name in names:
        rows = [
            [(line.get(key) or {}).get(name) for line in lines]
            for key in ("expected", "most_probable")
        ]
        ends = [
            (p, low, high) for p in history.phases for cost, low, high in p.budgets if cost == name
        ]
        known = [v for row in rows for v in row if v is not None]
        unit = AxisUnit.of(_cost(name), max(known, default=1))
        shown = [[None if v is None else v / unit.scale for v in row] for row in rows]
        made.append(
            _Curve(
                unit.label,
                (
                    ("expected", steps, shown[0], DARK, "-"),
                    ("most probable", steps, shown[1], LIGHT, "--"),
                ),
                tuple((p, low / unit.scale, high / unit.scale) for p, low, high in ends),
            )
        )
    found = [line for line in history.events.get("distribution", []) if line.get("mass")]
    if found:
        at = [int(line["step"]) for line in found]
        middle = [sum(line["mass"]) / 2 for line in found]
        lines_ = (("mass", at, middle, DARK, "-"),)
        made.append(_Curve("Probability inside the budgets", lines_, share=True))
    return made


def _cost(name: str) -> Cost:
    """The cost of a budget, for its axis. A run keeps the names of its costs; those that are
    measured are in nanoseconds."""
    return counted(name) or CostTable(name, "ns", {})


def _time(ax: Axes, history: History, below: bool) -> None:
    """The axis of steps, with the ends of phases marked."""
    ax.set_xlim(0, history.total)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    for phase in history.phases[1:]:
        ax.axvline(phase.first, color=INK, lw=0.7, zorder=4)
    if below:
        ax.set_xlabel("step")


# ---------------------------------------------------------------- maps


@dataclass(frozen=True)
class _Group:
    """A decision in a column: its index, the indices of its options in the map, its height in
    inches."""

    decision: int
    first: int
    count: int
    top: float
    row: float

    @property
    def bottom(self) -> float:
        return self.top + self.count * self.row


def _wanted(history: History, only: Sequence[str]) -> list[int]:
    paths = [path for path, _ in history.decisions]
    for asked in only:
        if not any(asked in path_prefixes(path) for path in paths):
            raise NoSuchDecision(f"no decision begins with '{asked}'")
    return [k for k, path in enumerate(paths) if not only or path_prefixes(path) & set(only)]


def _columns(history: History, wanted: Sequence[int]) -> tuple[list[list[_Group]], bool]:
    """Distribute the decisions over columns of about equal height; also returns whether options
    have names."""
    counts = [len(options) for _, options in history.decisions]
    starts = np.cumsum([0, *counts])
    options = sum(counts[k] for k in wanted)
    named = options <= _NAMED
    rows = [_ROW if named else max(_THIN, _NAME / counts[k]) for k in wanted]
    whole = sum(counts[k] * row + _GAP for k, row in zip(wanted, rows, strict=True))
    number = 1 if named else ceil(options / _COLUMN)
    made: list[list[_Group]] = [[]]
    at = 0.0
    for k, row in zip(wanted, rows, strict=True):
        if at >= whole / number and len(made) < number:
            made.append([])
            at = 0.0
        made[-1].append(_Group(k, int(starts[k]), counts[k], at, row))
        at = made[-1][-1].bottom + _GAP
    return made, named


def _letters(history: History, group: _Group, named: bool) -> int:
    path, options = history.decisions[group.decision]
    if not named:
        return len(_short(path))
    return max(len(_short(path)) + 2 + len(_short(options[0])), *map(len, map(_short, options)))


def _map(ax: Axes, history: History, groups: Sequence[_Group], named: bool) -> None:
    bottom = groups[-1].bottom
    shown = colours(history.p_OM, history.learned_OM)
    moment, known = _moments(history)
    chosen = history.chosen()
    for group in groups:
        rows = shown[group.first : group.first + group.count][:, moment]
        rows[:, ~known] = 255
        extent = (0, history.total, group.bottom, group.top)
        ax.imshow(rows, aspect="auto", extent=extent, interpolation="nearest", zorder=2)
        frame = Rectangle(
            (0, group.top),
            history.total,
            group.bottom - group.top,
            fc="none",
            ec=MUTED,
            lw=0.4,
            zorder=3,
        )
        ax.add_patch(frame)
        best = group.top + (chosen[group.decision] + 0.5) * group.row
        ax.plot([history.total * 1.012], [best], "<", color=DARK, ms=2.6, mew=0, clip_on=False)
        path, options = history.decisions[group.decision]
        name = _short(path).replace("$", r"\$")
        if named:
            for k, option in enumerate(options):
                y = group.top + (k + 0.5) * group.row
                bold = {"fontweight": "bold"} if k == chosen[group.decision] else {}
                _left(ax, _short(option).replace("$", r"\$"), y, SMALL - 0.5, INK, -3, **bold)
            longest = max(len(_short(option)) for option in options)
            _left(ax, name, group.top + group.row / 2, SMALL - 0.5, MUTED, -3 - longest * 4.3 - 5)
        else:
            _left(ax, name, (group.top + group.bottom) / 2, SMALL - 1, INK, -3)
    _time(ax, history, below=True)
    ax.set_ylim(bottom, 0)
    ax.set_yticks([])
    bare(ax, "top", "right", "left", "bottom")
    ax.tick_params(axis="x", length=2)
    for phase in history.phases:
        ax.annotate(
            _fitting(phase.name, phase.steps / history.total * _MAP),
            (phase.first, 0),
            (1.5, 3),
            xycoords="data",
            textcoords="offset points",
            fontsize=SMALL,
            color=INK,
            fontweight="bold",
        )
    words = [f"{path}: {options[chosen[k]]}" for k, (path, options) in enumerate(history.decisions)]
    describe(
        ax,
        f"The probability of every option over {history.total} steps. Most probable at step"
        f" {history.steps_M[-1]}: {'; '.join(words)}.",
    )


def _moments(history: History) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """For each pixel of a map, the index of the nearest record of its phase, and whether it is
    after the first record."""
    at = (np.arange(_PIXELS) + 0.5) * history.total / _PIXELS
    steps = history.steps_M
    found: NDArray[np.int64] = np.zeros(_PIXELS, np.int64)
    for phase in history.phases:
        end = phase.first + phase.steps
        own = np.flatnonzero((steps > (phase.first or -1)) & (steps <= end))
        if len(own):
            pixels = (at > phase.first) & (at <= end)
            middles = (steps[own][1:] + steps[own][:-1]) / 2
            found[pixels] = own[np.searchsorted(middles, at[pixels])]
    return found, at <= steps[-1]


def _left(
    ax: Axes, text: str, y: float, size: float, colour: str, points: float, **more: Any
) -> None:
    """Write text to the left of the axes."""
    ax.annotate(
        text,
        (0, y),
        (points, 0),
        xycoords=ax.get_yaxis_transform(),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=size,
        color=colour,
        annotation_clip=False,
        **more,
    )


def _legend(figure: Figure, ax: Axes, history: History) -> None:
    learned, stands = (
        tuple(c / 255 for c in colours(np.ones((1, 1)), np.full((1, 1), way))[0, 0].tolist())
        for way in (True, False)
    )
    place = ax.get_position()
    height = figure.get_figheight()
    shown = [
        Patch(fc=learned, label="probability 1, learned in the phase"),
        Patch(fc=stands, label="probability 1, stands"),
        Patch(fc="white", ec=RULE, label="0"),
    ]
    figure.legend(
        handles=shown,
        loc="lower left",
        bbox_to_anchor=(0.12 / figure.get_figwidth(), place.y1 + 0.2 / height),
        ncols=4,
        frameon=False,
        fontsize=SMALL,
        borderaxespad=0.0,
        handlelength=1.2,
    )
    ax.set_title(
        "Probability of every option over time",
        x=-(place.x0 * figure.get_figwidth() - 0.12) / _MAP,
        pad=0.42 * 72,
    )


def _fitting(name: str, inches: float) -> str:
    room = max(int(inches / _LETTER), 1)
    shown = name if len(name) <= room else name[: max(room - 1, 1)] + "\N{HORIZONTAL ELLIPSIS}"
    return shown.replace("$", r"\$")


def _short(name: str) -> str:
    """The end of a long name, which is its most specific part."""
    return name if len(name) <= _LONGEST else "\N{HORIZONTAL ELLIPSIS}" + name[1 - _LONGEST :]
