"""A step of `tsdsl train` beside the loop that one would write: time and memory.

    python benchmarks/train.py                                   # X3D-XS at 48 pixels, float32
    python benchmarks/train.py specs/x3d_s.tsnet --crop 160 --batch 8 --device cuda --amp

Both take the same clips from memory, so that the loop is measured and not the decoding. They take
turns, some steps each; the ratio is the median over the turns. The weights of both have to be equal
in the end, bit for bit. Memory is that of a process of its own for each (of tensors on a GPU).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from copy import deepcopy
from math import cos, pi
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import tsdsl
import tsdsl.sema.sections
from tsdsl.data.loader import Batch
from tsdsl.training.ranks import Ranks
from tsdsl.training.recipe import Recipe
from tsdsl.training.session import peak_memory
from tsdsl.training.trainer import Trainer

ROOT = Path(__file__).resolve().parents[1]
EPOCHS, STEPS = 1000, 100


class InMemory:
    """Stands in for a `TrainLoader`: the same clips in each batch."""

    def __init__(self, shape: tuple[int, ...], batch: int, classes: int) -> None:
        generator = torch.Generator().manual_seed(0)
        clips = torch.randint(0, 256, (4, batch, *shape), dtype=torch.uint8, generator=generator)
        labels = torch.randint(0, classes, (4, batch), generator=generator)
        self.batches = [Batch(c, x, (), (), ()) for c, x in zip(clips, labels, strict=True)]

    def __len__(self) -> int:
        return STEPS

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        for step in range(skip, STEPS):
            yield self.batches[step % len(self.batches)]


def plain(
    net: nn.Module, recipe: Recipe, batches: InMemory, device: torch.device
) -> Iterator[None]:
    """The training loop that an experienced engineer would write by hand."""
    train = recipe.train
    norms = [p for m in net.modules() if isinstance(m, nn.BatchNorm3d) for p in m.parameters()]
    ids = {id(p) for p in norms}
    rest = [p for p in net.parameters() if id(p) not in ids]
    groups = [{"params": rest}, {"params": norms, "weight_decay": 0.0}]
    assert isinstance(train.optimizer, tsdsl.sema.sections.Sgd)
    optimizer = torch.optim.SGD(groups, lr=train.lr, momentum=0.9, weight_decay=5e-5)
    net.train()
    running = torch.zeros((), device=device)
    step = 0
    while True:
        for batch in batches.epoch(step // STEPS):
            for group in optimizer.param_groups:
                group["lr"] = train.lr * 0.5 * (1 + cos(pi * step / (EPOCHS * STEPS)))
            clips = batch.clips_NCTHW.to(device, non_blocking=True)
            labels = batch.labels_N.to(device, non_blocking=True)
            half = torch.autocast(device.type, torch.bfloat16)
            with half if train.mixed_precision else nullcontext():
                logits = net(clips.float().div_(255.0).sub_(0.45).div_(0.225))
            loss = F.cross_entropy(logits.float(), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            running += loss.detach()
            step += 1
            if step % 10 == 0:
                running.item()
                running.zero_()
            yield


def ours(net: nn.Module, recipe: Recipe, batches: Any, device: torch.device) -> Iterator[None]:
    for _ in Trainer(net, recipe, batches, Ranks(0, 1, device), log_every=10).run():
        yield


WAYS: dict[str, Callable[..., Iterator[None]]] = {"tsdsl": ours, "plain": plain}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("spec", nargs="?", default=str(ROOT / "specs/x3d_xs.tsnet"))
    parser.add_argument("--crop", type=int, default=48)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=4, help="of each in a round")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--amp", action="store_true")
    parser.add_argument("--memory", choices=WAYS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    device = torch.device(given.device)
    settings = {
        "crop": given.crop,
        "train.optimizer": "sgd",
        "train.schedule": "cosine",
        "train.lr": 1e-3,
        "train.epochs": EPOCHS,
        "train.batch": given.batch,
        "train.mixed_precision": given.amp,
    }
    space = tsdsl.load(given.spec, set=settings)
    recipe = Recipe.of(space)
    torch.manual_seed(0)
    net = tsdsl.compile(space)
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # the two draw differently
    net = net.to(device)
    batches = InMemory(recipe.clip_shape, given.batch, 10)
    if given.memory:
        steps = WAYS[given.memory](net, recipe, batches, device)
        for _ in range(10):
            next(steps)
        print(json.dumps(peak_memory(device)))
        return
    nets = {way: deepcopy(net) for way in WAYS}
    runs = {way: WAYS[way](nets[way], recipe, batches, device) for way in WAYS}

    def timed(way: str, steps: int) -> float:
        _sync(device)
        start = time.perf_counter()
        for _ in range(steps):
            next(runs[way])
        _sync(device)
        return (time.perf_counter() - start) / steps

    for way in WAYS:
        timed(way, 3)
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(given.rounds):
        for way in list(WAYS)[:: 1 if number % 2 else -1]:
            taken[way].append(timed(way, given.steps))
    same = all(
        torch.equal(a, b)
        for a, b in zip(*(n.state_dict().values() for n in nets.values()), strict=True)
    )
    ratios = [a / b for a, b in zip(taken["tsdsl"], taken["plain"], strict=True)]
    quarter = quantiles(ratios, n=4)
    memory = {way: _memory(way) for way in WAYS}
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    size = " x ".join(map(str, recipe.clip_shape))
    print(f"{space.name}, {given.batch} clips of {size}, {name}, {torch.get_num_threads()} threads")
    for way in WAYS:
        print(f"{way:6} {1000 * median(taken[way]):8.1f} ms a step  {memory[way] / 2**20:8.0f} MiB")
    print(
        f"ratio  {median(ratios):8.3f} (quartiles {quarter[0]:.3f} to {quarter[2]:.3f})"
        f"  {memory['tsdsl'] / memory['plain']:8.3f}"
    )
    print("weights are equal, bit for bit" if same else "WEIGHTS DIFFER")
    sys.exit(not same)


def _memory(way: str) -> int:
    """Peak memory of a process that takes ten steps in one of the ways."""
    arguments = [sys.executable, __file__, *sys.argv[1:], "--memory", way]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return int(json.loads(done.stdout))


def _sync(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
