"""One loop shows the events of every run: lines, the result as text or JSON, the exit code."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tsdsl.cli.event_loop import INTERRUPTED, EventReport, run_to_the_end, stop_on_signal
from tsdsl.cli.progress_bar import Steps
from tsdsl.diagnostics import Diagnostic
from tsdsl.training.events import WarningRaised


class Begun(NamedTuple):
    total: int


class Counted(NamedTuple):
    number: int


class Ended(NamedTuple):
    numbers: int
    interrupted: bool = False


class Report(EventReport[Ended]):
    title = "counting"
    finished = Ended

    def opening(self, started: Begun) -> str:
        return f"{started.total} numbers"

    def extent(self, started: Begun) -> tuple[int, int]:
        return started.total, 0

    def show(self, event: Any, bar: Steps) -> None:
        bar.say(f"number {event.number}")

    def close(self, bar: Steps) -> None:
        bar.say("kept back")

    def interruption(self, finished: Ended) -> str:
        return f"stopped after {finished.numbers}"

    def as_json(self, finished: Ended) -> dict[str, Any]:
        return {"numbers": finished.numbers}

    def text(self, finished: Ended) -> str:
        return f"{finished.numbers} in all"

    def findings(self, finished: Ended) -> list[Diagnostic]:
        return [Diagnostic("E0848", "too many")]

    def remark(self, finished: Ended) -> str:
        return "that was it"

    def exit_code(self, finished: Ended) -> int:
        return 1


def counting(ranks: Any, stop: Any) -> Iterator[Any]:
    yield Begun(3)
    for number in range(3):
        if stop():
            yield Ended(number, interrupted=True)
            return
        yield Counted(number)
        if number == 0:
            yield WarningRaised((Diagnostic("W0973", "look", severity="warning"),))
    yield Ended(3)


def test_events_become_lines_and_a_result(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_to_the_end("cpu", counting, Report(), as_json=False) == 1
    printed = capsys.readouterr()
    assert printed.out == "3 in all\n"
    lines = [line for line in printed.err.split("\n") if line]
    assert lines == [
        "3 numbers",
        "number 0",
        "warning[W0973]: look",
        "number 1",
        "number 2",
        "kept back",
        "error[E0848]: too many",
        "that was it",
    ]


def test_the_result_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    run_to_the_end("cpu", counting, Report(), as_json=True)
    assert json.loads(capsys.readouterr().out) == {"numbers": 3}


def test_an_interrupted_run_prints_no_result(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(ranks: Any, stop: Any) -> Iterator[Any]:
        for event in counting(ranks, stop):
            yield event
            if event == Counted(1):
                os.kill(os.getpid(), signal.SIGTERM)

    assert run_to_the_end("cpu", interrupted, Report(), as_json=True) == INTERRUPTED
    printed = capsys.readouterr()
    assert printed.out == "" and "stopped after 2\n" in printed.err


def test_a_run_that_fails_is_not_taken_for_one_that_ended() -> None:
    def failing(ranks: Any, stop: Any) -> Iterator[Any]:
        yield Begun(1)
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        run_to_the_end("cpu", failing, Report(), as_json=False)


def test_a_second_ctrl_c_does_not_wait() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stop_on_signal(is_first=True) as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_other_ranks_leave_signals_to_the_first_one() -> None:
    with stop_on_signal(is_first=False) as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert not stop()
