"""Where output goes: data to standard output, everything else to standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

import click

from tsdsl.cli.colour import colour
from tsdsl.diagnostics import Diagnostic
from tsdsl.diagnostics.render import render_all, visible
from tsdsl.files import check_writable


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


def check_outputs(outputs: Iterable[str | None], inputs: Iterable[str | None]) -> None:
    """Before work that takes long: whether what it comes to can be written, and not over what it
    is made from. Raises `FileError` and `UsageError`."""
    kept = {os.path.realpath(path): path for path in inputs if path is not None}
    for path in outputs:
        if path is None:
            continue
        if (given := kept.get(os.path.realpath(path))) is not None:
            message = f"'{visible(path)}' would be written over '{visible(given)}', which is read"
            raise click.UsageError(message)
        check_writable(path)
