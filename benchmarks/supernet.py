"""A PARSEC step beside the frozen networks that it draws, and beside itself with one sample.

    python benchmarks/supernet.py                          # two_stream at 32 pixels, K = 13
    python benchmarks/supernet.py specs/auto_tsnet_s.tsnet --crop 160 --batch 8 --device cuda

Time: K architectures as a step (forward, backward, gradients summed by weights that are known at
the end) against forward and backward of the K frozen networks, one after the other; they take
turns, the ratio is the median over the turns. Memory: of a step with K samples against one with a
single sample, each in a process of its own (tensors on a GPU, the process on a CPU).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F

import tsdsl
from tsdsl.searching.distribution import Alpha
from tsdsl.searching.step import Clips, Parsec, classifier
from tsdsl.training.ranks import Ranks
from tsdsl.training.session import peak_memory

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("spec", nargs="?", default=str(ROOT / "examples/two_stream.tsnet"))
    parser.add_argument("--crop", type=int, default=32)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--samples", type=int, default=13)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    device = torch.device(given.device)
    space = tsdsl.load(given.spec, set={"crop": given.crop})
    torch.manual_seed(0)
    supernet = tsdsl.compile(space).to(device).train()
    alpha = Alpha(space)
    step = Parsec(supernet, alpha, classifier(supernet), ranks=Ranks(0, 1, device))
    clips = Clips(
        torch.randn(given.batch, *space.input_shape, device=device),
        torch.randint(0, 10, (given.batch,), device=device),
    )
    if given.memory:
        # The same draws, so that the one sample is among the many: the largest of them.
        drawn = alpha.now().sample(given.samples, seed=0, step=0)
        largest = max(drawn, key=space.flops)
        asked = drawn if given.memory > 1 else [largest]
        for _ in range(2):
            step.step(asked, clips, learn=False)
        print(json.dumps(peak_memory(device)))
        return
    archs = alpha.now().sample(given.samples, seed=0, step=0)
    frozen = [space.freeze(supernet, arch).train() for arch in archs]

    def parsec() -> None:
        step.step(archs, clips, learn=False)

    def networks() -> None:
        for net in frozen:
            net.zero_grad()
            F.cross_entropy(net(clips.clips_NCTHW), clips.labels_N).backward()

    ways = {"a step": parsec, "frozen networks": networks}
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for way in ways.values():
        way()
    for number in range(given.rounds):
        for name in list(ways)[:: 1 if number % 2 else -1]:
            _sync(device)
            start = time.perf_counter()
            ways[name]()
            _sync(device)
            taken[name].append(time.perf_counter() - start)
    ratios = [a / b for a, b in zip(*taken.values(), strict=True)]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    size = " x ".join(map(str, space.input_shape))
    print(f"{space.name}, K = {given.samples}, {given.batch} clips of {size}, {name}")
    for way, seconds in taken.items():
        print(f"{way:16} {median(seconds):8.3f} s")
    print(f"ratio            {median(ratios):8.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
    memory = [_memory(samples) for samples in (given.samples, 1)]
    print(
        f"peak memory, K samples: {memory[0] / 2**20:,.0f} MiB, one: {memory[1] / 2**20:,.0f} MiB"
    )
    print(f"ratio            {memory[0] / memory[1]:8.3f}")


def _memory(samples: int) -> int:
    arguments = [sys.executable, __file__, *sys.argv[1:], "--memory", str(samples)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return int(json.loads(done.stdout))


def _sync(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
