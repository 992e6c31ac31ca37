"""Standard streams that are closed, or cannot be written to.

A shell can start a command with closed streams (``>&-``). Python then has None in their place, and
the next file that is opened gets their number: whatever a library prints would go into that file.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress


def secure() -> None:
    """Open the standard streams that are missing, before anything else is opened.

    A standard input that was closed is empty. Writing to a standard output that is closed or full
    raises `OutputError`, since data would be lost. Writing to a standard error that is closed or
    full is ignored, and changes no exit code.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is taken. A file that is open for reading cannot be written.
            os.open(os.devnull, os.O_WRONLY if number == 2 else os.O_RDONLY)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        # Not around another wrapper, which would close the file as soon as nothing refers to it.
        sys.stdout = _Reporting(open(1, "wb", closefd=False), "utf-8")  # noqa: SIM115
    elif isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _Reporting(
            sys.stdout.buffer,
            sys.stdout.encoding,
            line_buffering=sys.stdout.line_buffering,
            write_through=sys.stdout.write_through,
        )
    encoding = "utf-8" if sys.stderr is None else sys.stderr.encoding
    raw = open(2, "wb", closefd=False)  # noqa: SIM115
    sys.stderr = _Forgiving(raw, encoding, "backslashreplace", line_buffering=True)


class OutputError(Exception):
    """Standard output cannot be written; the message says why."""


class _Reporting(io.TextIOWrapper):
    """Standard output, whose failures are `OutputError`, to tell them from those of other files. A
    closed pipe raises `BrokenPipeError`."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(error.strerror) from None

    def flush(self) -> None:
        try:
            super().flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(error.strerror) from None


class _Forgiving(io.TextIOWrapper):
    """Standard error: from the first failure on, text is discarded. A closed pipe raises
    `BrokenPipeError`."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except BrokenPipeError:
            raise
        except OSError:
            discard(2)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except BrokenPipeError:
            raise
        except OSError:
            discard(2)


def discard(number: int) -> None:
    """Discard whatever is written to a stream from here on, so that the interpreter, which flushes
    it when it exits, does not fail once more."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)
