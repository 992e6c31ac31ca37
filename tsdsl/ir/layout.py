"""The positions of a tensor's channels in a supernet, for one architecture.

A supernet has one tensor for each parameter, as large as the largest architecture needs. A narrower
one uses the first channels, as long as channels are ranked: position 3 is channel 3 in all of them.
After ``concat`` they are not: with a first input of 8 or 16 channels, channel 12 of the result
belongs to the second or to the first input. There each input has a *segment* of positions of its
own, as large as its largest width, and a narrower input uses the beginning of its segment. The
invariant:

    position p of an axis is, in every architecture that uses it, a channel of the same input

A `ChannelLayout` lists these positions in the order of the channels. Each operation computes the
layout of its result (`Op.layout`). Weights that read the axis, and those that write it, are
gathered at these positions (`tsdsl.backends.elastic`). A frozen network has no layouts: its weights
have been gathered already.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

#: (start, length) of consecutive positions, in the order of the channels.
Runs = tuple[tuple[int, int], ...]


class ChannelLayout(NamedTuple):
    """Positions of the channels of one architecture, out of the ``whole`` positions of the axis in
    the supernet."""

    runs: Runs
    whole: int

    @property
    def size(self) -> int:
        """Number of channels."""
        return sum(length for _, length in self.runs)


#: Layouts of the channels and of the columns (second axis) of a tensor; None means the first
#: positions in order. Only matrices have a layout of columns.
Axes = tuple[ChannelLayout | None, ChannelLayout | None]
PLAIN: Axes = (None, None)


class Occurrences(NamedTuple):
    """The arguments, input shapes and input layouts of one operation, over all architectures of a
    space. `Op.layout` reserves positions for the largest of them."""

    #: For each input, the number of positions of its channel axis in the supernet.
    extents: tuple[int, ...]
    #: All pairs of arguments (an `OpArgs`) and input shapes.
    configurations: tuple[tuple[Any, tuple[tuple[int, ...], ...]], ...]
    #: Whether the channels of the first input have a layout in some architecture. In the others,
    #: None then means the first positions of that same axis.
    laid_out: bool


def positions(layout: ChannelLayout | None, size: int) -> list[int]:
    """The position of each channel; ``size`` is the number of channels where ``layout`` is None."""
    if layout is None:
        return list(range(size))
    return [p for start, length in layout.runs for p in range(start, start + length)]


def layout_of(found: Iterable[int], whole: int) -> ChannelLayout:
    """The layout with the positions ``found``, in the order of the channels."""
    runs: list[list[int]] = []
    for position in found:
        if runs and position == sum(runs[-1]):
            runs[-1][1] += 1
        else:
            runs.append([position, 1])
    return ChannelLayout(tuple((start, length) for start, length in runs), whole)


def ranked(layout: ChannelLayout) -> ChannelLayout | None:
    """The layout itself, or None if it is the first positions in order."""
    return None if len(layout.runs) == 1 and layout.runs[0][0] == 0 else layout


def side_by_side(
    layouts: Sequence[ChannelLayout | None], sizes: Sequence[int], extents: Sequence[int]
) -> ChannelLayout | None:
    """The layout of a concatenation: each input in a segment of its own, with as many positions as
    its entry of ``extents``. ``sizes`` are the inputs' channels in this architecture."""
    runs: list[tuple[int, int]] = []
    start = 0
    for layout, size, extent in zip(layouts, sizes, extents, strict=True):
        for first, length in ((0, size),) if layout is None else layout.runs:
            if runs and sum(runs[-1]) == start + first:
                runs[-1] = (runs[-1][0], runs[-1][1] + length)
            else:
                runs.append((start + first, length))
        start += extent
    return ranked(ChannelLayout(tuple(runs), start))
