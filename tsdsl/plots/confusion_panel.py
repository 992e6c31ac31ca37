"""Panels of the classes that a network confuses: the confusion matrix, and the most frequent
mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from tsdsl.plots.panel import bare, describe, drawn, headline, rows_axis
from tsdsl.plots.style import DARK, INK, LIGHT, RULE, SMALL

if TYPE_CHECKING:
    from tsdsl.training.scores import Scores

#: Inches: width of a cell, smallest and largest width of the matrix.
_CELL, _LEAST, _MOST = 0.36, 2.0, 5.6
#: Largest number of classes whose cells have numbers, and whose rows have names.
_NUMBERED, _NAMED = 24, 64
#: Characters of a class's name that are shown.
_LONGEST = 24
#: Largest number of mistakes that are listed.
_WORST = 12
#: Characters of a line with the names of two classes.
_PAIR = 26
_COLOURS = LinearSegmentedColormap.from_list(
    "shares", ["white", "#9cc3dd", "#3f82b3", DARK]
).with_extremes(bad="#e8e8e8", under="white")
#: Colours for many classes, where a cell is a point: every non-zero value is visible.
_POINTS = LinearSegmentedColormap.from_list("points", ["#7fb2d6", "#3f82b3", DARK]).with_extremes(
    bad="#e8e8e8", under="white"
)


@dataclass(frozen=True)
class ConfusionPanel:
    """A confusion matrix before it is drawn: a row for each class, a column for each prediction."""

    subject: str
    classes: tuple[str, ...]
    counts_KK: NDArray[np.int64]
    facts: str

    @classmethod
    def of(cls, scores: Scores, subject: str) -> ConfusionPanel:
        facts = f"top-1 {scores.top1:.1%}, mean class accuracy {scores.mean_class_accuracy:.1%}"
        scored = f"{len(scores):,} videos"
        if scores.missing:
            scored = f"{len(scores):,} scored of {scores.total:,} videos"
        names = tuple(_plain(name) for name in scores.classes)
        return cls(subject, names, scores.confusion_KK, f"{facts}; {scored}")

    @property
    def _side(self) -> float:
        return min(max(_CELL * len(self.classes), _LEAST), _MOST)

    @property
    def height(self) -> float:
        """Height of the panel in inches."""
        names = max(map(len, self.classes)) * 0.055 if len(self.classes) <= _NAMED else 0.1
        return self._side + 0.95 + min(names, 1.4)

    def draw(self, ax: Axes) -> Axes:
        count = len(self.classes)
        videos_K1 = self.counts_KK.sum(axis=1, keepdims=True)
        shares = np.ma.masked_invalid(
            np.divide(
                self.counts_KK,
                videos_K1,
                out=np.full(self.counts_KK.shape, np.nan),
                where=videos_K1 > 0,
            )
        )
        norm = PowerNorm(1.0 if count <= _NUMBERED else 0.5, 0.0, 1.0)
        # Zeros get the colour below the scale.
        shown = shares.copy()
        shown[self.counts_KK == 0] = -1.0
        shown[videos_K1[:, 0] == 0] = np.ma.masked
        colours = _COLOURS if count <= _NAMED else _POINTS
        ax.imshow(shown, cmap=colours, norm=norm, interpolation="nearest")
        ax.set_anchor("NW")
        for side in ("top", "right", "bottom", "left"):
            ax.spines[side].set_color(RULE)
        ax.tick_params(length=0, pad=3)
        if count <= _NAMED:
            size = SMALL if count <= 30 else SMALL - 2
            names = [_short(name) for name in self.classes]
            ax.set_yticks(range(count), names, fontsize=size)
            turned = 0 if max(map(len, names)) * 0.055 < self._side / count else 90
            ax.set_xticks(range(count), names, fontsize=size, rotation=turned)
        else:
            for axis in (ax.xaxis, ax.yaxis):
                axis.set_major_locator(MaxNLocator(nbins=9, integer=True))
        if count <= _NUMBERED:
            self._numbers(ax, shares)
        ax.set_xlabel("predicted class" if count <= _NAMED else "number of the predicted class")
        ax.set_ylabel("class" if count <= _NAMED else "number of the class")
        scale = "" if count <= _NUMBERED else ", on a scale of square roots"
        title = f"Classes and what they are taken for: {_short(self.subject, 60)}"
        headline(ax, title, f"{self.facts}; colour: share of the videos of a class{scale}", ())
        told = "; ".join(self._words(k) for k in range(min(count, _NAMED)))
        describe(ax, f"Confusion matrix of {self.subject}: {self.facts}. {told}.")
        return ax

    def _numbers(self, ax: Axes, shares: NDArray[np.float64]) -> None:
        for row, column in zip(*np.nonzero(self.counts_KK), strict=True):
            dark = shares[row, column] > 0.45
            ax.text(
                column,
                row,
                str(self.counts_KK[row, column]),
                ha="center",
                va="center_baseline",
                fontsize=SMALL if len(self.classes) <= 12 else SMALL - 1.5,
                color="white" if dark else INK,
            )

    def _words(self, k: int) -> str:
        videos = int(self.counts_KK[k].sum())
        return f"{self.classes[k]} {int(self.counts_KK[k, k])} of {videos} right"


@dataclass(frozen=True)
class MistakesPanel:
    """The largest off-diagonal entries of a confusion matrix, before they are drawn."""

    #: Class, predicted class, number of videos confused, number of videos of the class.
    found: tuple[tuple[str, str, int, int], ...]
    #: Number of further pairs of classes that are confused.
    others: int

    @classmethod
    def of(cls, scores: Scores) -> MistakesPanel:
        counts_KK = scores.confusion_KK
        videos_K = counts_KK.sum(axis=1)
        pairs = [(int(a), int(b)) for a, b in zip(*np.nonzero(counts_KK), strict=True) if a != b]
        pairs.sort(key=lambda ab: (-counts_KK[ab], -counts_KK[ab] / videos_K[ab[0]], ab))
        names = [_plain(name) for name in scores.classes]
        found = [(names[a], names[b], int(counts_KK[a, b]), int(videos_K[a])) for a, b in pairs]
        return cls(tuple(found[:_WORST]), max(0, len(found) - _WORST))

    @property
    def height(self) -> float:
        """Height of the panel in inches."""
        return 1.0 + (0.2 if self._fits else 0.33) * len(self.found)

    @property
    def _fits(self) -> bool:
        """Whether both names fit on one line."""
        return all(len(a) + len(b) + 3 <= _PAIR for a, b, _, _ in self.found)

    def draw(self, ax: Axes) -> Axes:
        shares = [count / videos for _, _, count, videos in self.found]
        places = range(len(self.found))
        ax.barh(places, shares, height=0.68, color=LIGHT, zorder=3)
        for at, (share, (_, _, count, videos)) in enumerate(zip(shares, self.found, strict=True)):
            ax.annotate(
                f"{count} of {videos}",
                (share, at),
                (4, 0),
                textcoords="offset points",
                va="center_baseline",
                fontsize=SMALL,
            )
        ax.set_xlim(0.0, min(1.0, max(shares)) * 1.18)
        ax.set_ylim(len(self.found) - 0.4, -0.6)
        arrow, line = "\N{RIGHTWARDS ARROW}", " " if self._fits else "\n"
        names = [f"{a} {arrow}{line}{b}" for a, b, _, _ in self.found]
        rows_axis(ax, names, places, SMALL if self._fits else SMALL - 0.8)
        bare(ax, "bottom")
        ax.grid(axis="x", color=RULE, lw=0.4, zorder=0)
        ax.tick_params(axis="x", length=0)
        ax.xaxis.set_major_locator(MaxNLocator(nbins=6))
        ax.xaxis.set_major_formatter(PercentFormatter(1.0))
        ax.set_xlabel("share of the videos of the class")
        more = f"; {self.others:,} more pairs of classes" if self.others else ""
        headline(ax, "The most frequent mistakes", f"class {arrow} what it is taken for{more}", ())
        told = "; ".join(f"{a} taken for {b}, {n} of {of}" for a, b, n, of in self.found)
        describe(ax, f"The most frequent mistakes: {told}.")
        return ax


def confusions(scores: Scores, subject: str = "", ax: Axes | None = None) -> Axes:
    """Draw the confusion matrix. Rows are classes, columns predictions; the colour is the share of
    a class's videos. Up to 24 classes have numbers, up to 64 have names."""
    return drawn(ConfusionPanel.of(scores, subject), ax)


def _plain(name: str) -> str:
    """The name on one line, with dollar signs escaped, which would begin a formula."""
    return " ".join(name.split()) or "?"


def _short(name: str, longest: int = _LONGEST) -> str:
    shown = name if len(name) <= longest else name[: longest - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return shown.replace("$", r"\$")
