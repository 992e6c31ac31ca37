"""Exact queries about spaces too large to enumerate, beside what is used elsewhere.

    python benchmarks/analysis.py

Each figure is the median of several runs, with what it aims at.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

import tsdsl
from tsdsl.analysis.conditioned import draws, options_within
from tsdsl.analysis.costs import assignments
from tsdsl.analysis.distribution import Distribution
from tsdsl.analysis.engine import Engine
from tsdsl.analysis.factors import cost_factors
from tsdsl.analysis.window import histogram, resolve, weights
from tsdsl.space import Space

HERE = Path(__file__).resolve().parent
SPECS = (HERE.parent / "specs" / "auto_tsnet_s.tsnet", HERE / "coupled.tsnet")


def timed(function: Callable[[], object], repeats: int = 7) -> float:
    """Median seconds."""
    took = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        took.append(time.perf_counter() - start)
    return median(took)


def line(what: str, value: str, aim: str = "") -> None:
    print(f"  {what:<52} {value:>22}   {aim}")


def exact(space: Space) -> None:
    graph = space.graph
    start = time.perf_counter()
    cost_factors(graph, "macs")
    known = Engine(graph)
    known.program("macs")
    means = known.expectation("macs")
    lookup = known.lookup("macs")
    line("tables and plan", f"{time.perf_counter() - start:.3f} s", "at most 1 s")
    p = Distribution.initial(graph).flat_probabilities
    known.extreme("macs", 1).best()
    for what, function in (
        ("minimum, with an architecture", lambda: known.extreme("macs", 1).best()),
        ("maximum, with an architecture", lambda: known.extreme("macs", -1).best()),
        ("expectation", lambda: means.mean(p)),
        ("expectation and gradient", lambda: means.gradient(p)),
    ):
        line(what, f"{1e3 * timed(function, 15):.2f} ms", "at most 10 ms")
    some = space.sample(2000, seed=0)
    options = assignments(graph, some)[:, [d.variable.index for d in graph.decisions]]
    lookup.one(some[0])
    rate = len(some) / timed(lambda: [lookup.one(a) for a in some])
    line("cost of one architecture", f"{rate:,.0f} /s", "at least 20,000 /s")
    many = np.tile(options.astype(np.int8), (100, 1))
    rate = len(many) / timed(lambda: lookup.many(many))
    line("costs of a matrix of options", f"{rate:,.0f} /s", "at least 1,000,000 /s")


def windows(space: Space) -> dict[str, tuple[int, int]]:
    """Of the initial distribution: 2 % in the middle, 1e-6 at the lower end."""
    known = space.engine
    rows, total = weights(known, None)
    found, _ = resolve(known, rows, "macs", known.ends("macs"), sign=1)
    mass = np.cumsum(np.ldexp(found.root.mass[0], found.root.scale)) / total
    start = found.base + found.unit * int(found.root.offset[0])

    def cost(share: float) -> int:
        return start + found.unit * int(np.searchsorted(mass, share))

    low = cost(0.2e-6)
    return {"2 %": (cost(0.49), cost(0.51)), "1e-6": (low, max(cost(1.2e-6), int(low * 1.01)))}


def within(space: Space) -> None:
    graph = space.graph
    line("histogram", f"{timed(lambda: histogram(graph, 'macs'), 3):.3f} s", "at most 1 s")
    for name, window in windows(space).items():
        shown = f"{window[0] / 1e9:.3f}..{window[1] / 1e9:.3f} G"
        low, high = space.mass(flops=window)
        line(f"window {name}: {shown}, mass", f"{low:.2e}..{high:.2e}", "proven")
        line(
            "  count (bounds)",
            f"{timed(lambda w=window: space.count(flops=w), 3):.3f} s",
            "at most 1 s",
        )
        rows, _ = weights(space.engine, None)
        start = time.perf_counter()
        stream = draws(space.engine, rows, {"macs": window}, 8192, 0)
        taken = len(next(stream))
        first = time.perf_counter() - start
        start = time.perf_counter()
        drawn, more = 0, 0
        while time.perf_counter() - start < 3:
            more += len(next(stream))
            drawn += 8192
        rate = more / (time.perf_counter() - start)
        line("  exact samples, as options", f"{rate:,.0f} /s", "at least 10,000 /s")
        line("  of draws, inside", f"{(taken + more) / (drawn + 8192):.0%}")
        line("  until the first are there", f"{first:.2f} s")
        took = timed(lambda w=window: options_within(graph, 0, 10_000, {"macs": w}), 1)
        line("  10,000 distinct ones, all included", f"{took:.2f} s")
        took = timed(lambda w=window: space.sample(10_000, seed=0, flops=w), 1)
        line("  10,000 distinct `Architecture`s", f"{took:.2f} s")
        took = timed(lambda w=window: space.most_probable(flops=w), 1)
        line("  most probable", f"{took:.2f} s")
        free = Engine(graph).lookup("macs")
        rate = rejection(space, free.assigned, window)
        line("  rejection sampling (vectorised)", rate)


def rejection(
    space: Space, cost: Callable[[np.ndarray], np.ndarray], window: tuple[int, int]
) -> str:
    """Free draws of all decisions at once, those outside turned away."""
    rng = np.random.default_rng(0)
    width = len(space.graph.variables)
    rows = [
        (d.variable.index, p)
        for d, p in zip(space.decisions, space.distribution().probabilities.values(), strict=True)
    ]
    found = tried = 0
    start = time.perf_counter()
    while time.perf_counter() - start < 3:
        at = np.zeros((20_000, width), np.int16)
        for v, p in rows:
            at[:, v] = rng.choice(len(p), len(at), p=p)
        costs = cost(at)
        found += int(((costs >= window[0]) & (costs <= window[1])).sum())
        tried += len(at)
    rate = found / (time.perf_counter() - start)
    return f"{rate:,.1f} /s" if found else f"none of {tried:,} in 3 s"


def others(space: Space) -> None:
    """Counters that look at one built network at a time."""
    try:
        import torch
        from torch.utils.flop_counter import FlopCounterMode
    except ImportError:
        line("FlopCounterMode, fvcore", "skipped: no torch")
        return
    architecture = space.bounds("macs").min.architecture
    clip = torch.zeros(1, *space.input_shape, device="meta")

    def build() -> torch.nn.Module:
        return tsdsl.compile(space, frozen=architecture).to("meta").eval()

    def count() -> int:
        with FlopCounterMode(display=False) as counter:
            build()(clip)
        return int(counter.get_total_flops()) // 2

    rate = 1 / timed(count, 3)
    line("FlopCounterMode (meta, with the module)", f"{rate:.2f} /s", f"{count():,} MACs")
    try:
        from fvcore.nn import FlopCountAnalysis
    except ImportError:
        line("fvcore", "skipped: not installed")
    else:
        net = tsdsl.compile(space, frozen=architecture).eval()
        real = torch.zeros(1, *space.input_shape)

        def analyse() -> float:
            return float(
                FlopCountAnalysis(net, real)
                .unsupported_ops_warnings(False)
                .uncalled_modules_warnings(False)
                .total()
            )

        line("fvcore (module built already)", f"{1 / timed(analyse, 2):.2f} /s")
    for name in ("pyglove", "ConfigSpace", "nni"):
        try:
            __import__(name)
        except ImportError:
            line(name, "skipped: not installed")
        else:
            line(name, "installed; it answers none of these questions exactly")


def main() -> None:
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for path in SPECS:
        space = tsdsl.load(path)
        print(f"{space.name}: {len(space.decisions)} decisions, {space.size:.2e} architectures")
        exact(space)
        within(space)
        others(space)


if __name__ == "__main__":
    main()
