"""How objects show themselves in IPython and notebooks: short lines, and small HTML tables.

The HTML uses no colours, scripts, styles or files of its own, so it follows the theme of the
notebook, light or dark. Every text is escaped: names come from files and can hold anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import islice

from tsdsl.diagnostics.render import visible

#: Rows of a table; more are counted and left out.
MAX_ROWS = 60
#: Characters of a cell.
MAX_TEXT = 120
#: Characters of the items that a one-line repr lists.
MAX_LINE = 60


def shortened(text: object, limit: int = MAX_TEXT) -> str:
    """A text on one line of at most ``limit`` characters; characters that do not print are spelled
    out."""
    raw = str(text)
    line = visible(raw[: 2 * limit])
    return line if len(line) <= limit and len(raw) <= 2 * limit else f"{line[: limit - 3]}..."


def listed(items: Iterable[object], separator: str = ", ", limit: int = MAX_LINE) -> str:
    """The first items, joined, in about ``limit`` characters; ``...`` stands for the others."""
    shown: list[str] = []
    length = 0
    for item in items:
        text = shortened(item, limit)
        if shown and length + len(text) > limit:
            return separator.join([*shown, "..."])
        shown.append(text)
        length += len(text) + len(separator)
    return separator.join(shown)


def html_table(
    caption: str,
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    total: int | None = None,
) -> str:
    """A table of at most `MAX_ROWS` rows. ``total`` is the number of rows that there are, where
    ``rows`` does not know it: no more rows than are shown are taken from it."""
    first = list(islice(rows, MAX_ROWS + (total is None)))
    more = (total if total is not None else len(first)) - min(len(first), MAX_ROWS)
    parts = ["<table>", f"<caption><b>{_cell(caption)}</b></caption>"]
    if header:
        names = "".join(f'<th style="text-align: left">{_cell(name)}</th>' for name in header)
        parts.append(f"<thead><tr>{names}</tr></thead>")
    parts.append("<tbody>")
    for row in first[:MAX_ROWS]:
        cells = "".join(f'<td style="text-align: left">{_cell(cell)}</td>' for cell in row)
        parts.append(f"<tr>{cells}</tr>")
    if more > 0:
        left = f"... and {more:,} more" if total is not None else "... and more"
        width = max(len(header), *(len(row) for row in first))
        parts.append(f'<tr><td colspan="{width}" style="text-align: left">{left}</td></tr>')
    parts.append("</tbody></table>")
    return "".join(parts)


def _cell(value: object) -> str:
    return escape(shortened(value))
