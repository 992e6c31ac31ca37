"""The distribution over time as an image for TensorBoard: no axes, no names, no matplotlib."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: Pixels: of an option's row, between two decisions, and of the whole width.
ROW, GAP, WIDTH = 6, 2, 600
#: Of probability 0, of 1, and between decisions.
_NONE, _SURE, _BETWEEN = (
    np.array(rgb, np.float64) for rgb in ((248, 248, 248), (16, 68, 108), (233, 161, 59))
)


def image(p_OM: NDArray[np.float64], options: Sequence[int]) -> NDArray[np.uint8]:
    """Height x width x RGB: a row for each option, the decisions below each other, darker where it
    is more probable. ``p_OM``: the probability of each option at each moment. ``options``: how
    many each decision has."""
    moments = p_OM.shape[1]
    columns = np.arange(WIDTH) * moments // WIDTH
    wide = p_OM[:, columns, None]
    shown = _NONE + wide * (_SURE - _NONE)
    parts = []
    for at, rows in enumerate(np.split(shown, np.cumsum(options)[:-1])):
        if at:
            parts.append(np.broadcast_to(_BETWEEN, (GAP, WIDTH, 3)))
        parts.append(rows.repeat(ROW, 0))
    return np.concatenate(parts).round().astype(np.uint8)
