"""Figures of a space, of single networks and of their scores, with matplotlib (``pip install
'tsdsl[plot]'``).

    tsdsl.plots.overview(space)                                  # a notebook shows it
    tsdsl.plots.save(tsdsl.plots.overview(space), "space.svg")
    tsdsl.plots.spread(space, "macs", axes, window=(2.4e9, 2.5e9))

`overview`, `network`, `confusion` and `search` make whole figures. `spread`, `stages`, `phases` and
`confusions` draw one panel, into given axes or into a figure of their own. pyplot is not used: no
window is opened, and no global state is changed.

| file | has |
|---|---|
| `figures` | whole figures |
| `inline_figure` | a figure that notebooks show |
| `spread_panel`, `stage_panel`, `phase_panel`, `confusion_panel` | single panels |
| `search_panels` | the figure of a search over time |
| `panel` | what all panels have in common |
| `style`, `units` | colours, sizes and settings; the units of cost axes |
| `files` | reproducible image files |
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
