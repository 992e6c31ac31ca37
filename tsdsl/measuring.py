"""Times on this machine: of the operations of a space, as a cost table; of whole networks.

`measure` times each operation alone. The latency of an architecture is then modelled as the sum
over its operations, which every exact query works on; `check` compares such sums with whole
networks. `bench` times whole networks side by side.

Both are also generators of events (`measure_events`, `bench_events`), for a caller that shows how
far they are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from statistics import median
from time import monotonic
from typing import Any

import tsdsl
from tsdsl.analysis.costs.configuration import Configuration
from tsdsl.analysis.costs.cost_table import CostTable
from tsdsl.analysis.costs.rank import kendall, spearman
from tsdsl.analysis.elimination.configurations import ConfigurationSet, configurations, of_network
from tsdsl.arguments import check_type
from tsdsl.backends.bench import (
    REPEATS,
    WARMUP,
    Bench,
    BenchReport,
    LazyNetwork,
    NetworkOrPair,
    lazy,
)
from tsdsl.backends.timing import (
    Clock,
    Dtype,
    Measurements,
    Setup,
    Statistic,
    estimate,
    rounds,
    shares,
)
from tsdsl.compiler import compile
from tsdsl.diagnostics import Diagnostic, DiagnosticError, SpecError
from tsdsl.files import PathLike
from tsdsl.ir.architecture import Architecture
from tsdsl.record import Record
from tsdsl.space import Space

#: Name and unit of the table that `measure` makes.
LATENCY, NANOSECONDS = "latency", "ns"
#: Default number of whole networks that sums of operations are compared with.
CHECKED = 30
#: Architectures that are drawn to choose those whose predicted latencies spread evenly.
DRAWN = 2000
#: Seconds between two times that the table is saved.
SAVED_EVERY = 30
#: Operations that the message of a `MeasuringError` names.
SHOWN = 10


class MeasuringError(DiagnosticError, RuntimeError):
    """Some operations could not be measured. ``table`` has the others."""

    def __init__(self, diagnostics: Sequence[Diagnostic], table: CostTable) -> None:
        super().__init__(diagnostics)
        self.table = table


# ------------------------------------------------------------------------------------- operations


class MeasuringStarted(Record):
    """The operations are known, and the table can be written."""

    setup: Setup
    #: Operations, each with its arguments and input shapes, and those that the table has already.
    operations: int
    kept: int
    #: False where the space is too coupled to enumerate its operations: some may be superfluous.
    exact: bool


class OperationsPlanned(Record):
    """An estimate of the time that measuring takes, in seconds, and the number of its visits."""

    operations: int
    seconds: float
    visits: int


class OperationTimed(Record):
    """One visit: an operation was timed in one of the rounds."""

    operation: Configuration


class CheckStarted(Record):
    """All operations are measured; whole networks follow."""

    networks: int
    visits: int


class NetworkChecked(Record):
    """One visit of a whole network."""


class MeasuringFinished(Record):
    """The table. ``failures`` says why operations have no value; ``check_failures`` the same of
    whole networks."""

    table: CostTable
    failures: Mapping[Configuration, str]
    check_failures: tuple[str, ...] = ()


MeasuringEvent = (
    MeasuringStarted
    | OperationsPlanned
    | OperationTimed
    | CheckStarted
    | NetworkChecked
    | MeasuringFinished
)


def measure(
    space: Space,
    frozen: Mapping[str, Any] | None = None,
    *,
    path: PathLike | None = None,
    force: bool = False,
    device: str = "cpu",
    dtype: Dtype = "float32",
    batch: int = 1,
    threads: int | None = None,
    repeats: int = 20,
    warmup: int = 3,
    statistic: Statistic = "median",
    clock: Clock = "wall",
    check: int = CHECKED,
    seed: int = 0,
    on_event: Callable[[MeasuringEvent], None] | None = None,
) -> CostTable:
    """Measure the latency of every operation of a space, in nanoseconds per call.

    Each operation that some architecture has is timed once for each combination of arguments and
    input shapes, alone, in evaluation mode. The latency of an architecture is then the sum over its
    operations: give the table to `tsdsl.load(..., costs=table)` or `Space.with_costs`.

    - ``space``: the space. ``frozen``: only the operations of this architecture.
    - ``path``: a file for the table. It is saved every 30 seconds and when the measurement is
      interrupted, and values that it has already are kept, unless ``force`` is set.
    - ``device``: "cpu", "cuda" or "cuda:N". ``dtype``: type of weights and inputs. ``batch``: clips
      of one call.
    - ``threads``: CPU threads of this process from now on; left out, as it is.
    - ``repeats``: samples of an operation, spread over 5 interleaved rounds. ``warmup``: calls
      before the samples. ``statistic``: "median" of the samples, or "min", which suits a busy
      machine. ``clock``: "wall", or "cpu" for the CPU time of one thread.
    - ``check``: number of whole networks that are timed too, to see how well sums predict them; the
      rank correlations and ratios are in ``table.provenance["check"]``. 0 for none.
    - ``seed``: order of the rounds, and choice of the checked networks.
    - ``on_event``: called with each `MeasuringEvent` as it happens.

    Raises `MeasuringError` where operations fail (its ``table`` has the others), `SpecError` for a
    device that cannot be used or a table that was measured in another way, `FileError`.

        >>> table = tsdsl.measure(space, threads=1, repeats=2, warmup=0, check=0)
        >>> table.name, table.unit, len(table.values)
        ('latency', 'ns', 21)
        >>> space.with_costs(table).value("latency", arch) > 0
        True
    """
    check_type("space", space, Space, "tsdsl.load(path) reads a spec")
    setup = setup_of(device, dtype, batch, repeats, warmup, threads, statistic, clock)
    arch = None if frozen is None else space.architecture(frozen)
    last: MeasuringEvent | None = None
    for last in measure_events(space, arch, setup, path=path, force=force, check=check, seed=seed):
        if on_event is not None:
            on_event(last)
    assert isinstance(last, MeasuringFinished)
    if last.failures:
        raise MeasuringError(failed(last.failures, space.graph.source), last.table)
    return last.table


def measure_events(
    space: Space,
    arch: Architecture | None,
    setup: Setup,
    *,
    path: PathLike | None = None,
    force: bool = False,
    check: int = CHECKED,
    seed: int = 0,
) -> Generator[MeasuringEvent, None, None]:
    """The events of `measure`; the last one is `MeasuringFinished`. Closing the generator, or an
    interrupt, saves what is measured."""
    operations = _operations(space, arch)
    before = _before(path, setup, force)
    todo = [c for c in operations.configurations if force or c not in before.values]
    run = _Run(space, setup, before, path, seed)
    run.save()
    kept = len(operations.configurations) - len(todo)
    yield MeasuringStarted(setup, len(operations.configurations), kept, operations.exact)
    failures: Mapping[Configuration, str] = {}
    if todo:
        failures = yield from run.measure(todo)
    check_failures: tuple[str, ...] = ()
    if check and not failures:
        check_failures = yield from run.check(check, arch)
    run.finish()
    yield MeasuringFinished(run.table, failures, check_failures)


def failed(failures: Mapping[Configuration, str], file: str) -> list[Diagnostic]:
    """Findings for the first `SHOWN` of the operations that could not be measured."""
    return [
        Diagnostic("E0727", f"{name} cannot be measured: {why}", file=file)
        for name, why in list(failures.items())[:SHOWN]
    ]


def _operations(space: Space, arch: Architecture | None) -> ConfigurationSet:
    if arch is not None or not space.decisions:
        return of_network(space.network(arch))
    return configurations(space.graph)


def _before(path: PathLike | None, setup: Setup, force: bool) -> CostTable:
    """The table to extend: the file's, if it was measured in the same way. Raises `SpecError`."""
    empty = CostTable(LATENCY, NANOSECONDS, {}, {})
    if path is None or not os.path.isfile(path):
        return empty
    table = CostTable.load(path)
    now = setup.identity
    other = [key for key, value in now.items() if table.provenance.get(key) != value]
    if table.name == LATENCY and not other:
        return table
    if table.name == LATENCY and (force or not table.values):
        return empty
    if table.name != LATENCY:
        message = f"this table has the cost '{table.name}', not {LATENCY}"
        hint = "write to another file with -o"
    else:
        differ = ", ".join(f"{key} was {table.provenance.get(key)}, is {now[key]}" for key in other)
        message = f"this table was measured in another way: {differ}"
        hint = "write to another file with -o, or begin anew with --force"
    raise SpecError([Diagnostic("E0725", message, file=os.fspath(path), help=hint)])


class _Run:
    """One measurement and the file that it is written to."""

    def __init__(
        self, space: Space, setup: Setup, before: CostTable, path: PathLike | None, seed: int
    ) -> None:
        self._space = space
        self._setup = setup
        self._path = path
        #: A device or a pipe takes the table once, when it is complete.
        self._saves = path is not None and (not os.path.exists(path) or os.path.isfile(path))
        self._seed = seed
        self._values = dict(before.values)
        self._spreads = dict(before.spreads)
        spaces = before.provenance.get("spaces")
        self._provenance: dict[str, Any] = {
            **before.provenance,
            "tsdsl": tsdsl.__version__,
            **setup.identity,
            "repeats": setup.repeats,
            "warmup": setup.warmup,
            "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "spaces": {**(spaces if isinstance(spaces, dict) else {}), space.hash: space.name},
        }

    @property
    def table(self) -> CostTable:
        return CostTable(LATENCY, NANOSECONDS, self._values, self._provenance, self._spreads)

    def save(self) -> None:
        if self._path is not None and (self._saves or os.path.isdir(self._path)):
            self.table.save(self._path)

    def finish(self) -> None:
        if self._path is not None and not self._saves:
            self.table.save(self._path)

    def measure(
        self, todo: Sequence[Configuration]
    ) -> Generator[MeasuringEvent, None, Mapping[Configuration, str]]:
        """Time operations, saving from time to time. Returns what failed, and why."""
        setup = self._setup
        subjects = {operation: partial(setup.call_of, operation) for operation in todo}
        measured: Measurements[Configuration] = Measurements()
        # A check of fewer operations says nothing about these.
        self._provenance.pop("check", None)
        try:
            seconds = estimate(setup, subjects, self._seed)
            yield OperationsPlanned(len(todo), seconds, len(shares(setup.repeats)) * len(todo))
            saved = monotonic()
            for _, operation in rounds(setup, subjects, self._seed, measured):
                if monotonic() - saved > SAVED_EVERY:
                    self._take(measured)
                    saved = monotonic()
                yield OperationTimed(operation)
        finally:
            self._take(measured)
        return measured.failures

    def _take(self, measured: Measurements[Configuration]) -> None:
        for name in measured.samples:
            self._values[name] = measured.value(name, self._setup.statistic)
            self._spreads[name] = measured.spread(name)
        for name in measured.failures:
            self._values.pop(name, None)
            self._spreads.pop(name, None)
        self.save()

    def check(
        self, count: int, arch: Architecture | None
    ) -> Generator[MeasuringEvent, None, tuple[str, ...]]:
        """Time whole networks, and note in the table how well sums of operations predict them.
        Returns why networks failed."""
        setup, space = self._setup, self._space.with_costs(self.table)
        if arch is not None or not space.decisions:
            chosen = [space.architecture({}) if arch is None else arch]
        else:
            chosen = _spread(space, count, self._seed)
        networks = {one: space.network(one) for one in chosen}
        subjects = {one: partial(setup.call_of_network, networks[one]) for one in chosen}
        measured: Measurements[Architecture] = Measurements()
        yield CheckStarted(len(chosen), len(shares(setup.repeats)) * len(subjects))
        for _ in rounds(setup, subjects, self._seed, measured):
            yield NetworkChecked()
        timed = [one for one in chosen if one in measured.samples]
        if timed:
            sums = [int(space.value(LATENCY, one)) for one in timed]
            wholes = [measured.value(one, setup.statistic) for one in timed]
            self._provenance["check"] = _agreement(sums, wholes, self._seed)
            self.save()
        return tuple(measured.failures.values())


def _agreement(sums: Sequence[int], wholes: Sequence[int], seed: int) -> dict[str, Any]:
    """How well the sums over operations predict the latencies of whole networks (both in ns)."""
    ratios = [s / max(w, 1) for s, w in zip(sums, wholes, strict=True)]
    return {
        "architectures": len(sums),
        "seed": seed,
        "spearman": _rounded(spearman(sums, wholes)),
        "kendall": _rounded(kendall(sums, wholes)),
        "sum_over_whole": {
            "median": _rounded(median(ratios)),
            "min": _rounded(min(ratios)),
            "max": _rounded(max(ratios)),
        },
        "sums": list(sums),
        "wholes": list(wholes),
    }


def _spread(space: Space, count: int, seed: int) -> list[Architecture]:
    """Architectures at even quantiles of the predicted latency of many that are drawn uniformly."""
    drawn = space.sample(max(DRAWN, 4 * count), seed=seed, weights="architectures")
    predicted = [int(value) for value in space.value(LATENCY, drawn)]
    ordered = sorted(range(len(drawn)), key=lambda k: (predicted[k], k))
    if len(drawn) <= count:
        return [drawn[k] for k in ordered]
    if count == 1:
        return [drawn[ordered[len(ordered) // 2]]]
    return [drawn[ordered[k * (len(ordered) - 1) // (count - 1)]] for k in range(count)]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


# --------------------------------------------------------------------------------- whole networks


class NetworkPrepared(Record):
    """A network was made, run once, and its memory measured; or ``failure`` says why not."""

    name: str
    failure: str | None


class TimingStarted(Record):
    """All networks are prepared. ``seconds`` is an estimate of the time that ``visits`` take."""

    setup: Setup
    networks: int
    seconds: float
    visits: int


class NetworkTimed(Record):
    """One visit: a network was timed in one of the rounds."""

    name: str


class BenchFinished(Record):
    report: BenchReport


BenchEvent = NetworkPrepared | TimingStarted | NetworkTimed | BenchFinished

#: What `bench` takes as a network.
Benchable = (
    Space
    | tuple[Space, Mapping[str, Any]]
    | NetworkOrPair
    | Callable[[], NetworkOrPair]
    | LazyNetwork
)


def bench(
    networks: Mapping[str, Benchable],
    input_shape: Sequence[int] | None = None,
    *,
    device: str = "cpu",
    dtype: Dtype = "float32",
    batch: int = 1,
    threads: int | None = None,
    repeats: int | None = None,
    warmup: int | None = None,
    clock: Clock = "wall",
    channels_last: bool = False,
    compiled: bool = False,
    seed: int = 0,
    on_event: Callable[[BenchEvent], None] | None = None,
) -> BenchReport:
    """Time networks side by side, in evaluation mode, with their peak memory and ratios.

    Networks are timed in turn, round by round; a ratio is taken within a round, so that what slows
    a whole round down is in both of its sides.

    - ``networks``: by name, each one of
        - a `Space` without decisions, or a pair (space, architecture);
        - an `nn.Module`, which is copied;
        - a pair (module, example input). A tensor or a list is its only argument, a tuple has all
          of them; leading axes count clips: 1, or as many as ``batch``;
        - a function without arguments that makes a module or such a pair.
    - ``input_shape``: the clip (C, T, H, W) of modules that bring no example input.
    - ``device``: "cpu", "cuda" or "cuda:N". ``dtype``: type of weights and inputs. ``batch``: clips
      of one call.
    - ``threads``: CPU threads of this process from now on; left out, as it is.
    - ``repeats``: samples of a network; left out, 500 on a GPU and 30 on the CPU. ``warmup``: calls
      before the samples; left out, 10 and 3. ``clock``: "wall", or "cpu" for the CPU time of one
      thread.
    - ``channels_last``: weights and inputs in channels-last memory. ``compiled``: time what
      `torch.compile` makes of each network.
    - ``seed``: order of the rounds.
    - ``on_event``: called with each `BenchEvent` as it happens.

    A network that fails is a row that says why. Raises `SpecError` for a device that cannot be
    used.

        >>> report = tsdsl.bench({"drawn": (space, arch)}, threads=1, repeats=2, warmup=0)
        >>> report.row("drawn").macs == space.flops(arch)
        True
    """
    kind = device.partition(":")[0]
    setup = setup_of(
        device,
        dtype,
        batch,
        REPEATS.get(kind, 1) if repeats is None else repeats,
        WARMUP.get(kind, 1) if warmup is None else warmup,
        threads,
        clock=clock,
    )
    prepared = {name: _lazy(given, input_shape) for name, given in networks.items()}
    last: BenchEvent | None = None
    for last in bench_events(
        prepared, setup, channels_last=channels_last, compiled=compiled, seed=seed
    ):
        if on_event is not None:
            on_event(last)
    assert isinstance(last, BenchFinished)
    return last.report


def bench_events(
    networks: Mapping[str, LazyNetwork],
    setup: Setup,
    *,
    channels_last: bool = False,
    compiled: bool = False,
    seed: int = 0,
) -> Iterator[BenchEvent]:
    """The events of `bench`; the last one is `BenchFinished`."""
    run = Bench(setup, channels_last=channels_last, compiled=compiled, seed=seed)
    failures = 0
    for name, network in networks.items():
        failure = run.prepare(name, network)
        failures += failure is not None
        yield NetworkPrepared(name, failure)
    yield TimingStarted(setup, len(networks) - failures, run.seconds, run.visits)
    for _, name in run.rounds():
        yield NetworkTimed(name)
    yield BenchFinished(run.report())


def _lazy(given: Benchable, clip: Sequence[int] | None) -> LazyNetwork:
    if isinstance(given, Space):
        return lazy_network(given)
    if isinstance(given, tuple) and isinstance(given[0], Space):
        return lazy_network(given[0], given[1])
    return lazy(given, clip)


def lazy_network(
    space: Space,
    frozen: Mapping[str, Any] | None = None,
    clip: Sequence[int] | None = None,
) -> LazyNetwork:
    """The network of an architecture, made when its turn comes. ``clip`` (C, T, H, W) is another
    one than the space's; multiply-accumulates are then counted in the module."""
    clip = space.input_shape if clip is None else tuple(clip)
    macs = int(space.flops(frozen)) if clip == space.input_shape else None
    return LazyNetwork(partial(compile, space, frozen), clip, macs)


def setup_of(
    device: str,
    dtype: Dtype,
    batch: int,
    repeats: int,
    warmup: int,
    threads: int | None = None,
    statistic: Statistic = "median",
    clock: Clock = "wall",
) -> Setup:
    """Conditions of a measurement. Raises `SpecError` for a device that cannot be used, and
    `ValueError` for options that do not go together."""
    if clock == "cpu" and (device != "cpu" or threads != 1):
        raise ValueError('clock="cpu" is for device="cpu" and threads=1')
    for name, value, least in (("batch", batch, 1), ("repeats", repeats, 1), ("warmup", warmup, 0)):
        if value < least:
            raise ValueError(f"{name} is at least {least}, not {value}")
    return Setup.of(device, dtype, batch, repeats, warmup, threads, statistic, clock)
