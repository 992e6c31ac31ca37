"""What holds for every test: the options below, one thread for each worker, long files first.

``--update-goldens`` writes expected outputs anew; it is refused in CI.
``--sweep`` adds the tests that are marked so: the same code on more or larger cases (`cases.py`).
``--write-durations`` writes `durations.json`: for each file its number of tests and their CPU
seconds, those of their processes included. CPU time is what a machine that does other things, too,
can measure. The file orders the tests here, and bounds the choice of `affected.py`.
"""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from hypothesis import settings

DURATIONS = Path(__file__).parent / "durations.json"

# Each worker has one core: threads of torch and numpy would only wait for each other. Read when
# they are imported, here and in all processes that the tests start.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-goldens", action="store_true", help="write expected outputs anew; read the diff"
    )
    parser.addoption("--sweep", action="store_true", help="more and larger cases (half an hour)")
    parser.addoption(
        "--write-durations", action="store_true", help="write tests/durations.json anew"
    )


def pytest_configure(config: pytest.Config) -> None:
    # A shell's background job ignores Ctrl-C, and so would what the tests start and interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # The examples of hypothesis are the same in each run, but for a sweep.
    settings.register_profile("fixed", derandomize=True)
    settings.load_profile("default" if config.getoption("--sweep") else "fixed")
    if config.getoption("--update-goldens") and os.environ.get("CI"):
        raise pytest.UsageError("goldens are not regenerated in CI")
    if config.getoption("--write-durations"):
        config.pluginmanager.register(Durations(config), "durations")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--sweep"):
        swept = [item for item in items if item.get_closest_marker("sweep")]
        config.hook.pytest_deselected(items=swept)
        items[:] = [item for item in items if not item.get_closest_marker("sweep")]
    # Files that take long come first, so that no worker begins one when the others are done. Tests
    # of a file stay together, for they share fixtures.
    known = json.loads(DURATIONS.read_text(encoding="utf-8")) if DURATIONS.exists() else {}
    items.sort(key=lambda item: -known.get(file_of(item.nodeid), (0, 0.0))[1])


def file_of(test: str) -> str:
    """`tests/cli/test_main.py` of `tests/cli/test_main.py::test_version`."""
    return test.partition("::")[0]


class Durations:
    """Adds up the CPU time of each file, over all workers, and writes `durations.json`."""

    def __init__(self, config: pytest.Config) -> None:
        self.writes = not hasattr(config, "workerinput")
        self.before = cpu_seconds()
        self.tests: dict[str, set[str]] = {}
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        now = cpu_seconds()
        report.user_properties.append(("cpu_seconds", now - self.before))
        self.before = now
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        file = file_of(report.nodeid)
        self.tests.setdefault(file, set()).add(report.nodeid)
        spent = sum(value for name, value in report.user_properties if name == "cpu_seconds")
        self.seconds[file] = self.seconds.get(file, 0.0) + spent

    def pytest_sessionfinish(self) -> None:
        if self.writes:
            rows = [
                f'  "{file}": [{len(tests)}, {self.seconds[file]:.1f}]'
                for file, tests in sorted(self.tests.items())
            ]
            DURATIONS.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")


def cpu_seconds() -> float:
    """User and system time of this process and of the children that it has waited for."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """``golden(path, text)`` asserts that the file holds the text, or writes it."""

    def compare(path: Path, text: str) -> None:
        if request.config.getoption("--update-goldens"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} does not exist: run with --update-goldens and read it"
        assert text == path.read_text(encoding="utf-8")

    return compare
