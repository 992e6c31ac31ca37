"""What a bug of tsdsl looks like to its user: one line, and a file to send."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from contextlib import suppress

import click

import tsdsl


def report(error: BaseException, args: list[str]) -> None:
    """Save the traceback to a file, and ask for it."""
    path = _save(error, args)
    click.echo(
        f"tsdsl: internal error ({type(error).__name__}). This is a bug in tsdsl, not a mistake of "
        "yours.\n"
        + (
            f"Please report it, with this file: {path}"
            if path
            else "Please report it, with the command that you ran."
        ),
        err=True,
    )


def _save(error: BaseException, args: list[str]) -> str | None:
    with suppress(OSError, MemoryError, RecursionError):
        handle, path = tempfile.mkstemp(prefix="tsdsl-crash-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"tsdsl {tsdsl.__version__}, Python {sys.version}, {sys.platform}\n")
            file.write(f"arguments: {args!r}\n\n")
            file.writelines(traceback.format_exception(error))
        return path
    return None
