"""Whole networks side by side: latency, peak memory, throughput, and their ratios.

    from tsdsl.backends.bench import bench

    report = bench({"ours": net, "theirs": (other, example_input)}, (3, 13, 160, 160))
    report.row("theirs").ratio.median

All networks are made, tried and their memory measured first, one after the other; then they are
timed in rounds (`tsdsl.backends.timing`). They stay alive in between: making one anew for each
round would compile it again, or call a function of a user's again, and what keeping them costs is
their weights. What a call allocates is gone before the next.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tsdsl.backends.memory import peak_memory
from tsdsl.backends.timing import (
    DTYPES,
    SAMPLE_NS,
    Call,
    Clock,
    Dtype,
    Measurements,
    Setup,
    interquartile_range,
    reason,
    rounds,
    shares,
)

#: Samples of a network, and calls before the first of them, by kind of device.
REPEATS = {"cuda": 500, "cpu": 30}
WARMUP = {"cuda": 10, "cpu": 3}
#: The samples of a network come from so many rounds: the spread of ratios is over these.
ROUNDS = 10

#: A module; or a module and what it is called with: a tensor or a list is its only argument, a
#: tuple has all of them. Leading axes count clips, of which there are one or a batch.
Made = nn.Module | tuple[nn.Module, Any]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A network that is made when its turn comes."""

    make: Callable[[], Made]
    #: (C, T, H, W), where ``make`` gives no input.
    clip: Sequence[int] | None
    #: Multiply-adds of one clip, where they are known; else they are counted.
    macs: int | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """A median and an interquartile range, and what they are of."""

    median: float
    iqr: float
    of: tuple[float, ...]

    @classmethod
    def over(cls, values: Sequence[float]) -> Spread:
        return cls(median(values), interquartile_range(values), tuple(values))


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one network. What failed has no times; None is what is not known."""

    name: str
    #: Shapes of the inputs of a call, with the batch.
    inputs: tuple[tuple[int, ...], ...] = ()
    params: int | None = None
    #: Multiply-adds of one clip.
    macs: int | None = None
    #: Bytes of parameters and buffers.
    weights: int | None = None
    #: Bytes of a call above those of weights and inputs (`tsdsl.backends.memory`).
    peak: int | None = None
    #: Nanoseconds of a call.
    latency: Spread | None = None
    clips_per_second: float | None = None
    #: Latency over that of `Report.base`, by rounds.
    ratio: Spread | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All networks in the order in which they were given, and how they were measured."""

    rows: tuple[Row, ...]
    #: The network that ratios are relative to: the first that was timed.
    base: str | None
    setup: Mapping[str, Any]

    def row(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)


def bench(
    networks: Mapping[str, Made | Callable[[], Made] | Candidate],
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
) -> Report:
    """Measure networks side by side, in evaluation mode.

    ``input_shape`` (C, T, H, W) is the clip of those that bring no input. Modules that are given
    are copied; a function is called without arguments, and what it makes is used as it is.
    ``threads`` are those of the whole process, and stay so. A network that fails is a row that
    says why. Raises `tsdsl.backends.timing.NoDevice`.
    """
    kind = device.partition(":")[0]
    repeats = REPEATS[kind] if repeats is None else repeats
    warmup = WARMUP[kind] if warmup is None else warmup
    setup = Setup.of(device, dtype, batch, repeats, warmup, threads, clock=clock)
    run = Bench(setup, channels_last=channels_last, compiled=compiled, seed=seed)
    for name, given in networks.items():
        run.prepare(name, _candidate(given, input_shape))
    for _ in run.rounds():
        pass
    return run.report()


def _candidate(given: Any, clip: Sequence[int] | None) -> Candidate:
    if isinstance(given, Candidate):
        return given
    if isinstance(given, nn.Module | tuple):
        return Candidate(lambda: copy.deepcopy(given), clip)
    return Candidate(given, clip)


class Bench:
    """One run, in steps: `prepare` each network, exhaust `rounds`, then `report`."""

    def __init__(
        self, setup: Setup, *, channels_last: bool = False, compiled: bool = False, seed: int = 0
    ) -> None:
        self._setup = setup
        self._channels_last = channels_last
        self._compiled = compiled
        self._seed = seed
        self._rows: dict[str, Row] = {}
        self._calls: dict[str, Call] = {}
        self._once: dict[str, float] = {}
        self._measured: Measurements[str] = Measurements()

    def prepare(self, name: str, candidate: Candidate) -> str | None:
        """Make a network, run it and measure its memory; why that failed, if it did."""
        self._rows[name] = Row(name)
        try:
            self._calls[name] = self._prepared(name, candidate)
        except KeyboardInterrupt:
            raise
        except BaseException as bad:
            self._add(name, failure=reason(bad))
        else:
            return None
        # After the exception, whose traceback holds what was made.
        self._setup.free()
        return self._rows[name].failure

    def _add(self, name: str, **known: Any) -> None:
        self._rows[name] = replace(self._rows[name], **known)

    @property
    def seconds(self) -> float:
        """What `rounds` will take, about."""
        setup, visits = self._setup, len(shares(self._setup.repeats, ROUNDS))
        return sum(
            (setup.warmup + 2 * visits) * once + setup.repeats * max(once, SAMPLE_NS / 1e9)
            for once in (self._once[name] for name in self._calls)
        )

    @property
    def visits(self) -> int:
        """How many steps `rounds` has at most."""
        return len(self._calls) * len(shares(self._setup.repeats, ROUNDS))

    def rounds(self) -> Iterator[tuple[int, str]]:
        """Gives the round and the network after each visit."""
        subjects = {name: (lambda call=call: call) for name, call in self._calls.items()}
        yield from rounds(
            self._setup,
            subjects,
            self._seed,
            self._measured,
            count=ROUNDS,
            kept=True,
            failures=(BaseException,),
        )

    def report(self) -> Report:
        """What is known so far."""
        samples = self._measured.samples
        base = next((name for name in self._rows if name in samples), None)
        rows = [self._timed(row, base) for row in self._rows.values()]
        about = {
            **self._setup.identity,
            "repeats": self._setup.repeats,
            "warmup": self._setup.warmup,
            "rounds": len(shares(self._setup.repeats, ROUNDS)),
            "channels_last": self._channels_last,
            "compile": self._compiled,
        }
        return Report(tuple(rows), base, about)

    def _timed(self, row: Row, base: str | None) -> Row:
        if row.name in self._measured.failures:
            return replace(row, failure=self._measured.failures[row.name])
        if row.name not in self._measured.samples:
            return row
        latency = Spread.over(self._measured.samples[row.name])
        assert base is not None
        return replace(
            row,
            latency=latency,
            clips_per_second=self._setup.batch / (latency.median / 1e9),
            ratio=Spread.over(self._measured.ratios(row.name, base)),
        )

    def _prepared(self, name: str, candidate: Candidate) -> Call:
        """The call. What is found out on the way is added to the row at once."""
        setup = self._setup
        module, example = _opened(candidate.make())
        module = module.eval().to(setup.device, DTYPES[setup.dtype])
        state = (*module.parameters(), *module.buffers())
        weights = {id(t): t for t in state}.values()
        self._add(
            name,
            params=sum(p.numel() for p in module.parameters()),
            macs=candidate.macs,
            weights=sum(t.numel() * t.element_size() for t in weights),
        )
        if self._channels_last:
            for tensor in state:
                tensor.data = _channels_last(tensor.data)
        if example is None:
            if candidate.clip is None:
                raise ValueError("there is no input: give a pair (module, example_input)")
            example = (setup.input(tuple(candidate.clip)),)
        inputs = _mapped(example, self._placed)
        self._add(name, inputs=tuple(tuple(tensor.shape) for tensor in _tensors(inputs)))
        if candidate.macs is None:
            self._add(name, macs=count_macs(module, inputs))
        run = torch.compile(module) if self._compiled else module

        def call() -> Any:
            # Lists of its own for each call: pytorchvideo's networks put their results into them.
            return run(*_mapped(inputs, lambda tensor: tensor))

        with torch.inference_mode():
            call()
            self._wait()
            start = perf_counter()
            call()
            self._wait()
            self._once[name] = perf_counter() - start
        peak = peak_memory(call, setup.device, one_thread=not self._compiled)
        self._add(name, peak=peak)
        return call

    def _wait(self) -> None:
        if self._setup.device.type == "cuda":
            torch.cuda.synchronize(self._setup.device)

    def _placed(self, tensor: Tensor) -> Tensor:
        """On the device, with the dtype if it has fractions, a whole batch."""
        batch = self._setup.batch
        if tensor.dim() and tensor.shape[0] != batch:
            if tensor.shape[0] != 1:
                shape = "x".join(map(str, tensor.shape))
                raise ValueError(
                    f"the example input {shape} holds {tensor.shape[0]} clips: give 1, or as many"
                    f" as the batch ({batch})"
                )
            tensor = tensor.expand(batch, *tensor.shape[1:]).clone()
        dtype = DTYPES[self._setup.dtype] if tensor.is_floating_point() else tensor.dtype
        moved = tensor.detach().to(self._setup.device, dtype)
        return _channels_last(moved) if self._channels_last else moved


def count_macs(module: nn.Module, inputs: Sequence[Any]) -> int | None:
    """Multiply-adds of one clip: half of what torch's `FlopCounterMode` counts on the meta device,
    which is convolutions and matrix products. None for a module that does not run there."""
    state = {
        name: torch.empty_like(tensor, device="meta")
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
    }
    one = _mapped(inputs, lambda t: torch.empty_like(t[:1] if t.dim() else t, device="meta"))
    try:
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            torch.func.functional_call(module, state, tuple(one))
    except Exception:
        return None
    return int(counter.get_total_flops()) // 2


def _opened(made: Any) -> tuple[nn.Module, tuple[Any, ...] | None]:
    """A module, and the arguments that it is called with if it brings them."""
    if isinstance(made, nn.Module):
        return made, None
    if isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], nn.Module):
        module, example = made
        inputs = example if isinstance(example, tuple) else (example,)
        if not any(True for _ in _tensors(inputs)):
            raise TypeError(f"the example input is no tensor, but {type(example).__name__}")
        return module, inputs
    raise TypeError(
        f"what was made is {type(made).__name__}, not a torch.nn.Module nor a pair"
        " (module, example_input)"
    )


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same lists, tuples and dictionaries with other tensors."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, list | tuple):
        return type(value)([_mapped(inner, change) for inner in value])
    if isinstance(value, dict):
        return {key: _mapped(inner, change) for key, inner in value.items()}
    return value


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _tensors(inner)


def _channels_last(tensor: Tensor) -> Tensor:
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    if tensor.dim() not in formats:
        return tensor
    return tensor.to(memory_format=formats[tensor.dim()])
