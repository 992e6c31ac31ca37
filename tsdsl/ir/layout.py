"""Where the channels of a tensor lie among all channels that it has in some architecture.

A supernet has one tensor for each parameter, as large as the largest architecture needs. A narrower
one takes the first channels, as long as channels are ranked: position 3 is channel 3 in all of
them. Behind ``concat`` that does not hold: after a first input of 8 or 16 channels, position 12 is
a channel of either input. There each input has a *segment* of positions of its own, as large as its
largest width, and a narrower one takes the beginning of its segment. The invariant:

    position p of an axis is, in every architecture that uses it, a channel of the same input

A `Layout` lists these positions in the order of the channels. Operations say what happens to it
(`Op.layout`); weights that are read along the axis, and those that write it, are gathered by it
(`tsdsl.backends.elastic`). A frozen network has no layout: its weights have been gathered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

#: (start, length) of consecutive positions, in the order of the channels.
Runs = tuple[tuple[int, int], ...]


class ChannelLayout(NamedTuple):
    """Positions of the channels of one architecture, out of ``whole`` for all of them."""

    runs: Runs
    whole: int

    @property
    def size(self) -> int:
        """How many channels there are."""
        return sum(length for _, length in self.runs)


#: Layouts of the channels and of the columns of a matrix; None where they are the first positions,
#: in order. What has no columns has None there.
Axes = tuple[ChannelLayout | None, ChannelLayout | None]
PLAIN: Axes = (None, None)


class Occurrences(NamedTuple):
    """What an operation has in some architecture of the space."""

    #: For each input, the number of positions that its channels need at most.
    extents: tuple[int, ...]
    #: Arguments (an `OpArgs`) and input shapes.
    configurations: tuple[tuple[Any, tuple[tuple[int, ...], ...]], ...]
    #: Whether the channels of the first input have a layout in some architecture. If so, None for
    #: them means the first positions of that axis.
    laid_out: bool


def positions(layout: ChannelLayout | None, size: int) -> list[int]:
    """The position of each channel."""
    if layout is None:
        return list(range(size))
    return [p for start, length in layout.runs for p in range(start, start + length)]


def layout_of(found: Iterable[int], whole: int) -> ChannelLayout:
    """The layout with these positions."""
    runs: list[list[int]] = []
    for position in found:
        if runs and position == sum(runs[-1]):
            runs[-1][1] += 1
        else:
            runs.append([position, 1])
    return ChannelLayout(tuple((start, length) for start, length in runs), whole)


def ranked(layout: ChannelLayout) -> ChannelLayout | None:
    """None for a layout of the first positions in order."""
    return None if len(layout.runs) == 1 and layout.runs[0][0] == 0 else layout


def side_by_side(
    layouts: Sequence[ChannelLayout | None], sizes: Sequence[int], extents: Sequence[int]
) -> ChannelLayout | None:
    """Several axes one after another, each in a segment of its own of ``extents`` positions."""
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
