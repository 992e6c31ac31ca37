"""Rank correlation of two lists of scores for the same items: 1 for the same order, -1 for the
reverse."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tsdsl.analysis.costs.factors import Array


def spearman(left: Sequence[float], right: Sequence[float]) -> float | None:
    """Spearman's rho: the Pearson correlation of the ranks, where ties have the mean of their
    ranks. None where one side is constant."""
    a, b = ranks(left), ranks(right)
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale else None


def kendall(left: Sequence[float], right: Sequence[float]) -> float | None:
    """Kendall's tau-b: (concordant - discordant pairs) / sqrt(pairs that are not tied on the left x
    pairs that are not tied on the right). None where one side is constant."""
    a, b = (_signs(values) for values in (left, right))
    scale = float(np.sqrt(float((a * a).sum()) * float((b * b).sum())))
    return float((a * b).sum()) / scale if scale else None


def ranks(values: Sequence[float]) -> Array:
    """Ranks in ascending order, from 1; equal values have the mean of their ranks."""
    _, inverse, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse])


def _signs(values: Sequence[float]) -> Array:
    """The sign of the difference of each pair of values: 1, -1 or, for a tie, 0."""
    found = np.asarray(values)
    first, second = np.triu_indices(len(found), 1)
    return np.asarray(np.sign(found[first] - found[second]), np.int64)
