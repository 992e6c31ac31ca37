"""The distribution over time as colours, and as an image for TensorBoard: without axes, names and
matplotlib."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: Pixels: of an option's row, between two decisions, and of the whole width.
ROW, GAP, WIDTH = 6, 2, 600
_NONE, _LEARNED, _STANDS, _BETWEEN = (
    np.array(rgb, np.float64)
    for rgb in ((250, 250, 250), (16, 68, 108), (150, 150, 150), (233, 161, 59))
)


def colours(p_OM: NDArray[np.float64], learned_OM: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Options x moments x RGB: the more probable, the darker; blue where the decision is learned,
    grey where it stands."""
    full = np.where(learned_OM[..., None], _LEARNED, _STANDS)
    found: NDArray[np.uint8] = (_NONE + p_OM[..., None] * (full - _NONE)).round().astype(np.uint8)
    return found


def image(
    p_OM: NDArray[np.float64], learned_OM: NDArray[np.bool_], options: Sequence[int]
) -> NDArray[np.uint8]:
    """Height x width x RGB: a row for each option, the decisions below each other. ``options``: how
    many each decision has."""
    columns = np.arange(WIDTH) * p_OM.shape[1] // WIDTH
    shown = colours(p_OM, learned_OM)[:, columns]
    between = np.broadcast_to(_BETWEEN.astype(np.uint8), (GAP, WIDTH, 3))
    parts = []
    for at, rows in enumerate(np.split(shown, np.cumsum(options)[:-1])):
        if at:
            parts.append(between)
        parts.append(rows.repeat(ROW, 0))
    return np.concatenate(parts)
