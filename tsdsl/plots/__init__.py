"""Figures of a space, of single networks and of their scores, on matplotlib (which comes with
``pip install 'tsdsl[plot]'``).

    plots.save(plots.overview(space), "space.svg")
    plots.spread(space, "macs", axes, window=(2.4e9, 2.5e9))

`overview`, `network`, `confusion` and `search` make whole figures; `spread`, `stages`, `phases` and
`confusions` draw one panel, into axes of yours or into a figure of their own. pyplot is not used:
nothing opens a window, and nothing global is changed.

`figures`  whole figures
`spreads`, `by_stage`, `by_phase`, `confusions` panels
`over_time` how a search went
`panel`    what all panels have in common
`style`    colours, sizes and settings
`units`    a cost in the unit that its axis has
`files`    the same bytes for the same figure
"""

from tsdsl.plots.confusion_panel import confusions
from tsdsl.plots.figures import confusion, network, overview
from tsdsl.plots.files import FORMATS, render, save
from tsdsl.plots.phase_panel import phases
from tsdsl.plots.search_panels import search
from tsdsl.plots.spread_panel import spread
from tsdsl.plots.stage_panel import stages

__all__ = [
    "FORMATS",
    "confusion",
    "confusions",
    "network",
    "overview",
    "phases",
    "render",
    "save",
    "search",
    "spread",
    "stages",
]
