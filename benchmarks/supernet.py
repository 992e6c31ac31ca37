"""A PARSEC step beside the frozen networks that it draws, beside masks, and beside one sample.

    python benchmarks/supernet.py                          # two_stream at 32 pixels, K = 13
    python benchmarks/supernet.py specs/auto_tsnet_s.tsnet --crop 160 --batch 8 --device cuda

Time, in turns, as multiples of the frozen networks' of the same round (median and quartiles):

- a step: K architectures forward and backward, gradients summed by weights known at the end
- frozen networks: forward and backward of the same K, one after the other
- a step, masked: the same step on a supernet that runs every operation at its largest width
- all candidates: one forward and backward pass that computes and weighs everything (a step of
  DARTS has one or two of these, and no samples)

See `other_supernets` for the last two. Memory, each in a process of its own: of tensors above
weights (of a single sample: the most of the K), and of the process, both of K steps with a sample
each and of one step with K. No optimiser is part of any of it; all have the same weights.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
import torch.nn.functional as F
from other_supernets import AllCandidates, Masked

import tsdsl
from tsdsl.backends.memory import peak_memory as tensor_memory
from tsdsl.searching.distribution import Alpha
from tsdsl.searching.parsec.step import Clips, Parsec, classifier
from tsdsl.training.ranks import Ranks
from tsdsl.training.session import peak_memory as process_memory

ROOT = Path(__file__).resolve().parents[1]
STEP, FROZEN, MASKED, EVERY = "a step", "frozen networks", "a step, masked", "all candidates"
ONE = "a step a sample"


class Bench:
    """The networks of the benchmark, with equal weights, clips and architectures."""

    def __init__(self, given: argparse.Namespace, ways: list[str]) -> None:
        self.device = torch.device(given.device)
        space = self.space = tsdsl.load(given.spec, set={"crop": given.crop})
        torch.manual_seed(0)
        supernet = self.supernet = tsdsl.compile(space).to(self.device).train()
        alpha = Alpha(space)
        self.archs = alpha.now().sample(given.samples, seed=0, step=0)
        self.clips = Clips(
            torch.randn(given.batch, *space.input_shape, device=self.device),
            torch.randint(0, 10, (given.batch,), device=self.device),
        )
        ranks = Ranks(0, 1, self.device)
        self._sliced = Parsec(supernet, alpha, classifier(supernet), ranks=ranks)
        self.nets: list[Any] = []
        if MASKED in ways:
            masked: Any = Masked(space, supernet).train()
            self._masked = Parsec(masked, alpha, classifier(masked), ranks=ranks)
        if EVERY in ways:
            self._every = AllCandidates(space, supernet).train()
        if FROZEN in ways:
            self.nets = [space.freeze(supernet, arch).train() for arch in self.archs]

    def calls(self, way: str) -> list[Callable[[], Any]]:
        """The calls of one round."""
        if way == STEP:
            return [lambda: self._sliced.step(self.archs, self.clips, learn=False)]
        if way == ONE:
            return [
                lambda arch=arch: self._sliced.step([arch], self.clips, learn=False)  # type: ignore[misc]
                for arch in self.archs
            ]
        if way == MASKED:
            return [lambda: self._masked.step(self.archs, self.clips, learn=False)]
        if way == EVERY:
            return [lambda: self._pass(self._every)]
        return [lambda net=net: self._pass(net) for net in self.nets]  # type: ignore[misc]

    def clear(self) -> None:
        for parameter in self.supernet.parameters():
            parameter.grad = None
        for net in self.nets:
            net.zero_grad()

    def _pass(self, net: Any) -> None:
        net.zero_grad()
        F.cross_entropy(net(self.clips.clips_NCTHW), self.clips.labels_N).backward()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("spec", nargs="?", default=str(ROOT / "examples/two_stream.tsnet"))
    parser.add_argument("--crop", type=int, default=32)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--samples", type=int, default=13)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--without", action="append", default=[], choices=[MASKED, EVERY])
    parser.add_argument("--only", choices=["time", "memory"])
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.memory:
        print(json.dumps(_measured(Bench(given, [given.memory]), given.memory)))
        return
    ways = [way for way in (STEP, FROZEN, MASKED, EVERY) if way not in given.without]
    cuda = given.device.startswith("cuda")
    name = torch.cuda.get_device_name(given.device) if cuda else "cpu"
    space = tsdsl.load(given.spec, set={"crop": given.crop})
    size = " x ".join(map(str, space.input_shape))
    print(
        f"{space.name}, K = {given.samples}, {given.batch} clips of {size}, {name},"
        f" {given.threads} threads, load {os.getloadavg()[0]:.1f}"
    )
    if given.only != "memory":
        _times(Bench(given, ways), ways, given.rounds, given.clock)
    if given.only != "time":
        # No process has all frozen networks at once; each alone takes as much as a step with its
        # sample.
        _memories([STEP, ONE, *(way for way in ways[1:] if way != FROZEN)])


def _times(bench: Bench, ways: list[str], rounds: int, clock: str) -> None:
    tick = time.process_time if clock == "cpu" else time.perf_counter
    calls = {way: bench.calls(way) for way in ways}
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(-1, rounds):
        for way in ways[:: 1 if number % 2 else -1]:
            _sync(bench.device)
            start = tick()
            for call in calls[way]:
                call()
            _sync(bench.device)
            # The first round allocates memory and makes plans.
            if number >= 0:
                taken[way].append(tick() - start)
    print(f"time ({clock} clock, {rounds} rounds)   seconds   of the frozen networks' (quartiles)")
    for way, seconds in taken.items():
        ratios = [a / b for a, b in zip(seconds, taken[FROZEN], strict=True)]
        low, _, high = quantiles(ratios, n=4) if rounds > 1 else [ratios[0]] * 3
        spread = f"{median(ratios):8.3f} ({low:.3f} to {high:.3f})"
        print(f"{way:28} {median(seconds):10.3f} {spread}")
    print(f"load {os.getloadavg()[0]:.1f}")


def _memories(ways: list[str]) -> None:
    found = {way: _in_a_process(way) for way in ways}
    weights = found[STEP]["weights"]
    print(f"memory, MiB (weights: {weights / 2**20:,.0f})    tensors    process")
    for way, one in found.items():
        print(f"{way:28} {one['tensors'] / 2**20:15,.1f} {one['process'] / 2**20:10,.0f}")
    of = {kind: found[STEP][kind] / found[ONE][kind] for kind in ("tensors", "process")}
    both = (found[STEP]["tensors"] + weights) / (found[ONE]["tensors"] + weights)
    print(
        f"K samples : one              {of['tensors']:15.3f} {of['process']:10.3f}"
        f"   tensors with weights {both:.3f}"
    )


def _in_a_process(way: str) -> dict[str, int]:
    arguments = [sys.executable, __file__, *sys.argv[1:], "--memory", way]
    done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout))


def _measured(bench: Bench, way: str) -> dict[str, int]:
    calls = bench.calls(way)
    for call in calls:
        call()
    process = process_memory(bench.device)
    tensors = 0
    for call in calls:
        bench.clear()
        tensors = max(tensors, tensor_memory(call, bench.device, inference=False))
    held = (*bench.supernet.parameters(), *bench.supernet.buffers())
    weights = sum(t.numel() * t.element_size() for t in held)
    return {"process": process, "tensors": tensors, "weights": weights}


def _sync(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
