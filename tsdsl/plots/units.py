"""Units of cost axes: multiply-adds in GFLOPs, nanoseconds in milliseconds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tsdsl.analysis.costs.cost import Cost
from tsdsl.diagnostics.render import visible
from tsdsl.units import TIMES

#: Factor -> SI prefix.
_PREFIXES = {1: "", 10**3: "k", 10**6: "M", 10**9: "G", 10**12: "T", 10**15: "P", 10**18: "E"}
#: Nanoseconds -> unit of time.
_TIMES = {scale: unit for unit, scale in TIMES.items()}
#: Smallest range of an axis, as a share of its end, for which the axis starts at 0 rather than at
#: the minimum.
_NARROW = 5e-3
#: Characters of a name that are shown.
_LONGEST = 60


@dataclass(frozen=True, slots=True)
class AxisUnit:
    """The name of a cost and the unit of its axis. ``scale`` is the unit in terms of the cost's
    own."""

    #: Name of the cost in text: "FLOPs".
    noun: str
    #: Unit behind a number: "GFLOPs"; empty for counts.
    short: str
    #: Label of the axis: "GFLOPs (multiply-adds)".
    label: str
    scale: int
    #: Value of the cost at the origin of the axis. It is not 0 if costs differ in their last digits
    #: only.
    origin: int = 0

    @classmethod
    def between(cls, cost: Cost, low: int, high: int) -> AxisUnit:
        """The unit of an axis from ``low`` to ``high``."""
        if high - low >= _NARROW * high:
            return cls.of(cost, high)
        unit = cls.of(cost, high - low)
        label = f"{unit.label} above the minimum of {low:,}"
        return replace(unit, label=label, origin=low)

    @classmethod
    def of(cls, cost: Cost, most: float) -> AxisUnit:
        """The unit of an axis up to ``most``: GFLOPs for multiply-adds and milliseconds for times,
        if they give readable numbers."""
        if cost.symbol:
            scale = _prefix(most, 10**9, list(_PREFIXES))
            short = f"{_PREFIXES[scale]}{cost.symbol}"
            return cls(cost.symbol, short, f"{short} ({cost.noun})", scale)
        name = plain(cost.noun or cost.name)
        if cost.unit == "ns":
            scale = _prefix(most, 10**6, list(_TIMES))
            short = _TIMES[scale]
            return cls(name, short, f"{name} ({short}), the sum over operations", scale)
        if cost.unit:
            scale = _prefix(most, 1, list(_PREFIXES))
            unit = plain(cost.unit)
            short = f"{_PREFIXES[scale]} {unit}".strip() if scale > 1 else unit
            return cls(name, short, f"{name} ({short})" if short else name, scale)
        scale = _prefix(most, 10**6, list(_PREFIXES))
        short = _PREFIXES[scale]
        return cls(name, short, f"{name} ({short})" if short else name, scale)

    @property
    def title(self) -> str:
        """The name of the cost as the beginning of a title."""
        return self.noun[:1].upper() + self.noun[1:]

    def place(self, value: Any) -> Any:
        """Values of the cost (possibly an array) as positions on the axis."""
        return (value - self.origin) / self.scale

    def number(self, value: float) -> str:
        """A value of the cost as a number in this unit."""
        return self.size(value - self.origin)

    def size(self, length: float) -> str:
        """A difference of two costs as a number in this unit."""
        if self.scale == 1 and length == int(length):
            return f"{int(length):,}"
        return number(length / self.scale)

    def text(self, value: float) -> str:
        """A value of the cost as a number with this unit."""
        above = f" above {self.origin:,}" if self.origin else ""
        return f"{self.number(value)} {self.short}".strip() + above


def _prefix(most: float, usual: int, scales: list[int]) -> int:
    """The usual factor if ``most`` is 0.1 to 10,000 times it, else the largest factor that leaves a
    digit before the decimal point."""
    if most <= 0 or usual / 10 <= most < usual * 10**4:
        return usual
    return max((scale for scale in scales if scale <= most), default=1)


def number(value: float) -> str:
    """A number with three decimals, or fewer if it is large."""
    if value == 0:
        return "0"
    if value >= 1000:
        return f"{value:,.0f}"
    if value >= 100:
        return f"{value:.1f}"
    return "<0.001" if 0 < value < 0.0005 else f"{value:.3f}"


def short(value: float) -> str:
    """A number with its significant digits, without trailing zeros."""
    return f"{value:.6g}" if abs(value) < 10**6 else number(value)


def percent(share: float) -> str:
    """A share as a percentage: 12.3%, 0.045%."""
    if share <= 0 or share == 1:
        return f"{100 * share:.0f}%"
    return f"{100 * share:.1f}%" if share >= 0.001 else f"{100 * share:.2g}%"


def plain(text: str) -> str:
    """Text from a file, without control characters and with dollar signs escaped, which would begin
    a formula."""
    shown = visible(text)
    shown = shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return shown.replace("$", r"\$")
