"""The whole figures that ``tsdsl space``, ``tsdsl flops`` and ``tsdsl eval`` write with
``--plot``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from matplotlib.figure import Figure

from tsdsl.analysis.costs.items import Grouping
from tsdsl.analysis.summary import SpaceSummary, summarise
from tsdsl.ir.ordering import TooCoupled
from tsdsl.plots.confusion_panel import ConfusionPanel, MistakesPanel
from tsdsl.plots.inline_figure import InlineFigure
from tsdsl.plots.panel import Panel, settle
from tsdsl.plots.phase_panel import PhasePanel
from tsdsl.plots.spread_panel import SpreadPanel
from tsdsl.plots.stage_panel import StagePanel
from tsdsl.plots.style import WIDTH, settings
from tsdsl.space import Space
from tsdsl.training.scores import Scores


def overview(found: Space | SpaceSummary) -> Figure:
    """A figure of a space, or of its summary under a distribution: histograms of multiply-adds, of
    parameters and of the costs in its tables, with the windows of the summary; costs by stage; and
    costs in each phase of the search.

    A panel whose tables would be too large is left out, as in the summary. Raises `SpecError` if no
    panel is left.
    """
    summary = found if isinstance(found, SpaceSummary) else summarise(found)
    space, given = summary.space, summary.distribution
    costs = list(dict.fromkeys(("macs", "params", *space.costs, *summary.windows)))
    named = "budget" if summary.windows_from else "window"
    panels = _Panels()
    for cost in costs:
        if space.decisions:
            window = summary.windows.get(cost)
            panels.add(
                SpreadPanel.of, space, cost, window=window, window_name=named, distribution=given
            )
    for cost in ("macs", *space.costs):
        panels.add(StagePanel.of, space, cost, distribution=given)
    for cost, held in summary.costs.items():
        shown = cost == "macs" or any(phase.budgets for phase in held.phases)
        if space.decisions and held.phases and shown:
            panels.add(PhasePanel.of, space, cost, distribution=given)
    return panels.figure()


def network(
    space: Space, architecture: Mapping[str, Any] | None = None, by: Grouping = "stage"
) -> Figure:
    """A figure of the multiply-adds and measured costs of an architecture, by stage. For a space,
    those of its cheapest and most expensive architecture, and the mean."""
    panels = _Panels()
    for cost in ("macs", *space.costs):
        panels.add(StagePanel.of, space, cost, architecture=architecture, by=by)
    return panels.figure()


def confusion(scores: Scores, subject: str = "") -> Figure:
    """A figure of the classes that a network confuses, with its most frequent mistakes by name.
    ``subject``: name of the network, for titles."""
    panels = _Panels()
    panels.add(ConfusionPanel.of, scores, subject)
    mistakes = MistakesPanel.of(scores)
    if mistakes.found:
        panels.add(lambda: mistakes)
    return panels.figure()


class _Panels:
    """The panels of a figure. A panel whose tables would be too large is dropped."""

    def __init__(self) -> None:
        self._made: list[Panel] = []
        self._missed: list[TooCoupled] = []

    def add(self, make: Callable[..., Panel], *of: Any, **more: Any) -> None:
        try:
            self._made.append(make(*of, **more))
        except TooCoupled as wide:
            self._missed.append(wide)

    def figure(self) -> Figure:
        """A figure with the panels below one another."""
        if not self._made:
            raise self._missed[0]
        heights = [panel.height for panel in self._made]
        with settings():
            figure = InlineFigure(figsize=(WIDTH, sum(heights)), layout="constrained")
            figure.get_layout_engine().set(h_pad=0.09, w_pad=0.05)  # type: ignore[union-attr,call-arg]
            grid = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)
            # Drawn from the last panel up, because the names of rows narrow the titles of all
            # panels.
            for panel, ax in zip(self._made[::-1], grid[::-1, 0], strict=True):
                panel.draw(ax)
            settle(figure)
        return figure
