"""Standard streams that a process may lack, or cannot write to.

A shell can start a command with closed streams (``>&-``). Python has None in their place then, and
the next file that is opened gets their number: what a library prints would be written into it.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress


def secure() -> None:
    """Have all three streams: before anything is opened.

    A closed standard input is empty. Writing to a closed standard output fails, as to a full disk:
    data would be lost. What is said on a standard error that is closed or full is lost, and that
    changes no exit code.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is given. What is open for reading refuses to be written.
            os.open(os.devnull, os.O_WRONLY if number == 2 else os.O_RDONLY)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    encoding = "utf-8" if sys.stderr is None else sys.stderr.encoding
    raw = open(2, "wb", closefd=False)  # noqa: SIM115
    sys.stderr = _Forgiving(raw, encoding, "backslashreplace", line_buffering=True)


class _Forgiving(io.TextIOWrapper):
    """Text that is lost from the first failure on. A closed pipe is no failure: nobody reads."""

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
    """Have a stream lose what is written to it from here on. Else the interpreter, which flushes
    it at its end, would fail once more."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)
