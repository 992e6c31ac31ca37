"""Panel of a cost by stage of a network, divided among the streams."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import Patch

from tsdsl.analysis.costs.items import Grouping, cost_items, group_path
from tsdsl.plots.panel import bare, cost_axis, describe, drawn, headline, rows_axis
from tsdsl.plots.style import INK, MUTED, RULE, SMALL, TEXT, Look, looks
from tsdsl.plots.units import AxisUnit, percent

if TYPE_CHECKING:
    from tsdsl.analysis.distribution import DistributionLike
    from tsdsl.ir.graph import Path
    from tsdsl.ir.network import Network
    from tsdsl.space import Space

#: Cost of each part of a row: cells[row][first segment of the path].
Cells = dict[str, dict[str, float]]

#: Number of rows from which on they are drawn closer together.
_MANY = 24
#: Largest number of rows. The remaining ones are combined in one row.
_MOST = 120


class _Bars(NamedTuple):
    """The bars of one architecture, or of the mean: one in each row."""

    name: str
    cells: Cells
    total: float

    def of(self, row: str) -> float:
        return sum(self.cells.get(row, {}).values())


@dataclass(frozen=True)
class StagePanel:
    """Costs by stage before they are drawn."""

    bars: list[_Bars]
    rows: list[str]
    unit: AxisUnit
    looks: Mapping[str, Look]
    by: Grouping
    #: What the bars are about, for the title.
    subject: str

    @classmethod
    def of(
        cls,
        space: Space,
        cost: str = "macs",
        *,
        architecture: Mapping[str, Any] | None = None,
        distribution: DistributionLike = None,
        by: Grouping = "stage",
    ) -> StagePanel:
        of_space = architecture is None and bool(space.decisions)
        if of_space:
            by = "stage"
            ends = space.bounds(cost)
            bars = [
                _bars(space, cost, "min", ends.min.architecture, by),
                _mean(space, cost, distribution),
                _bars(space, cost, "max", ends.max.architecture, by),
            ]
        else:
            bars = [_bars(space, cost, "", architecture, by)]
        used = {first for b in bars for parts in b.cells.values() for first in parts}
        streams = list(space.graph.streams)
        rest: list[str] = [first for first in ("fuse", "attend", "head") if first in used]
        rest += sorted(used - {*streams, *rest})
        frozen = architecture is not None and bool(space.decisions)
        # The mean has all rows, in order.
        rows = _rows([*bars[1:2], *bars])
        if len(rows) > _MOST:
            rows = _shortened(bars, rows)
        return cls(
            bars,
            rows,
            AxisUnit.of(space.cost(cost), max(b.total for b in bars)),
            {first: look for first, look in looks(streams, rest).items() if first in used},
            by,
            f"one architecture of {space.name}" if frozen else space.name,
        )

    @property
    def height(self) -> float:
        """Height of the panel in inches."""
        many = len(self.rows) > _MANY
        if len(self.bars) == 1:
            return 0.95 + len(self.rows) * (0.19 if many else 0.26)
        return 0.95 + len(self.rows) * (0.36 if many else 0.46)

    def draw(self, ax: Axes) -> Axes:
        _draw(ax, self.unit, self.bars, self.rows, self.looks)
        handles = [
            Patch(
                facecolor=look.colour,
                hatch=look.hatch,
                edgecolor=look.edge,
                lw=look.line,
                label=look.name,
            )
            for look in self.looks.values()
        ]
        what = "kind of operation" if self.by == "op" else self.by
        facts = _facts(self.unit, self.bars)
        title = f"{self.unit.title} by {what}: {self.subject}"
        headline(ax, title, facts, handles if len(handles) > 1 else [])
        told = "; ".join(f"{row} {self._words(row)}" for row in self.rows)
        describe(ax, f"{self.unit.label} by {what}, {self.subject}. {facts}: {told}.")
        return ax

    def _words(self, row: str) -> str:
        return ", ".join(f"{b.name} {self.unit.number(b.of(row))}".strip() for b in self.bars)


def stages(
    space: Space,
    cost: str = "macs",
    ax: Axes | None = None,
    *,
    architecture: Mapping[str, Any] | None = None,
    distribution: DistributionLike = None,
    by: Grouping = "stage",
) -> Axes:
    """Draw a cost by stage, each bar divided among the streams, their fusion and attention.

    For one architecture (or a space without decisions) there is one bar in each row, and ``by``
    chooses other rows. For a space there are three: the architecture with the lowest cost, the mean
    under a distribution, and the architecture with the highest cost.
    """
    panel = StagePanel.of(space, cost, architecture=architecture, distribution=distribution, by=by)
    return drawn(panel, ax)


def _bars(
    space: Space, cost: str, name: str, architecture: Mapping[str, Any] | None, by: Grouping
) -> _Bars:
    network: Network = space.network(architecture)
    found = [
        (item.path, item.op, item.costs[0]) for item in cost_items(network, [space.cost(cost)])
    ]
    cells = _cells((path, group_path(path, op, by), value, by) for path, op, value in found)
    return _Bars(name, cells, sum(value for _, _, value in found))


def _mean(space: Space, cost: str, distribution: DistributionLike) -> _Bars:
    groups = space.breakdown(cost, "stage", distribution)
    cells = _cells(
        ((path := tuple(name.split("."))), path, value, "stage") for name, value in groups.items()
    )
    return _Bars("mean", cells, sum(groups.values()))


def _cells(found: Iterable[tuple[Path, Path, float, Grouping]]) -> Cells:
    cells: Cells = {}
    for path, group, value, by in found:
        # Stages of streams, fusions and attentions with the same name share a row.
        if by in ("stage", "block") and len(group) > 1:
            joint = group[0] in ("fuse", "attend")
            after = "after " if joint and by == "block" and group[2:] != ("stem",) else ""
            group = group[2 if joint else 1 :] if group[0] != "head" else group
            group = (after + group[0], *group[1:])
        row = cells.setdefault(".".join(group), {})
        first = path[0]
        row[first] = row.get(first, 0) + value
    return cells


def _rows(bars: Iterable[_Bars]) -> list[str]:
    """The rows in order of appearance, without rows that cost nothing, unless all do."""
    found = list(bars)
    every = dict.fromkeys(row for b in found for row in b.cells)
    costly = [row for row in every if any(b.of(row) for b in found)]
    return costly or list(every)


def _shortened(bars: Iterable[_Bars], rows: list[str]) -> list[str]:
    """The first rows, with the remaining ones combined in one."""
    others = rows[_MOST - 1 :]
    name = f"{len(others)} others"
    for bar in bars:
        sums: dict[str, float] = {}
        for row in others:
            for first, value in bar.cells.pop(row, {}).items():
                sums[first] = sums.get(first, 0) + value
        bar.cells[name] = sums
    return [*rows[: _MOST - 1], name]


def _draw(
    ax: Axes,
    unit: AxisUnit,
    bars: list[_Bars],
    rows: list[str],
    known: Mapping[str, Look],
) -> None:
    most = max((b.of(row) for b in bars for row in rows), default=0)
    thick = 0.68 if len(bars) == 1 else 0.25
    small = SMALL - (1.2 if len(rows) > _MANY else 0.6)
    for at, row in enumerate(rows):
        for number, bar in enumerate(bars):
            y = at + (number - (len(bars) - 1) / 2) * (thick + 0.03)
            parts = bar.cells.get(row, {})
            left = 0.0
            for first, look in known.items():
                value = parts.get(first, 0) / unit.scale
                if value > 0:
                    ax.barh(
                        y,
                        value,
                        thick,
                        left,
                        color=look.colour,
                        hatch=look.hatch,
                        edgecolor=look.edge,
                        lw=look.line,
                        zorder=3,
                    )
                left += value
            value = bar.of(row)
            said = unit.number(value)
            if len(bars) == 1:
                said += f"  {_share(value / bar.total)}" if bar.total else ""
            ax.annotate(
                said if not bar.name else f"{said}  {bar.name}",
                (left, y),
                (3, 0),
                textcoords="offset points",
                va="center_baseline",
                fontsize=small,
                bbox={"fc": "white", "ec": "none", "pad": 0.4},
                zorder=2,
                color=INK if bar.name in ("", "mean") else MUTED,
            )
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlim(0, (most / unit.scale or 1.0) * 1.16)
    size = TEXT - (1.5 if len(rows) > _MANY else 0)
    rows_axis(ax, rows, range(len(rows)), size)
    bare(ax, "bottom")
    ax.grid(axis="x", color=RULE, lw=0.4, zorder=0)
    ax.tick_params(axis="x", length=0)
    cost_axis(ax, unit)


def _facts(unit: AxisUnit, bars: list[_Bars]) -> str:
    if len(bars) == 1:
        return f"{unit.text(bars[0].total)} in total"
    least, mean, most = (unit.number(b.total) for b in bars)
    return (
        f"min: the cheapest architecture, {least} in total; mean of the distribution, {mean};"
        f" max: the most expensive, {most} {unit.short}"
    )


def _share(share: float) -> str:
    return percent(share) if share >= 0.0005 or not share else "<0.1%"
