"""The error of windows without an architecture: it says how near the nearest ones are."""

from __future__ import annotations

from tsdsl.analysis.costs.cost import Cost
from tsdsl.analysis.costs.cost_table import CostTable
from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.elimination.cache import QueryCache
from tsdsl.analysis.elimination.no_architecture import no_architecture
from tsdsl.analysis.windows.enumeration import Enumerator, Windows
from tsdsl.analysis.windows.window import shown_window
from tsdsl.diagnostics import SpecError

#: Largest number of architectures that are enumerated at once to find the nearest, and of attempts.
MAX_LISTED = 1 << 12
MAX_TRIED = 80


def nothing_inside(cache: QueryCache, windows: Windows) -> SpecError:
    """The error (E0593) that no architecture is in all of the windows."""
    for cost, window in windows.items():
        low, high = cache.cost_range(cost)
        if window[0] > window[1] or window[1] < low or window[0] > high:
            within = f"{cost} in {shown_window(window)}"
            return no_architecture(
                cache.space, within, f"the space has {low:,}..{high:,}{_unit(cost)}"
            )
    within = " and ".join(f"{cost} in {shown_window(window)}" for cost, window in windows.items())
    near = [text for cost in windows if (text := _nearest(cache, windows, cost))]
    if near:
        rest = ", with the other windows as they are" if len(windows) > 1 else ""
        return no_architecture(
            cache.space, within, f"the nearest there are have {' or '.join(near)}{rest}"
        )
    ends = [
        f"{cost} {low:,}..{high:,}{_unit(cost)}"
        for cost in windows
        for low, high in [cache.cost_range(cost)]
    ]
    return no_architecture(
        cache.space, within, f"there are {' and '.join(ends)}, but not these together"
    )


def _nearest(cache: QueryCache, windows: Windows, cost: Cost) -> str | None:
    """The nearest costs below and above a window, as text; the other windows stay as they are."""
    low, high = cache.cost_range(cost)
    below = _next(cache, windows, cost, windows[cost][0], low)
    above = _next(cache, windows, cost, windows[cost][1], high)
    nearest = [f"{x:,}" for x in (below, above) if x is not None]
    return f"{cost} {' and '.join(nearest)}{_unit(cost)}" if nearest else None


def _unit(cost: Cost) -> str:
    return f" {cost.unit}" if isinstance(cost, CostTable) else ""


def _next(cache: QueryCache, windows: Windows, cost: Cost, end: int, limit: int) -> int | None:
    """The cost nearest to one end of a window, in the direction of ``limit``; None if it is not
    found. Windows from that end on grow while they are empty, and shrink while they contain too
    many architectures to enumerate."""
    sign = 1 if limit > end else -1
    enumerator = Enumerator(cache, tuple(windows))
    span = abs(limit - end)
    empty, full, reach = 0, span + 1, max(span >> 24, 1)
    for _ in range(MAX_TRIED):
        if reach > span:
            if empty >= span:
                return None
            reach = span
        ends = sorted((end, end + sign * reach))
        listed = enumerator.assignments({**windows, cost: (ends[0], ends[1])}, MAX_LISTED)
        if listed is not None and len(listed):
            costs: Array = cache.lookup(cost).assigned(listed)
            return int(costs.min() if sign > 0 else costs.max())
        if listed is None:
            full = reach
        else:
            empty = reach
        if full - empty <= 1:
            return None
        reach = (empty + full) // 2 if full <= span else 4 * reach
    return None
