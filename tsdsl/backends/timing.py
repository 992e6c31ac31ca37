"""Latency of torch modules: the median or the minimum of samples that are taken in interleaved
rounds.

A *subject* is a function that returns a call to be timed. Each round visits all subjects in a
random order, so that drifts (clock rates, other processes) affect all of them alike. A subject is
made for each visit and released after it, so that one at a time is in memory; or it is *kept*,
where making it is expensive and subjects are few (`tsdsl.backends.bench`).
"""

from __future__ import annotations

import gc
import platform
import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from statistics import median
from time import perf_counter, perf_counter_ns, thread_time_ns
from typing import Any, Generic, Literal, TypeVar

import torch

from tsdsl.analysis.costs.configuration import Configuration
from tsdsl.backends.network_module import build
from tsdsl.backends.operation_module import build_operation
from tsdsl.diagnostics import Diagnostic, SpecError
from tsdsl.ir.network import Network
from tsdsl.ir.op import Shape

Dtype = Literal["float32", "float16", "bfloat16"]
#: How samples are summarised. Disturbances only add time, so on a busy machine the minimum is
#: nearer to the true latency; the median is what to expect of the machine as it is.
Statistic = Literal["median", "min"]
DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
#: "wall" is elapsed time. "cpu" is the processor time of the calling thread: with one thread, the
#: latency that the machine would have without its other work.
Clock = Literal["wall", "cpu"]
#: Nanoseconds. Shortest duration of a sample, thousands of times the resolution of the clock.
SAMPLE_NS = 1_000_000
#: Largest number of calls in a sample.
MAX_CALLS = 10_000
#: Number of rounds that the samples of a subject are spread over.
ROUNDS = 5
#: The errors that torch raises for an operation that it cannot run.
FAILURES = (RuntimeError, MemoryError, NotImplementedError, ValueError, TypeError)
#: Number of subjects that `estimate` measures.
PILOTS = 12

#: The texts of torch's CPU allocator for a lack of memory.
_NO_MEMORY = re.compile("not enough memory|can't allocate memory")

Call = Callable[[], Any]
Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Setup:
    """The conditions of a measurement. ``batch`` is the number of clips in a call."""

    device: torch.device
    dtype: Dtype
    batch: int
    repeats: int
    warmup: int
    statistic: Statistic = "median"
    clock: Clock = "wall"

    @classmethod
    def of(
        cls,
        device: str = "cpu",
        dtype: Dtype = "float32",
        batch: int = 1,
        repeats: int = 20,
        warmup: int = 3,
        threads: int | None = None,
        statistic: Statistic = "median",
        clock: Clock = "wall",
    ) -> Setup:
        """Raises `SpecError` for a device that cannot be used. ``threads`` are those of the whole
        process; ``clock`` "cpu" is for one thread of the CPU."""
        try:
            found = torch.device(device)
            torch.zeros(1, device=found)
        except (RuntimeError, AssertionError) as bad:
            message = f"device '{device}' cannot be used: {str(bad).splitlines()[0]}"
            hint = "--device cpu measures on the processor"
            raise SpecError([Diagnostic("E0726", message, help=hint)]) from None
        if threads is not None:
            torch.set_num_threads(threads)
        return cls(found, dtype, batch, repeats, warmup, statistic, clock)

    @property
    def identity(self) -> dict[str, Any]:
        """The conditions that have to be equal for two measurements to stand in one table."""
        return {
            "device": self.device_name,
            "torch": torch.__version__,
            "threads": torch.get_num_threads() if self.device.type == "cpu" else None,
            "dtype": self.dtype,
            "batch": self.batch,
            "statistic": self.statistic,
            "clock": self.clock,
        }

    @property
    def device_name(self) -> str:
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return f"{processor()}, {self.device.type}"

    def call_of(self, configuration: Configuration) -> Call:
        """A call of one operation on random inputs."""
        return self._call(lambda: build_operation(configuration), configuration.shapes)

    def call_of_network(self, network: Network) -> Call:
        """A call of a whole network on a random clip."""
        return self._call(lambda: build(network), (network.clip.shape,))

    def _call(self, make: Callable[[], torch.nn.Module], shapes: Sequence[Shape]) -> Call:
        with torch.device(self.device):
            module = make().eval().to(self.device, DTYPES[self.dtype])
        inputs = [self.input(shape) for shape in shapes]
        return lambda: module(*inputs)

    def input(self, shape: Shape) -> torch.Tensor:
        """A batch of random tensors, with shape [N, *shape]."""
        made = torch.rand((self.batch, *shape), dtype=torch.float32, device=self.device)
        return made.to(DTYPES[self.dtype])

    def free(self) -> None:
        """Free the memory of a subject that failed. That of other subjects is reused anyway."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def samples(self, call: Call, repeats: int, warm: bool = False) -> list[float]:
        """Nanoseconds per call, ``repeats`` times, after ``warmup`` calls, or after one call if
        ``warm``."""
        with torch.inference_mode():
            timed = self._on_cuda if self.device.type == "cuda" else self._on_cpu
            timed(call, 1 if warm else self.warmup + 1)
            once = max(timed(call, 1), 1.0)
            calls = int(min(max(1, SAMPLE_NS // once), MAX_CALLS))
            return [timed(call, calls) for _ in range(repeats)]

    def _on_cpu(self, call: Call, calls: int) -> float:
        now = thread_time_ns if self.clock == "cpu" else perf_counter_ns
        start = now()
        for _ in range(calls):
            call()
        return (now() - start) / calls

    def _on_cuda(self, call: Call, calls: int) -> float:
        event: Any = torch.cuda.Event
        start, end = event(enable_timing=True), event(enable_timing=True)
        torch.cuda.synchronize(self.device)
        with torch.cuda.device(self.device):
            start.record()
            for _ in range(calls):
                call()
            end.record()
        torch.cuda.synchronize(self.device)
        return float(start.elapsed_time(end)) * 1e6 / calls


@dataclass(slots=True)
class Measurements(Generic[Name]):
    """The samples of each subject, in nanoseconds, and the reasons why others have none."""

    samples: dict[Name, list[float]] = field(default_factory=dict)
    failures: dict[Name, str] = field(default_factory=dict)
    #: Number of samples of each visit, in order.
    visits: dict[Name, list[int]] = field(default_factory=dict)

    def value(self, name: Name, statistic: Statistic = "median") -> int:
        """The median or the minimum of a subject's samples, in nanoseconds."""
        found = self.samples[name]
        return round(min(found) if statistic == "min" else median(found))

    def spread(self, name: Name) -> int:
        """The interquartile range of a subject's samples, in nanoseconds."""
        return round(interquartile_range(self.samples[name]))

    def ratios(self, name: Name, base: Name) -> list[float]:
        """For each round, the ratio of the two medians. A disturbance that slows a whole round down
        cancels."""
        pairs = zip(self._medians(name), self._medians(base), strict=False)
        return [one / max(other, 1.0) for one, other in pairs]

    def _medians(self, name: Name) -> Iterator[float]:
        found, start = self.samples[name], 0
        for count in self.visits[name]:
            yield median(found[start : start + count])
            start += count


def interquartile_range(values: Sequence[float]) -> float:
    """The distance between the first and third quartiles, each interpolated linearly."""
    found = torch.tensor(values, dtype=torch.float64)
    return float(found.quantile(0.75) - found.quantile(0.25))


def rounds(
    setup: Setup,
    subjects: Mapping[Name, Callable[[], Call]],
    seed: int,
    into: Measurements[Name],
    *,
    count: int = ROUNDS,
    kept: bool = False,
    failures: tuple[type[BaseException], ...] = FAILURES,
) -> Iterator[tuple[int, Name]]:
    """Add samples of all subjects to ``into``, in ``count`` rounds.

    Yields the round and the subject after each visit, so that a caller can stop, save or report
    progress. A subject that fails is not visited again, and its samples are dropped. With ``kept``,
    a subject returns the same call each time, which is warmed up in the first round only.
    """
    random = Random(seed)
    for number, repeats in enumerate(shares(setup.repeats, count)):
        order = [name for name in subjects if name not in into.failures]
        random.shuffle(order)
        for name in order:
            try:
                found = setup.samples(subjects[name](), repeats, warm=kept and number > 0)
            except KeyboardInterrupt:
                raise
            except failures as bad:
                into.samples.pop(name, None)
                into.visits.pop(name, None)
                into.failures[name] = reason(bad)
                setup.free()
            else:
                into.samples.setdefault(name, []).extend(found)
                into.visits.setdefault(name, []).append(len(found))
            yield number, name


def shares(repeats: int, count: int = ROUNDS) -> list[int]:
    """Number of samples in each round."""
    count = min(count, repeats)
    return [repeats // count + (k < repeats % count) for k in range(count)]


def estimate(setup: Setup, subjects: Mapping[Name, Callable[[], Call]], seed: int) -> float:
    """Estimated duration of `rounds` in seconds, extrapolated from a few subjects."""
    names = Random(seed).sample(list(subjects), min(PILOTS, len(subjects)))
    total = 0.0
    for name in names:
        start = perf_counter()
        try:
            call = subjects[name]()
            with torch.inference_mode():
                call()
                made = perf_counter()
                call()
                if setup.device.type == "cuda":
                    torch.cuda.synchronize(setup.device)
        except FAILURES:
            setup.free()
            continue
        once = perf_counter() - made
        visits = len(shares(setup.repeats))
        total += visits * (made - start + (setup.warmup + 2) * once)
        total += setup.repeats * max(once, SAMPLE_NS / 1e9)
    return total / max(1, len(names)) * len(subjects)


def reason(bad: BaseException) -> str:
    """A short reason for a failed measurement: the first line of the error, without torch's C++
    traces, and the error's type if torch did not raise it."""
    if isinstance(bad, torch.OutOfMemoryError | MemoryError) or _NO_MEMORY.search(str(bad)):
        return "out of memory"
    kind, text = type(bad).__name__, str(bad).strip()
    if not text:
        return kind
    return (text if isinstance(bad, FAILURES) else f"{kind}: {text}").splitlines()[0][:200]


def processor() -> str:
    """The name of the CPU."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
