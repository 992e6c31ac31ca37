"""How figures look. Colours are told apart by people who do not see red and green alike, and in
grey: neighbours differ in lightness, and what is no stream is hatched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib

#: Inches: two columns of a paper.
WIDTH = 7.2
DPI = 150

DARK = "#10446c"
LIGHT = "#e9a13b"
INK = "#222222"
MUTED = "#6b6b6b"
RULE = "#c9c9c9"
#: Windows and budgets.
WINDOW = "#f2c14e"

#: Sizes of text in points.
TITLE, TEXT, SMALL = 9.5, 8.0, 7.0

#: Streams in order; after the last one they begin again, hatched.
_STREAMS = (DARK, LIGHT, "#5aa9d6", "#0b8f6c", "#d77fae", "#7a3b12", "#e7dd5a")
_AGAIN = ("", "\\\\\\\\", "xxxx", "++++")
#: What is no stream, by the first segment of its path: name, colour and hatch.
_REST = {
    "fuse": ("fusion", "#e4e4e4", "/////"),
    "attend": ("attention", "#f7f7f7", "...."),
    "head": ("head", "#8f8f8f", ""),
}


@dataclass(frozen=True, slots=True)
class Look:
    """What the part of a bar looks like that belongs to a stream, or to what is none."""

    name: str
    colour: str
    hatch: str

    @property
    def edge(self) -> str:
        """The colour of its outline and hatching."""
        return MUTED if self._pale else "white"

    @property
    def line(self) -> float:
        """The width of its outline. What is dark needs none, which would hide a short bar."""
        return 0.5 if self._pale else 0.0

    @property
    def _pale(self) -> bool:
        return bool(self.hatch) and self.colour not in _STREAMS


def looks(streams: Sequence[str], rest: Sequence[str]) -> dict[str, Look]:
    """A look for each stream and for each other first segment of paths."""
    found = {
        stream: Look(
            stream,
            _STREAMS[at % len(_STREAMS)],
            _AGAIN[at // len(_STREAMS) % len(_AGAIN)],
        )
        for at, stream in enumerate(streams)
    }
    for name in rest:
        if name not in found:
            found[name] = Look(*_REST.get(name, (name, "#bdbdbd", "----")))
    return found


#: Fonts that come with matplotlib, so that a figure does not depend on the machine. Text of an SVG
#: stays text; its identifiers are made from what they identify and a fixed salt.
_SETTINGS: Any = {
    "axes.edgecolor": MUTED,
    "axes.grid": False,
    "axes.labelcolor": INK,
    "axes.labelsize": TEXT,
    "axes.linewidth": 0.6,
    "axes.titlelocation": "left",
    "axes.titlesize": TITLE,
    "axes.titleweight": "bold",
    "axes.unicode_minus": True,
    "figure.dpi": DPI,
    "figure.facecolor": "white",
    "font.family": ["DejaVu Sans"],
    "font.size": TEXT,
    "hatch.linewidth": 0.5,
    "legend.fontsize": SMALL,
    "path.simplify": False,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "tsdsl",
    "text.color": INK,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "xtick.labelsize": SMALL,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "ytick.labelsize": SMALL,
}


@contextmanager
def settings() -> Iterator[None]:
    """matplotlib's own defaults with ours on top, whatever the user's configuration says; undone
    afterwards."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield
