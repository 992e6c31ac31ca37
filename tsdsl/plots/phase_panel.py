"""Panel of a cost in each phase of a progressive search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from tsdsl.plots.panel import bare, cost_axis, describe, drawn, headline, rows_axis
from tsdsl.plots.style import DARK, INK, MUTED, RULE, SMALL, WINDOW
from tsdsl.plots.units import AxisUnit

if TYPE_CHECKING:
    from tsdsl.analysis.costs.cost import Cost
    from tsdsl.analysis.distribution import DistributionLike
    from tsdsl.analysis.elimination.phases import PhaseCost
    from tsdsl.space import Space


@dataclass(frozen=True)
class PhasePanel:
    """Costs in the phases of a search, before they are drawn."""

    space: str
    streams: tuple[str, ...]
    cost: Cost
    found: Sequence[PhaseCost]

    @classmethod
    def of(
        cls, space: Space, cost: str = "macs", *, distribution: DistributionLike = None
    ) -> PhasePanel:
        found = space.phases(cost, distribution)
        if not found:
            raise ValueError(f"the search section of {space.name} has no phases")
        return cls(space.name, tuple(space.graph.streams), space.cost(cost), found)

    @property
    def height(self) -> float:
        """Height of the panel in inches."""
        return 1.05 + 0.36 * len(self.found)

    def draw(self, ax: Axes) -> Axes:
        values = [value for phase in self.found for value in _values(phase)]
        most, least = max(values, default=0.0), min(values, default=0.0)
        unit = AxisUnit.of(self.cost, most)
        margin = (most - least) / 25 or abs(most) / 10 or unit.scale
        # Space on the right for the numbers of a row.
        ax.set_xlim((least - margin) / unit.scale, (most + 5 * margin) / unit.scale)
        for at, phase in enumerate(self.found):
            _row(ax, unit, phase, at)
        ax.set_ylim(len(self.found) - 0.45, -0.55)
        names = [
            phase.name
            if phase.streams == self.streams
            else f"{phase.name}\n({', '.join(phase.streams)} only)"
            for phase in self.found
        ]
        rows_axis(ax, names, range(len(self.found)), SMALL + 0.5)
        bare(ax, "bottom")
        ax.grid(axis="x", color=RULE, lw=0.4, zorder=0)
        ax.tick_params(axis="x", length=0)
        cost_axis(ax, unit)
        handles: list[Patch | Line2D] = [
            Line2D([], [], color=DARK, marker="o", ms=4.5, mfc="white", lw=4, label="mean ± std"),
            Line2D([], [], color=DARK, marker="|", ms=6, lw=0.8, label="minimum to maximum"),
        ]
        if any(phase.budgets for phase in self.found):
            handles.append(Patch(facecolor=WINDOW, alpha=0.6, label="budget of the expected cost"))
        title = f"{unit.title} in the phases of the search: {self.space}"
        whole = all(phase.streams == self.streams for phase in self.found)
        headline(ax, title, _FACTS if whole else f"{_FACTS}; {_ABSENT}", handles)
        lines = " ".join(_words(unit, phase) for phase in self.found)
        describe(ax, f"{unit.label} in each phase of the search of {self.space}. {lines}")
        return ax


_FACTS = (
    "what a phase learns follows the distribution; what came before stands at its most probable"
    " option, the rest at its default"
)
_ABSENT = "where streams are absent, the head counts as in the whole network"


def phases(
    space: Space,
    cost: str = "macs",
    ax: Axes | None = None,
    *,
    distribution: DistributionLike = None,
) -> Axes:
    """Draw the range of a cost in each phase of the search section: a line from minimum to maximum,
    thick within one standard deviation of the mean, which is a dot; budgets are shaded. See
    `Space.phases` for what exists in a phase. Raises `ValueError` if the spec has no phases."""
    panel = PhasePanel.of(space, cost, distribution=distribution)
    return drawn(panel, ax)


def _values(phase: PhaseCost) -> list[float]:
    """All values of a phase that the axis has to include."""
    own = [phase.min, phase.max, phase.mean]
    ends = [end for budget in phase.budgets for end in (budget.low, budget.high)]
    return [float(value) for value in (*own, *ends) if value is not None]


def _row(ax: Axes, unit: AxisUnit, phase: PhaseCost, at: int) -> None:
    for budget in phase.budgets:
        low, high = budget.low / unit.scale, budget.high / unit.scale
        shade = Rectangle((low, at - 0.4), high - low, 0.8, fc=WINDOW, alpha=0.6, lw=0, zorder=1)
        ax.add_patch(shade)
        for end in (low, high):
            ax.plot([end, end], [at - 0.4, at + 0.4], color=MUTED, lw=0.6, zorder=1.5)
    if phase.mean is None or phase.min is None or phase.max is None:
        ax.annotate(
            "no architecture keeps the requirements in this phase",
            (0.01, at),
            xycoords=ax.get_yaxis_transform(),
            va="center",
            fontsize=SMALL,
            bbox={"fc": "white", "ec": "none", "pad": 1.5},
        )
        return
    mean, low, high = (value / unit.scale for value in (phase.mean, phase.min, phase.max))
    std = (phase.std or 0.0) / unit.scale
    ax.plot([low, high], [at, at], "|-", color=DARK, lw=0.8, ms=6, zorder=3)
    ends = [max(mean - std, low), min(mean + std, high)]
    ax.plot(ends, [at, at], color=DARK, lw=4.5, solid_capstyle="butt", zorder=4)
    ax.plot([mean], [at], "o", mfc="white", mec=INK, mew=0.9, ms=4.6, zorder=5)
    ax.annotate(
        f"{unit.number(phase.mean)} ± {unit.number(phase.std or 0.0)}",
        (high, at),
        (6, 0),
        textcoords="offset points",
        va="center_baseline",
        fontsize=SMALL,
        zorder=6,
    )


def _words(unit: AxisUnit, phase: PhaseCost) -> str:
    budgets = " and ".join(f"{unit.number(b.low)} to {unit.text(b.high)}" for b in phase.budgets)
    said = f", budget {budgets}" if budgets else ""
    if phase.mean is None or phase.min is None or phase.max is None:
        return f"{phase.name}: no architecture{said}."
    mean, std = unit.number(phase.mean), unit.number(phase.std or 0.0)
    ends = f"{unit.number(phase.min)} to {unit.text(phase.max)}"
    return f"{phase.name}: mean {mean}, standard deviation {std}, {ends}{said}."
