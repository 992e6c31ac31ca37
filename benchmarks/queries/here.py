"""Alternatives in tsdsl's own process: rejection with numpy, FlopCounterMode, fvcore."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tsdsl
from tsdsl.space import Space

from . import timing
from .quantities import Figure
from .timing import timed

#: Size of a batch of draws.
BATCH = 20_000
#: Smallest number of samples from which a rate is computed.
FEW = 10


def rejection(space: Space, windows: dict[str, tuple[int, int]], long: float) -> list[Figure]:
    """Rejection: draw all decisions at once, add up costs from tables, discard those outside of the
    window. This is the fastest rejection possible here. Needs a space without requirements."""
    tool = "rejection (numpy)"
    if space.graph.requirements:
        return [Figure("sample", tool, None, "skipped: the space has requirements")]
    rng = np.random.default_rng(0)
    rows = list(space.distribution().probabilities.values())

    def draw() -> np.ndarray:
        at = np.empty((len(rows), BATCH), np.int8)
        for k, p in enumerate(rows):
            if np.ptp(p) == 0:
                at[k] = rng.integers(0, len(p), BATCH, np.int8)
            else:
                at[k] = rng.choice(len(p), BATCH, p=p)
        return np.ascontiguousarray(at.T)

    space.flops(draw())
    made = []
    for name, (low, high) in windows.items():
        found = tried = 0
        start = timing.now()
        while (took := timing.now() - start) < long:
            macs = space.flops(draw())
            found += int(((macs >= low) & (macs <= high)).sum())
            tried += len(macs)
        share = sum(space.mass(flops=(low, high))) / 2
        few = found < FEW
        value = tried / took * share if few else found / took
        made.append(Figure(f"sample {name}", tool, value, f"{found} of {tried:,} drawn", few))
    return made


def counters(space: Space) -> list[Figure]:
    """Tools that count the operations of one built network."""
    try:
        import torch
    except ImportError:
        return [Figure("cost", t, None, "skipped: no torch") for t in ("FlopCounterMode", "fvcore")]
    architecture = space.sample(seed=0)
    known = space.flops(architecture)
    return [
        _told("FlopCounterMode", lambda: _flop_counter_mode(torch, space, architecture, known)),
        _told("fvcore", lambda: _fvcore(torch, space, architecture, known)),
    ]


def _told(tool: str, measure: Callable[[], tuple[float, str]]) -> Figure:
    """A measurement with another tool. If the tool fails, the measurement says so in a line."""
    try:
        return Figure("cost", tool, *measure())
    except Exception as error:
        why = next(iter(str(error).splitlines()), "")
        return Figure("cost", tool, None, f"skipped: {type(error).__name__}: {why}"[:100])


def _flop_counter_mode(
    torch: Any, space: Space, architecture: Any, known: int
) -> tuple[float, str]:
    from torch.utils.flop_counter import FlopCounterMode

    clip = torch.zeros(1, *space.input_shape, device="meta")

    def count() -> int:
        with FlopCounterMode(display=False) as counter:
            tsdsl.compile(space, frozen=architecture).to("meta").eval()(clip)
        return int(counter.get_total_flops()) // 2

    same = "the same cost" if count() == known else f"{count() / known:.4f} of the cost"
    return 1 / timed(count, 3), f"builds the module; {same}"


def _fvcore(torch: Any, space: Space, architecture: Any, known: int) -> tuple[float, str]:
    from fvcore.nn import FlopCountAnalysis

    module = tsdsl.compile(space, frozen=architecture).eval()
    clip = torch.zeros(1, *space.input_shape)

    def count() -> float:
        counted = FlopCountAnalysis(module, clip).unsupported_ops_warnings(False)
        return float(counted.uncalled_modules_warnings(False).total())

    return 1 / timed(count, 2), f"module built before; {count() / known:.4f} of the cost"
