"""Whole networks side by side: latency, peak memory, throughput, and their ratios.

First, each network is made, run once, and its peak memory measured. Then all are timed in
interleaved rounds (`tsdsl.backends.timing`). They stay in memory in between, because making one
anew for each round would compile it, or call a user's function, again: that costs the memory of
their weights. Activations are freed after each call.

`tsdsl.bench` is the function for users.
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
    Measurements,
    Setup,
    interquartile_range,
    reason,
    rounds,
    shares,
)
from tsdsl.diagnostics.unknown_name import UnknownName

#: Samples of a network, and warm-up calls before them, by kind of device.
REPEATS = {"cuda": 500, "cpu": 30}
WARMUP = {"cuda": 10, "cpu": 3}
#: Number of rounds that the samples of a network are spread over. Ratios are taken per round.
ROUNDS = 10

#: A module; or a pair of a module and its example input. A tensor or a list is its only argument, a
#: tuple has all of them. Leading axes count clips: 1, or as many as the batch.
NetworkOrPair = nn.Module | tuple[nn.Module, Any]


@dataclass(frozen=True, slots=True)
class LazyNetwork:
    """A network that is made when it is measured."""

    make: Callable[[], NetworkOrPair]
    #: (C, T, H, W) of the clip, if ``make`` returns no example input.
    clip: Sequence[int] | None
    #: Multiply-accumulates of one clip; None to count them in the module.
    macs: int | None = None


@dataclass(frozen=True, slots=True)
class Quartiles:
    """The median and the interquartile range of ``values``."""

    median: float
    iqr: float
    values: tuple[float, ...]

    @classmethod
    def over(cls, values: Sequence[float]) -> Quartiles:
        return cls(median(values), interquartile_range(values), tuple(values))


@dataclass(frozen=True, slots=True)
class BenchRow:
    """The measurements of one network. Unknown values are None; a network that failed has no
    times."""

    name: str
    #: Shapes of the inputs of a call, with the batch.
    inputs: tuple[tuple[int, ...], ...] = ()
    params: int | None = None
    #: Multiply-accumulates of one clip.
    macs: int | None = None
    #: Bytes of parameters and buffers.
    weights: int | None = None
    #: Bytes that a call allocates at most, without weights and inputs (`tsdsl.backends.memory`).
    peak: int | None = None
    #: Nanoseconds of a call, one value for each sample.
    latency: Quartiles | None = None
    clips_per_second: float | None = None
    #: Latency divided by that of `BenchReport.base`, one value for each round.
    ratio: Quartiles | None = None
    #: Why the network could not be measured.
    failure: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class BenchReport:
    """The measurements of all networks, in the order in which they were given."""

    rows: tuple[BenchRow, ...]
    #: Name of the network that ratios are relative to: the first one that was timed.
    base: str | None
    #: Device, torch, threads, dtype, batch, and numbers of repeats, warm-up calls and rounds.
    setup: Mapping[str, Any]

    def __repr__(self) -> str:
        from tsdsl.notebook import listed, shortened

        shown = listed(f"{row.name} {_milliseconds(row)}" for row in self.rows)
        return f"<BenchReport on {shortened(self.setup['device'], 60)}: {shown}>"

    def _repr_html_(self) -> str:
        from tsdsl.notebook import html_table

        def cells(row: BenchRow) -> tuple[str, ...]:
            return (
                row.name,
                _milliseconds(row),
                "-" if row.ratio is None else f"{row.ratio.median:.3f}",
                "-" if row.macs is None else f"{row.macs / 1e9:.3f}",
                "-" if row.params is None else f"{row.params / 1e6:.3f}",
                "-" if row.peak is None else f"{row.peak / 2**20:.1f}",
            )

        header = ["network", "latency", "ratio", "GMACs", "params, M", "peak, MiB"]
        setup = self.setup
        caption = f"{setup['device']}, {setup['dtype']}, batch {setup['batch']}"
        return html_table(caption, header, map(cells, self.rows), len(self.rows))

    def row(self, name: str) -> BenchRow:
        """The measurements of one network. Raises `UnknownName`, a `KeyError`."""
        for row in self.rows:
            if row.name == name:
                return row
        raise UnknownName("network", name, [row.name for row in self.rows])


def lazy(
    given: NetworkOrPair | Callable[[], NetworkOrPair] | LazyNetwork, clip: Sequence[int] | None
) -> LazyNetwork:
    """Wrap a network in any form. Modules are copied; the result of a function is used as it is.
    ``clip`` (C, T, H, W) is for networks without an example input."""
    if isinstance(given, LazyNetwork):
        return given
    if isinstance(given, nn.Module | tuple):
        return LazyNetwork(lambda: copy.deepcopy(given), clip)
    return LazyNetwork(given, clip)


def _milliseconds(row: BenchRow) -> str:
    if row.failure is not None:
        return "failed"
    return "-" if row.latency is None else f"{row.latency.median / 1e6:.3g} ms"


class Bench:
    """A benchmark in steps: `prepare` each network, exhaust `rounds`, then `report`."""

    def __init__(
        self, setup: Setup, *, channels_last: bool = False, compiled: bool = False, seed: int = 0
    ) -> None:
        self._setup = setup
        self._channels_last = channels_last
        self._compiled = compiled
        self._seed = seed
        self._rows: dict[str, BenchRow] = {}
        self._calls: dict[str, Call] = {}
        self._once: dict[str, float] = {}
        self._measured: Measurements[str] = Measurements()

    def prepare(self, name: str, candidate: LazyNetwork) -> str | None:
        """Make a network, run it and measure its memory. Returns the reason if that failed. A
        network is a user's code, which may raise anything; the other networks are measured all the
        same."""
        self._rows[name] = BenchRow(name)
        try:
            self._calls[name] = self._prepared(name, candidate)
        except KeyboardInterrupt:
            raise
        except BaseException as bad:
            self._add(name, failure=reason(bad))
        else:
            return None
        # After the exception is gone, whose traceback refers to the network.
        self._setup.free()
        return self._rows[name].failure

    def _add(self, name: str, **known: Any) -> None:
        self._rows[name] = replace(self._rows[name], **known)

    @property
    def seconds(self) -> float:
        """Estimated duration of `rounds`, in seconds."""
        setup, visits = self._setup, len(shares(self._setup.repeats, ROUNDS))
        return sum(
            (setup.warmup + 2 * visits) * once + setup.repeats * max(once, SAMPLE_NS / 1e9)
            for once in (self._once[name] for name in self._calls)
        )

    @property
    def visits(self) -> int:
        """Largest number of visits of `rounds`."""
        return len(self._calls) * len(shares(self._setup.repeats, ROUNDS))

    def rounds(self) -> Iterator[tuple[int, str]]:
        """Measure all networks in rounds; yields the round and the network after each visit."""
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

    def report(self) -> BenchReport:
        """The measurements so far."""
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
        return BenchReport(tuple(rows), base, about)

    def _timed(self, row: BenchRow, base: str | None) -> BenchRow:
        if row.name in self._measured.failures:
            return replace(row, failure=self._measured.failures[row.name])
        if row.name not in self._measured.samples:
            return row
        latency = Quartiles.over(self._measured.samples[row.name])
        assert base is not None
        return replace(
            row,
            latency=latency,
            clips_per_second=self._setup.batch / (latency.median / 1e9),
            ratio=Quartiles.over(self._measured.ratios(row.name, base)),
        )

    def _prepared(self, name: str, candidate: LazyNetwork) -> Call:
        """The call of a network. Measurements are added to its row one by one, so that a failure
        keeps the earlier ones."""
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
            # New lists for each call, since pytorchvideo's networks write their results into them.
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
        """The tensor on the device, as a whole batch, with the dtype if it is a floating-point
        tensor."""
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
    which is convolutions and matrix products. None for a module that does not run there: a user's
    module may raise anything."""
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
    """A module, and the arguments of its call if it has an example input."""
    if isinstance(made, nn.Module):
        return made, None
    if isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], nn.Module):
        module, example = made
        inputs = example if isinstance(example, tuple) else (example,)
        if not any(True for _ in _tensors(inputs)):
            raise TypeError(f"the example input is not a tensor, but {type(example).__name__}")
        return module, inputs
    raise TypeError(
        f"the network is of type {type(made).__name__}, not a torch.nn.Module nor"
        " (module, example_input)"
    )


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same lists, tuples and dicts with mapped tensors."""
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
