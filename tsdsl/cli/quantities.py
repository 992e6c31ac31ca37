"""Numbers as text: counts with their noun, multiply-adds and bytes with a unit, durations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tsdsl.diagnostics.render import visible
from tsdsl.units import AMOUNTS

if TYPE_CHECKING:
    from tsdsl.analysis.costs.cost import Cost

_PREFIXES = ("", "k", "M", "G", "T", "P", "E")

#: Units of multiply-adds, the largest first.
UNITS = (("GFLOPs", 10**9), ("MFLOPs", 10**6), ("kFLOPs", 10**3))


def unit(largest: float) -> tuple[str, int]:
    """The name and the size of the unit in which multiply-adds are shown: the largest number is at
    least a tenth of it."""
    return next((u for u in UNITS if largest >= u[1] / 10), UNITS[-1])


def quantity(cost: Cost, value: int) -> str:
    """A value with its unit. Times, which are in nanoseconds, are shown in milliseconds."""
    if cost.unit == "ns":
        return f"{value / 1e6:,.3f} ms"
    return f"{value:,} {visible(cost.unit)}" if cost.unit else f"{value:,}"


def several(count: int, noun: str, plural: str | None = None) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {plural or noun + 's'}"


def size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def scaled(count: float, scale: int) -> str:
    """Multiply-adds in a unit of `UNITS`."""
    return f"{count / scale:,.3f}"


def flops(count: int) -> str:
    """Multiply-adds with their unit: 1.963 GFLOPs, 2.400 MFLOPs."""
    name, scale = unit(count)
    return f"{scaled(count, scale)} {name}"


def amount(count: int) -> str:
    """With a suffix and three digits or four: 1.43G, 12.5M, 250."""
    for suffix, unit in reversed(AMOUNTS.items()):
        if count >= unit:
            return f"{count / unit:.4g}{suffix}"
    return str(count)


def duration(seconds: float) -> str:
    """``40 s``, ``3 min``, ``1.5 h``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def bytes_text(count: float) -> str:
    """Bytes, as people read them."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.3g} {unit}" if count < 1000 else f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:,.1f} GiB"


def amount_of_flops(count: float) -> str:
    """Multiply-adds with a prefix."""
    at = 0
    while count >= 1000 and at < len(_PREFIXES) - 1:
        count /= 1000
        at += 1
    return f"{count:.3g} {_PREFIXES[at]}FLOPs"
