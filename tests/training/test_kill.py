"""kill -9 at random moments: the files can be read, and the resumed run ends with the same
weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from cases import swept
from killing import Killer

import tsdsl
from tsdsl.training.checkpoint import Checkpoints
from tsdsl.weights.weight_files import load

Tiny = Callable[..., tsdsl.Space]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A forked process has one thread, whatever its parent's thread pool assumes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def train(space: tsdsl.Space, videos: Path, folder: Path) -> None:
    torch.manual_seed(0)
    net = tsdsl.compile(space)
    tsdsl.train(
        net,
        videos,
        space,
        device="cpu",
        folder=folder,
        resume=True,
        save_every=1,
        log_every=2,
        val=videos,
    )


def same(one: Path, other: Path) -> bool:
    a, b = load(one), load(other)
    return a.about == b.about and all(
        torch.equal(tensor, b.tensors[name]) for name, tensor in a.tensors.items()
    )


def check(folder: Path) -> None:
    """All files that a killed run has left can be read."""
    checkpoints = Checkpoints(str(folder / "checkpoints"))
    state, spoiled = checkpoints.newest()
    assert not spoiled
    for name in ("last.safetensors", "best.safetensors"):
        if (folder / name).exists():
            assert load(folder / name).tensors
    if state is not None:
        # No remaining checkpoint is incomplete.
        for step in checkpoints.steps():
            assert sorted(os.listdir(checkpoints.path(step))) == [
                "average.safetensors",
                "contents.json",
                "training.pt",
                "weights.safetensors",
            ]


@pytest.mark.parametrize("kills", [10, swept(200)])
def test_a_killed_training_goes_on_to_the_same_weights(
    tiny: Tiny, videos: Path, tmp_path: Path, kills: int
) -> None:
    space = tiny(True, drop=0.5, train__ema=0.8, train__epochs=4)
    train(space, videos, tmp_path / "straight")
    killer = Killer(lambda folder: train(space, videos, folder), seed=7, share=0.5)
    killer.whole(tmp_path / "forked")
    left, run, steps = kills, 0, set()
    while left:
        folder = tmp_path / f"run{run}"
        run += 1
        for _ in range(min(left, 5)):
            left -= 1
            killer.kill(folder)
            check(folder)
            steps |= set(Checkpoints(str(folder / "checkpoints")).steps())
        killer.finish(folder)
        assert same(folder / "last.safetensors", tmp_path / "straight" / "last.safetensors")
        assert same(folder / "best.safetensors", tmp_path / "straight" / "best.safetensors")
        log = [(folder / "log.jsonl").read_text(), (tmp_path / "straight/log.jsonl").read_text()]
        events = [[line.split('"time"')[0] for line in text.splitlines()] for text in log]
        # A run that ended twice logs its end twice; every other event is logged once.
        assert list(dict.fromkeys(events[0])) == events[1]
    # Some processes were killed after the first checkpoint and before the last one.
    assert len(steps) > 2
