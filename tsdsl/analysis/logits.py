"""Logits of the options of all decisions in one flat vector: its layout, and softmax over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsdsl.ir.decision_groups import DecisionGroup, combination_count, group_name, partition
from tsdsl.ir.space import SpaceGraph

Floats = NDArray[np.float64]
#: Largest absolute value of a logit: sums over all decisions of a space stay finite.
MAX_LOGIT = 1e300


@dataclass(frozen=True, slots=True, eq=False)
class LogitLayout:
    """Where the logits of each decision, or of each group of decisions that are distributed
    jointly, are in a flat vector."""

    #: For each part: its path, its number of options (or combinations), and where it starts; the
    #: last start is the length of the vector.
    paths: tuple[str, ...]
    sizes: tuple[int, ...]
    starts: NDArray[np.int64]
    #: The numbers of the decisions that each part consists of.
    parts: tuple[DecisionGroup, ...]

    @classmethod
    def of(cls, space: SpaceGraph, groups: Sequence[DecisionGroup] = ()) -> LogitLayout:
        """The layout with some groups of decisions. Raises `ValueError` for decisions that cannot
        be a group."""
        parts = partition(space, groups)
        sizes = tuple(combination_count(space, part) for part in parts)
        paths = tuple(group_name([space.decisions[k].path for k in part]) for part in parts)
        starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        return cls(paths, sizes, starts.astype(np.int64), parts)

    def split(self, flat: NDArray[Any]) -> list[NDArray[Any]]:
        """A view of the vector for each part."""
        return [flat[a:b] for a, b in pairwise(self.starts.tolist())]


def softmax(flat: Floats, layout: LogitLayout) -> Floats:
    """The probabilities of the options of each part."""
    if not len(flat):
        return flat
    starts, sizes = layout.starts[:-1], layout.sizes
    # The difference to a much larger logit overflows to -inf, whose probability is 0.
    with np.errstate(over="ignore"):
        shifted = np.exp(flat - np.repeat(np.maximum.reduceat(flat, starts), sizes))
    return np.asarray(shifted / np.repeat(np.add.reduceat(shifted, starts), sizes))


def log_softmax(flat: Floats, layout: LogitLayout) -> Floats:
    """The logarithms of the probabilities of the options of each part; -inf for an option that is
    never taken."""
    if not len(flat):
        return flat
    starts, sizes = layout.starts[:-1], layout.sizes
    # The difference to a much larger logit overflows to -inf: such an option counts as never taken.
    with np.errstate(over="ignore", divide="ignore"):
        shifted = flat - np.repeat(np.maximum.reduceat(flat, starts), sizes)
        sums = np.add.reduceat(np.exp(shifted), starts)
    return np.asarray(shifted - np.repeat(np.log(sums), sizes))


def invalid_part(flat: Floats, layout: LogitLayout) -> int | None:
    """The number of the first part whose logits define no distribution (a NaN, an absolute value
    above `MAX_LOGIT`, or -inf for every option); None if there is none."""
    if not len(flat):
        return None
    # -inf, an option that is never taken, has no size; NaN compares false with every bound.
    size = np.where(flat == -np.inf, 0.0, np.abs(flat))
    starts = layout.starts[:-1]
    some = np.maximum.reduceat(flat, starts) > -np.inf
    invalid = np.flatnonzero(~(some & (np.maximum.reduceat(size, starts) <= MAX_LOGIT)))
    return int(invalid[0]) if len(invalid) else None
