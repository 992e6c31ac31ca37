"""Colours, sizes and settings of figures. Neighbouring colours differ in lightness, so that they
can be distinguished in greyscale and with red-green colour blindness; whatever is not a stream is
hatched."""

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
#: Colour of windows and budgets.
WINDOW = "#f2c14e"

#: Text sizes in points.
TITLE, TEXT, SMALL = 9.5, 8.0, 7.0

#: Colours of streams in order. After the last one they repeat, hatched.
_STREAMS = (DARK, LIGHT, "#5aa9d6", "#0b8f6c", "#d77fae", "#7a3b12", "#e7dd5a")
_AGAIN = ("", "\\\\\\\\", "xxxx", "++++")
#: Other first segments of paths: name, colour and hatching.
_REST = {
    "fuse": ("fusion", "#e4e4e4", "/////"),
    "attend": ("attention", "#f7f7f7", "...."),
    "head": ("head", "#8f8f8f", ""),
}


@dataclass(frozen=True, slots=True)
class Look:
    """The appearance of the part of a bar that belongs to a stream, a fusion, an attention or the
    head."""

    name: str
    colour: str
    hatch: str

    @property
    def edge(self) -> str:
        """Colour of its outline and hatching."""
        return MUTED if self._pale else "white"

    @property
    def line(self) -> float:
        """Width of its outline. A dark colour has none, since it would hide a short bar."""
        return 0.5 if self._pale else 0.0

    @property
    def _pale(self) -> bool:
        return bool(self.hatch) and self.colour not in _STREAMS


def looks(streams: Sequence[str], rest: Sequence[str]) -> dict[str, Look]:
    """The appearance of each stream and of each other first segment of paths."""
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


#: Fonts come with matplotlib, so that a figure does not depend on the machine. Text of an SVG stays
#: text; its identifiers are hashed with a fixed salt.
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
    """Apply matplotlib's defaults and these settings in the block, independently of the user's
    configuration."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield
