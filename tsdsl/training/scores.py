"""Accuracies and other scores from class probabilities of the videos of a list. Does not import
torch.

Ties are broken alike everywhere: among equal probabilities, the class with the lower number comes
first. A network that returns the same output for all classes predicts class 0 for every video.

Accuracies are shares of the scored videos. ``missing`` has all other videos of the list;
`Scores.top1_of_all` counts those as wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsdsl.data.video_problems import Problem
from tsdsl.record import Record

#: The smallest positive float32, the type of the softmax. It bounds a log loss by 103.3 nats.
LEAST = 2.0**-149


class MissingVideo(Record, eq=True):
    """A video of the list that has no scores. ``path`` is written as in the list."""

    index: int
    path: str
    label: int
    problem: Problem


class Scores(Record):
    """Class probabilities of N videos. Rows are the scored videos, in the order of the list."""

    #: Mean of the softmax over a video's views, for K classes. float64.
    probabilities_NK: NDArray[np.float64]
    labels_N: NDArray[np.int64]
    #: Indices in the list, from 0 on.
    indices_N: NDArray[np.int64]
    #: Paths as written in the list.
    paths: tuple[str, ...]
    #: Names of the K classes.
    classes: tuple[str, ...]
    #: Number of views of each video.
    views: int
    missing: tuple[MissingVideo, ...] = ()

    def __len__(self) -> int:
        """Number of scored videos."""
        return len(self.labels_N)

    def __repr__(self) -> str:
        missing = f" ({len(self.missing)} more missing)" if self.missing else ""
        return (
            f"<Scores of {len(self)} videos{missing}, {len(self.classes)} classes: top-1"
            f" {self.top1:.2%}, top-5 {self.top5:.2%}>"
        )

    def _repr_html_(self) -> str:
        from tsdsl.notebook import html_table

        return html_table("Scores", [], self.summary())

    def summary(self) -> list[tuple[str, str]]:
        """Names and values, as text, of what is computed over all videos."""
        return [
            ("videos scored", f"{len(self)} of {self.total}"),
            ("top-1", f"{self.top1:.2%}"),
            ("top-5", f"{self.top5:.2%}"),
            ("mean class accuracy", f"{self.mean_class_accuracy:.2%}"),
            ("log loss", f"{self.log_loss:.4f}"),
        ]

    @property
    def total(self) -> int:
        """Number of videos in the list."""
        return len(self) + len(self.missing)

    # ------------------------------------------------------------ by video

    @property
    def predicted_N(self) -> NDArray[np.int64]:
        found: NDArray[np.int64] = self.probabilities_NK.argmax(axis=1).astype(np.int64)
        return found

    def best(self, k: int) -> NDArray[np.int64]:
        """The k most probable classes of each video [video, rank] in descending order; all classes
        if there are fewer."""
        return np.argsort(-self.probabilities_NK, axis=1, kind="stable")[:, :k].astype(np.int64)

    @property
    def ranks_N(self) -> NDArray[np.int64]:
        """Rank of each video's true class, from 0 on."""
        own_N1 = np.take_along_axis(self.probabilities_NK, self.labels_N[:, None], axis=1)
        before = np.arange(len(self.classes)) < self.labels_N[:, None]
        ahead = (self.probabilities_NK > own_N1) | ((self.probabilities_NK == own_N1) & before)
        found: NDArray[np.int64] = ahead.sum(axis=1).astype(np.int64)
        return found

    # ------------------------------------------------------------ of all videos

    def top(self, k: int) -> float:
        """Share of the videos whose true class is among the k most probable ones."""
        return float((self.ranks_N < k).mean())

    @property
    def top1(self) -> float:
        return self.top(1)

    @property
    def top5(self) -> float:
        """Top-5 accuracy; 1 if there are fewer than five classes."""
        return self.top(5)

    @property
    def top1_of_all(self) -> float:
        """Top-1 accuracy over all videos of the list, where missing ones count as wrong."""
        return float((self.ranks_N < 1).sum() / self.total)

    @property
    def log_loss(self) -> float:
        """Mean of -ln p of the true class, in nats, where p is at least `LEAST`."""
        own_N1 = np.take_along_axis(self.probabilities_NK, self.labels_N[:, None], axis=1)
        return float(-np.log(np.maximum(own_N1, LEAST)).mean())

    # ------------------------------------------------------------ by class

    @property
    def counts_K(self) -> NDArray[np.int64]:
        """Number of scored videos of each class."""
        return np.bincount(self.labels_N, minlength=len(self.classes)).astype(np.int64)

    @property
    def accuracy_K(self) -> NDArray[np.float64]:
        """Top-1 accuracy of each class; NaN for a class without scored videos."""
        right = self.labels_N[self.predicted_N == self.labels_N]
        found = np.bincount(right, minlength=len(self.classes)).astype(np.float64)
        counts = self.counts_K
        shares: NDArray[np.float64] = np.full(len(counts), np.nan)
        np.divide(found, counts, out=shares, where=counts > 0)
        return shares

    @property
    def mean_class_accuracy(self) -> float:
        """Mean accuracy over the classes that have videos."""
        return float(np.nanmean(self.accuracy_K))

    @property
    def confusion_KK(self) -> NDArray[np.int64]:
        """Confusion matrix: number of videos [true class, predicted class]."""
        found = np.zeros((len(self.classes),) * 2, np.int64)
        np.add.at(found, (self.labels_N, self.predicted_N), 1)
        return found

    def as_json(self) -> dict[str, Any]:
        """All scores but the probabilities, which `score_files` writes. ``confusion`` has the
        non-zero entries: true class, predicted class, number of videos."""
        confusion = self.confusion_KK
        accuracies, counts = self.accuracy_K, self.counts_K
        return {
            "format_version": 1,
            "videos": self.total,
            "scored": len(self),
            "views": self.views,
            "top1": self.top1,
            "top5": self.top5,
            "top1_of_all": self.top1_of_all,
            "mean_class_accuracy": self.mean_class_accuracy,
            "log_loss": self.log_loss,
            "classes": [
                {
                    "label": k,
                    "name": name,
                    "videos": int(counts[k]),
                    "top1": float(accuracies[k]) if counts[k] else None,
                }
                for k, name in enumerate(self.classes)
            ],
            "confusion": [
                [int(own), int(other), int(confusion[own, other])]
                for own, other in zip(*np.nonzero(confusion), strict=True)
            ],
            "missing": [
                {
                    "path": m.path,
                    "label": m.label,
                    "kind": m.problem.kind,
                    "detail": m.problem.detail,
                }
                for m in self.missing
            ],
        }


def class_names(names: Sequence[str], outputs: int) -> tuple[str, ...]:
    """A name for each output of a network. Outputs without a name are called by their number."""
    assert len(names) <= outputs
    return (*names, *map(str, range(len(names), outputs)))
