"""Panel of the histogram of a cost over the architectures of a space."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite
from typing import TYPE_CHECKING, NamedTuple

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tsdsl.plots.panel import bare, cost_axis, describe, drawn, headline
from tsdsl.plots.style import DARK, INK, LIGHT, MUTED, WINDOW
from tsdsl.plots.units import AxisUnit, percent, short

if TYPE_CHECKING:
    from tsdsl.analysis.costs.cost import Cost
    from tsdsl.analysis.distribution import DistributionLike
    from tsdsl.analysis.elimination.expectation import Moments
    from tsdsl.analysis.windows.window import Between, Histogram, Weighting
    from tsdsl.space import Space

BINS = 100
#: Quantiles at the ends of the thin and the thick part of the summary, and the median between them.
_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
#: As shares of the height of the axes: top of the bars, first line of the summaries, distance of
#: the next.
_BARS, _FIRST, _NEXT = 0.80, 0.94, 0.07
#: Smallest width of a visible band, as a share of the highest bar.
_VISIBLE = 0.004


class _Outline(NamedTuple):
    """The histogram and summary of a cost under one weighting."""

    name: str
    #: Whether all architectures have equal weight.
    alike: bool
    histogram: Histogram
    quantiles: list[Between]
    moments: Moments

    @classmethod
    def of(
        cls,
        space: Space,
        cost: str,
        bins: int,
        weighting: Weighting,
        name: str,
        moments: Moments,
    ) -> _Outline:
        histogram = space.histogram(cost, bins, weighting)
        quantiles = space.quantiles(cost, _SHARES, weighting)
        return cls(name, weighting == "architectures", histogram, quantiles, moments)

    @property
    def colour(self) -> str:
        return LIGHT if self.alike else DARK


@dataclass(frozen=True)
class SpreadPanel:
    """Histograms of a cost, computed and not drawn."""

    space: str
    cost: Cost
    ends: tuple[int, int]
    #: The outline under the distribution, and the one with equal weights if it differs. Empty if
    #: all architectures have the same cost.
    outlines: list[_Outline]
    window: tuple[float, float] | None
    #: Text about the window.
    said: str
    share: Between | None

    height = 2.75

    @classmethod
    def of(
        cls,
        space: Space,
        cost: str = "macs",
        *,
        window: tuple[float, float] | None = None,
        window_name: str = "window",
        distribution: DistributionLike = None,
        uniform: bool = True,
        bins: int = BINS,
    ) -> SpreadPanel:
        asked = space.cost(cost)
        bounds = space.bounds(cost)
        low, high = int(bounds.min.value), int(bounds.max.value)
        outlines: list[_Outline] = []
        if low < high:
            given = space.distribution(distribution)
            initial = (given.flat == space.distribution().flat).all()
            named = "initial distribution" if initial else "given distribution"
            means = space.query_cache.expectation(asked)
            outlines.append(_Outline.of(space, cost, bins, given, named, means.moments(given)))
            if uniform:
                named = "uniform distribution"
                moments = means.uniform_moments()
                every = _Outline.of(space, cost, bins, "architectures", named, moments)
                # An equal outline would hide the first one.
                if abs(outlines[0].histogram.share - every.histogram.share).max() > 1e-9:
                    outlines.append(every)
        said, share = "", None
        if window is not None:
            said = f"{window_name} {_ends(asked, window)}"
            if outlines and window[0] <= window[1]:
                share = space.mass(distribution, within={cost: window})
        return cls(space.name, asked, (low, high), outlines, window, said, share)

    def draw(self, ax: Axes) -> Axes:
        low, high = self.ends
        unit = (
            AxisUnit.between(self.cost, low, high) if low < high else AxisUnit.of(self.cost, high)
        )
        title = f"{unit.title} of the architectures of {self.space}"
        if not self.outlines:
            return _single(ax, title, unit, low, self.window, self.said)
        first = self.outlines[0]
        top = max(max(o.histogram.high.max(), o.histogram.share.max()) for o in self.outlines)
        ax.set_ylim(0, top / _BARS)
        margin = (high - low) / 50
        ax.set_xlim(unit.place(low - margin), unit.place(high + margin))
        handles: list[Patch | Line2D] = []
        for at, outline in enumerate(self.outlines):
            handles += _bars(ax, unit, outline, top, filled=at == 0)
            _summary(ax, unit, outline, self.ends, _FIRST - at * _NEXT)
        said = ""
        if self.window is not None:
            said = f"{self.said}: {'none' if self.share is None else _between(self.share)}"
            handles.append(_shade(ax, unit, self.window, said))
        ax.yaxis.set_major_locator(MaxNLocator(nbins=4))
        ax.yaxis.set_major_formatter(
            FuncFormatter(lambda y, _: f"{100 * y:.3g}%" if y <= top else "")
        )
        bins = len(first.histogram.share)
        ax.set_ylabel(
            f"share per {unit.size((high - low) / bins)} {unit.short}".strip(), y=_BARS / 2
        )
        bare(ax, "top", "right", "left")
        ax.tick_params(axis="y", length=0)
        cost_axis(ax, unit)
        quantiles = first.quantiles
        facts = (
            f"{first.name}: mean {unit.number(first.moments.mean)}"
            f" ± {unit.size(first.moments.variance**0.5)},"
            f" median {_near(unit, quantiles[2])},"
            f" 90% from {_near(unit, quantiles[0])} to {_near(unit, quantiles[4])};"
            f" all: {unit.number(low)} to {unit.text(high)}"
        )
        headline(ax, title, facts, handles)
        exact = all(o.histogram.exact for o in self.outlines)
        subject = f"{unit.label} over the architectures of {self.space}"
        more = f"; {said} of the {first.name}" if said else ""
        how = "exact" if exact else "with proven bounds"
        describe(ax, f"Histogram of {subject}, {how}, in {bins} bins. {facts}{more}.")
        return ax


def spread(
    space: Space,
    cost: str = "macs",
    ax: Axes | None = None,
    *,
    window: tuple[float, float] | None = None,
    distribution: DistributionLike = None,
    uniform: bool = True,
    bins: int = BINS,
) -> Axes:
    """Draw a histogram of a cost over all architectures, weighted by a distribution (default: the
    initial one), and with ``uniform`` a second one with equal weights.

    Where shares are not exact, a band goes from the proven lower to the proven upper bound.
    ``window`` (in the unit of the cost) is shaded, and its probability under the distribution is
    written beside it. Above the bars there is a line for each weighting: from minimum to maximum,
    thicker from the 5% to the 95% quantile, thickest from the first to the third quartile. The
    white mark is the median, the dot the mean.
    """
    panel = SpreadPanel.of(
        space, cost, window=window, distribution=distribution, uniform=uniform, bins=bins
    )
    return drawn(panel, ax)


def _bars(
    ax: Axes, unit: AxisUnit, outline: _Outline, top: float, filled: bool
) -> list[Patch | Line2D]:
    """Draw the outline, and the band of proven bounds where it is visible."""
    histogram, colour = outline.histogram, outline.colour
    edges = unit.place(histogram.edges)
    handles: list[Patch | Line2D] = []
    if filled:
        ax.stairs(histogram.share, edges, fill=True, color=colour, alpha=0.22, lw=0, zorder=2)
    style = (0, (3, 1.2)) if outline.alike else "-"
    ax.stairs(histogram.share, edges, color=colour, lw=1.1, ls=style, zorder=4)
    face = "#cddae4" if filled else "none"
    if filled:
        handles.append(Patch(facecolor=face, edgecolor=colour, lw=1.1, label=outline.name))
    else:
        handles.append(Line2D([], [], color=colour, lw=1.2, ls=style, label=outline.name))
    if (histogram.high - histogram.low).max() > _VISIBLE * top:
        ax.stairs(
            histogram.high,
            edges,
            baseline=histogram.low,
            fill=True,
            color=colour,
            alpha=0.4,
            lw=0,
            zorder=3,
        )
        if filled:
            handles.append(Patch(facecolor=colour, alpha=0.5, label="proven bounds"))
    return handles


def _summary(
    ax: Axes, unit: AxisUnit, outline: _Outline, ends: tuple[int, int], height: float
) -> None:
    """Draw the summary of one weighting as a line above the bars."""
    place = ax.get_xaxis_transform()
    fifth, quarter, median, three, last = (unit.place(q.estimate) for q in outline.quantiles)
    low, high = (unit.place(end) for end in ends)
    for left, right, width in ((low, high, 0.8), (fifth, last, 2.6), (quarter, three, 5.6)):
        ax.plot(
            [left, right],
            [height, height],
            color=outline.colour,
            lw=width,
            solid_capstyle="butt",
            transform=place,
            zorder=5,
        )
    ends_shown = [low, high]
    ax.plot(ends_shown, [height] * 2, "|", color=outline.colour, ms=5, transform=place, zorder=5)
    ax.plot([median], [height], "|", color="white", ms=5, mew=1.2, transform=place, zorder=6)
    dot = ax.plot(
        [unit.place(outline.moments.mean)], [height], "o", ms=3.6, transform=place, zorder=7
    )
    dot[0].set(markerfacecolor="white", markeredgecolor=INK, markeredgewidth=0.8)


def _shade(ax: Axes, unit: AxisUnit, window: tuple[float, float], label: str) -> Patch:
    """Shade a window. Parts outside of the axes and empty windows are not drawn."""
    left, right = ax.get_xlim()
    low, high = (min(max(unit.place(end), left), right) for end in window)
    if window[0] <= window[1] and low < right and high > left:
        ax.axvspan(low, high, color=WINDOW, alpha=0.35, lw=0, zorder=1)
        for end in (low, high):
            if left < end < right:
                ax.axvline(end, color=MUTED, lw=0.6, zorder=1.5)
    return Patch(facecolor=WINDOW, alpha=0.35, label=label)


def _single(
    ax: Axes,
    title: str,
    unit: AxisUnit,
    only: int,
    window: tuple[float, float] | None,
    chosen: str,
) -> Axes:
    """Draw the panel of a space whose architectures all have the same cost."""
    value = only / unit.scale
    ax.set_xlim((value / 2, value * 1.5) if value else (-0.05, 1.0))
    ax.set_ylim(0, 1 / _BARS)
    ax.plot([value, value], [0, 1], color=DARK, lw=2.2, solid_capstyle="butt", zorder=4)
    ax.set_yticks([0, 0.5, 1], ["0%", "50%", "100%"])
    ax.set_ylabel("share")
    bare(ax, "top", "right", "left")
    ax.tick_params(axis="y", length=0)
    handles: list[Patch | Line2D] = []
    if window is not None:
        inside = window[0] <= only <= window[1]
        said = f"{chosen}: {'all' if inside else 'none'}"
        handles.append(_shade(ax, unit, window, said))
    cost_axis(ax, unit)
    facts = f"all cost the same: {unit.text(only)}"
    headline(ax, title, facts, handles)
    describe(ax, f"{title}: {facts}.")
    return ax


def _near(unit: AxisUnit, found: Between) -> str:
    """A quantile as text, with "about" if it is not exact."""
    return ("" if found.exact else "\N{ALMOST EQUAL TO}") + unit.number(found.estimate)


def _between(share: Between) -> str:
    low, high = percent(share.low), percent(share.high)
    return low if low == high else f"{low} to {high}"


def _ends(cost: Cost, window: tuple[float, float]) -> str:
    """A window as text in its own unit, without trailing zeros."""
    low, high = window
    if not isfinite(low) and not isfinite(high):
        return "of everything"
    units = [AxisUnit.of(cost, end) if isfinite(end) else None for end in window]
    shown = [
        "" if unit is None else f"{short(end / unit.scale)} {unit.short}".strip()
        for end, unit in zip(window, units, strict=True)
    ]
    if low == -inf:
        return f"up to {shown[1]}"
    if high == inf:
        return f"from {shown[0]}"
    first = shown[0].partition(" ")[0] if low == 0 or units[0] == units[1] else shown[0]
    return f"{first} to {shown[1]}"
