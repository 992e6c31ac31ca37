"""The one loop of everything that runs for long: a run's events become lines on standard error, a
progress bar, then a result as text or JSON, and an exit code.

A kind of run has an `EventReport`, which says how its events and its result are shown.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from tsdsl.cli.output import data, note, show
from tsdsl.cli.progress_bar import Steps, progress
from tsdsl.diagnostics import Diagnostic

if TYPE_CHECKING:
    from tsdsl.training.ranks import Ranks

#: Videos that cannot be used which are named on a terminal, at most.
SHOWN = 5
#: Exit code of a run that was asked to stop.
INTERRUPTED = 130


class Result(Protocol):
    """The last event of a run."""

    @property
    def interrupted(self) -> bool:
        """Whether the run was asked to stop, and can be resumed."""


Finished = TypeVar("Finished", bound=Result)
Stop = Callable[[], bool]


class EventReport(Generic[Finished]):
    """How one kind of run is shown. ``finished`` is the type of its last event."""

    #: Stands before the progress bar.
    title: str
    finished: type[Finished]

    def opening(self, started: Any) -> str:
        """A line about the first event."""
        raise NotImplementedError

    def extent(self, started: Any) -> tuple[int, int]:
        """Steps of the progress bar, and how many of them are done, by the first event."""
        raise NotImplementedError

    def show(self, event: Any, bar: Steps) -> None:
        """Show an event that is neither the first one, nor the last one, nor a warning."""
        raise NotImplementedError

    def close(self, bar: Steps) -> None:
        """Show what was kept back when the events end."""

    def while_running(self) -> AbstractContextManager[None]:
        """Surrounds the events: whatever is to be said if the run fails."""
        return nullcontext()

    def interruption(self, finished: Finished) -> str:
        """How far the run came, and how it goes on."""
        raise NotImplementedError

    def as_json(self, finished: Finished) -> dict[str, Any]:
        raise NotImplementedError

    def text(self, finished: Finished) -> str:
        raise NotImplementedError

    def findings(self, finished: Finished) -> Sequence[Diagnostic]:
        """Diagnostics of the result."""
        return ()

    def remark(self, finished: Finished) -> str | None:
        """A line below the result."""
        return None

    def exit_code(self, finished: Finished) -> int:
        return 0


def run_to_the_end(
    device: str | None,
    begin: Callable[[Ranks, Stop], Iterator[Any]],
    report: EventReport[Finished],
    as_json: bool,
) -> int:
    """Run something on this rank, of which ``begin`` gives the events, and print its result. The
    exit code; ranks but the first one print nothing."""
    from tsdsl.training.ranks import Ranks

    with Ranks.of(device) as ranks, stop_on_signal(ranks.is_first) as stop:
        events = begin(ranks, stop)
        if not ranks.is_first:
            drain(events)
            return 0
        finished = follow(events, report)
    if finished.interrupted:
        note(report.interruption(finished))
        return INTERRUPTED
    show(report.findings(finished))
    data(json.dumps(report.as_json(finished), indent=2) if as_json else report.text(finished))
    if remark := report.remark(finished):
        note(remark)
    return report.exit_code(finished)


def follow(events: Iterator[Any], report: EventReport[Finished]) -> Finished:
    """Show the events of a run as they come; returns the last one."""
    from tsdsl.training.events import WarningRaised

    started = next(events)
    note(report.opening(started))
    event: Any = started
    total, done = report.extent(started)
    with report.while_running(), progress(report.title, total, done) as bar:
        for event in events:
            if isinstance(event, WarningRaised):
                show(event.diagnostics)
            elif not isinstance(event, report.finished):
                report.show(event, bar)
        report.close(bar)
    assert isinstance(event, report.finished), event
    return event


def drain(events: Iterable[Any]) -> None:
    """Take part in a run whose events another rank shows."""
    for _ in events:
        pass


@contextmanager
def stop_on_signal(is_first: bool) -> Iterator[Stop]:
    """Yields a function that says whether the run has been asked to stop: by Ctrl-C, or by SIGTERM,
    which clusters send. A second Ctrl-C raises `KeyboardInterrupt`. Ranks but the first one ignore
    both signals, as the first one tells them when to stop."""
    stopping = False

    def on_signal(number: int, frame: Any) -> None:
        nonlocal stopping
        if stopping and number == signal.SIGINT:
            raise KeyboardInterrupt
        stopping = True

    before = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, on_signal if is_first else signal.SIG_IGN)
    try:
        yield lambda: stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
