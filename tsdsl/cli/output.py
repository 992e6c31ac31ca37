"""Where output goes: data to standard output, everything else to standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

from tsdsl.cli.options import colour
from tsdsl.diagnostics import Diagnostic
from tsdsl.diagnostics.render import render_all


def data(text: str) -> None:
    """Print data."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def note(text: str) -> None:
    """Say something that is no data."""
    sys.stderr.write(text + "\n")


def show(diagnostics: Iterable[Diagnostic]) -> None:
    """Render findings for people."""
    sys.stderr.write(render_all(diagnostics, colour=coloured(sys.stderr)))


def coloured(stream: TextIO) -> bool:
    """Whether output to a stream is coloured: ``--color``, else ``NO_COLOR``, else a terminal."""
    chosen = colour.get()
    if chosen != "auto":
        return chosen == "always"
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def aligned(rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> str:
    """Rows as plain text in columns two blanks apart; the columns in ``right`` end flush."""
    flush = set(right)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if at in flush else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
