"""The windows within which `evolve` and `random_search` draw architectures, and the weights with
which they do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from tsdsl.analysis.costs.named import windows_by_name
from tsdsl.searching.plan import plan_of
from tsdsl.space import Space, Window, Within

#: "initial": the weights that the spec gives its options. "architectures": all alike.
DrawWeights = Literal["initial", "architectures"]
#: The windows of a draw in the order of their costs' names: cost, least, greatest.
SortedWindows = tuple[tuple[str, float, float], ...]


def sorted_windows(windows: Mapping[str, tuple[float, float]]) -> SortedWindows:
    return tuple((name, *windows[name]) for name in sorted(windows))


def budget_windows(space: Space) -> dict[str, tuple[float, float]]:
    """The budgets that the result of the spec's search has to meet, by the cost's name: those of
    the last phase; none without a search. Raises `SpecError`."""
    search = space.sections.search if space.sections else None
    if search is None or not search.schedule:
        return {}
    budgets = plan_of(space, 1).phases[-1].budgets
    return {space.cost(budget.cost).name: (budget.low, budget.high) for budget in budgets}


def draw_windows(
    space: Space, flops: Window = None, params: Window = None, within: Within | None = None
) -> dict[str, tuple[float, float]]:
    """Windows by the cost's name: those that are given, or else the budgets of the spec's search
    (`budget_windows`). An empty ``within`` stands for no window at all. Raises `SpecError`."""
    given = windows_by_name(flops, params, within)
    windows = {space.cost(name).name: window for name, window in given}
    return windows if windows or within is not None else budget_windows(space)
