"""Measurements of tsdsl."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np

import tsdsl
from tsdsl.analysis.costs.assignments import assignments
from tsdsl.analysis.costs.counted import MACS
from tsdsl.analysis.sampling.window_sampler import BINS, WindowSampler
from tsdsl.analysis.windows.window import option_weights
from tsdsl.ir.resolve import architecture_at
from tsdsl.space import Space

from .quantities import Figure
from .timing import rate, seconds, timed

#: Number of spaces that are loaded, each to answer a question for the first time.
FRESH = 3
#: Number of bisections in the search for a window of a given probability.
STEPS = 20
#: Size of a batch of draws.
BATCH = 8192
#: Number of distinct architectures in a sample.
DISTINCT = 10_000


def ready(space: Space) -> Space:
    """Compute the tables and plans of a space before any query."""
    cache = space.query_cache
    cache.bucket_tree(MACS)
    cache.expectation(MACS)
    cache.lookup(MACS)
    cache.allowed(MACS)
    return space


def windows(space: Space) -> dict[str, tuple[int, int]]:
    """Windows by their probability under the initial distribution: about 2 % in the middle, and
    about 1e-6 far below it, 2 % wide. A small space may have none of these."""
    far, low, high = (q.estimate for q in space.quantiles("macs", (1e-7, 0.49, 0.51)))
    least = space.bounds("macs").min.value

    def narrow(start: float) -> tuple[int, int]:
        return int(start), int(start * 1.02)

    # The probability is monotonic in the position, so that bisection finds it.
    found = {"2 %": (int(low), int(high))}
    ends = [float(least), low]
    at = far
    for _ in range(STEPS):
        share = space.mass(flops=narrow(at)).estimate
        if 0.8e-6 <= share <= 1.25e-6:
            found["1e-6"] = narrow(at)
            break
        ends[share > 1e-6] = at
        at = sum(ends) / 2
    return {name: w for name, w in found.items() if space.mass(flops=w).low > 0}


def measure(file: Path, found: dict[str, tuple[int, int]], long: float) -> list[Figure]:
    made: dict[str, float] = {}
    spaces = [tsdsl.load(file) for _ in range(FRESH)]
    made["tables"] = median(seconds(lambda s=s: ready(s)) for s in spaces)
    space = spaces[0]
    _moments(space, made)
    _costs(space, made)
    made["size"] = median(seconds(lambda s=s: s.size) for s in spaces)
    made["histogram"] = median(seconds(lambda s=s: s.histogram("macs")) for s in spaces)
    notes: dict[str, str] = {}
    for name, window in found.items():
        made[f"count {name}"] = median(
            seconds(lambda s=s, w=window: s.count(flops=w)) for s in spaces
        )
        _samples(file, name, window, long, made, notes)
        made[f"probable {name}"] = seconds(lambda w=window: space.most_probable(flops=w))
    made["sample"] = rate(lambda: len(space.sample(500)), long)
    return [Figure(key, "tsdsl", value, notes.get(key, "")) for key, value in made.items()]


def _moments(space: Space, made: dict[str, float]) -> None:
    cache, graph = space.query_cache, space.graph

    def extreme(sign: int) -> object:
        at = cache.bucket_tree(MACS).complete(cache.optimum(MACS, sign).best())
        return architecture_at(graph, at)

    made["min"] = timed(lambda: extreme(1), 15)
    made["max"] = timed(lambda: extreme(-1), 15)
    made["expectation"] = timed(lambda: space.expectation("macs"), 15)
    made["gradient"] = timed(lambda: space.gradient("macs"), 15)


def _costs(space: Space, made: dict[str, float]) -> None:
    some = space.sample(2000, seed=0)
    made["cost"] = len(some) / timed(lambda: [space.flops(a) for a in some])
    options = assignments(space.graph, some)[:, [d.variable.index for d in space.decisions]]
    many = np.tile(options.astype(np.int8), (100, 1))
    made["costs"] = len(many) / timed(lambda: space.flops(many), 5)


def draws(space: Space, window: tuple[int, int]) -> Iterator[np.ndarray]:
    """Draws from a grid that are inside of the window, batch by batch."""
    random = np.random.Generator(np.random.PCG64(0))
    inside = WindowSampler(
        space.query_cache, option_weights(space.query_cache, None).rows, {MACS: window}, BINS
    )
    while True:
        yield inside.draw(random, BATCH)


def _samples(
    file: Path,
    name: str,
    window: tuple[int, int],
    long: float,
    made: dict[str, float],
    notes: dict[str, str],
) -> None:
    space = ready(tsdsl.load(file))
    stream = draws(space, window)
    made[f"first {name}"] = seconds(lambda: next(stream))
    tried = inside = 0

    def draw() -> int:
        nonlocal tried, inside
        got = len(next(stream))
        tried, inside = tried + BATCH, inside + got
        return got

    made[f"sample {name}"] = rate(draw, long)
    notes[f"sample {name}"] = f"{inside / tried:.0%} of draws are inside"
    space = ready(tsdsl.load(file))
    made[f"distinct {name}"] = seconds(lambda: space.sample(DISTINCT, seed=0, flops=window))
