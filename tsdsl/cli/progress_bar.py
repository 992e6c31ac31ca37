"""A bar with the time that is left, on a terminal; nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from tsdsl.cli.output import coloured, note

#: Seconds between two times that the bar is drawn.
_DRAWN_EVERY = 0.2


class Steps:
    """Is called for each step that is done. This one is for what is no terminal."""

    def __call__(self, text: str = "") -> None:
        """``text`` is shown at the end of the bar from now on, if there is one."""

    def say(self, line: str) -> None:
        """A line that stays."""
        note(line)


class _Bar(Steps):
    def __init__(self, bar: Any, task: Any) -> None:
        self._bar = bar
        self._task = task
        self._shown = monotonic()

    def __call__(self, text: str = "") -> None:
        self._bar.advance(self._task)
        if text:
            self._bar.update(self._task, text=text)
        if monotonic() - self._shown > _DRAWN_EVERY:
            self._bar.refresh()
            self._shown = monotonic()

    def say(self, line: str) -> None:
        self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress(what: str, total: int, done: int = 0) -> Iterator[Steps]:
    """Gives what is to be called for each step of ``total``, of which some are done already. Goes
    to standard error."""
    if not sys.stderr.isatty():
        yield Steps()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True, no_color=not coloured(sys.stderr))
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}", markup=False),
    )
    # Without a thread of its own, which would disturb what is timed.
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as bar:
        task = bar.add_task(what, total=total, completed=done, text="")
        bar.refresh()
        yield _Bar(bar, task)
