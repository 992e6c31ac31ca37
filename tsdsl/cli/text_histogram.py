"""A histogram in characters: columns of blocks, or of ASCII where the encoding has no blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

#: Characters that fill a cell from empty to full, and the one that underlines the window.
BLOCKS, LINE = " ▁▂▃▄▅▆▇█", "━"
ASCII, ASCII_LINE = " .:#", "="
ROWS = 8
#: Characters to the left of the columns, where the share of the highest column is written.
MARGIN = 8
#: Smallest and largest number of columns.
NARROW, WIDE = 20, 72


def columns(width: int) -> int:
    """The number of bins that fit into ``width`` characters."""
    return min(max(width - MARGIN - 2, NARROW), WIDE)


def drawable(encoding: str | None) -> bool:
    """Whether an encoding has the block characters."""
    try:
        (BLOCKS + LINE).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def chart(
    shares: Sequence[float],
    edges: Sequence[float],
    window: tuple[float, float] | None,
    label: Callable[[float], str],
    blocks: bool,
    paint: Callable[[str], str] = str,
) -> list[str]:
    """The lines of the histogram: its columns, a line below those inside the window, and the values
    at both ends and in the middle. ``paint`` colours the columns inside the window."""
    signs, line = (BLOCKS, LINE) if blocks else (ASCII, ASCII_LINE)
    steps = len(signs) - 1
    top = max(shares)
    heights = [round(share / top * ROWS * steps) if top else 0 for share in shares]
    inside = [False] * len(shares)
    if window is not None:
        low, high = window
        inside = [a <= high and b >= low for a, b in pairwise(edges)]
    lines: list[str] = []
    for row in range(ROWS - 1, -1, -1):
        cells = [signs[min(max(height - row * steps, 0), steps)] for height in heights]
        said = f"{top:.1%}" if row == ROWS - 1 else ""
        lines.append(f"{said:>{MARGIN - 1}} {_painted(cells, inside, paint)}".rstrip())
    if any(inside):
        marks = [line if within else " " for within in inside]
        lines.append(" " * MARGIN + _painted(marks, inside, paint).rstrip())
    first, middle, last = (label(edges[k]) for k in (0, len(shares) // 2, -1))
    left = max(len(shares) // 2 - len(first) + len(middle) // 2, len(middle) + 1)
    scale = first + middle.rjust(left)
    lines.append(" " * MARGIN + scale + last.rjust(max(len(shares) - len(scale), len(last) + 1)))
    return lines


def _painted(cells: Sequence[str], inside: Sequence[bool], paint: Callable[[str], str]) -> str:
    """The cells as text. Each run of cells inside the window is painted in one piece, which keeps
    escape sequences few."""
    out: list[str] = []
    run = ""
    for cell, within in zip(cells, inside, strict=True):
        if within:
            run += cell
            continue
        if run:
            out.append(paint(run))
            run = ""
        out.append(cell)
    return "".join([*out, paint(run) if run else ""])
