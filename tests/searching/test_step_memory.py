"""The memory of a step: that of its largest sample, and one gradient for each weight."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

import tsdsl
from tsdsl.backends.memory import peak_memory
from tsdsl.ir.architecture import Architecture
from tsdsl.searching.distribution import Alpha
from tsdsl.searching.parsec.step import ParsecStep
from tsdsl.searching.supernet_step import Clips, classifier

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")


class Measured:
    """A supernet of which steps are measured: bytes of tensors at their peak, above weights."""

    def __init__(self, crop: int, clips: int) -> None:
        self.space = tsdsl.load(ROOT / "examples/two_stream.tsnet", set={"crop": crop})
        torch.manual_seed(0)
        self.supernet = tsdsl.compile(self.space).train()
        self.parsec = ParsecStep(self.supernet, Alpha(self.space), classifier(self.supernet))
        clips_NCTHW = torch.randn(clips, *self.space.input_shape)
        self.clips = Clips(clips_NCTHW, torch.arange(clips))

    def peak(self, samples: Sequence[Architecture], micro_batch: int | None = None) -> int:
        for parameter in self.supernet.parameters():
            parameter.grad = None
        self.parsec.passes.micro_batch = micro_batch
        return peak_memory(
            lambda: self.parsec.step(samples, self.clips, learn=False), CPU, inference=False
        )

    def gradients(self) -> int:
        return sum(4 * p.grad.numel() for p in self.supernet.parameters() if p.grad is not None)


def test_thirteen_samples_and_one() -> None:
    made = Measured(crop=64, clips=2)
    samples = Alpha(made.space).now().sample(13, seed=0, step=0)
    assert len(set(samples)) == 13
    made.peak(samples[:1])
    many, gradients = made.peak(samples), made.gradients()
    one = max(made.peak([sample]) for sample in samples)
    assert many <= 1.15 * one, (many, one)
    # Nothing else is held: no second sum, no gradients as large as the whole at the peak.
    assert one < many <= one + gradients


def test_parts_take_less() -> None:
    made = Measured(crop=48, clips=8)
    samples = Alpha(made.space).now().sample(2, seed=0, step=0)
    made.peak(samples[:1])
    whole, gradients = made.peak(samples), made.gradients()
    parts = made.peak(samples, micro_batch=2)
    # A quarter of the maps; the sum, the gradient of one sample, and what a pass adds to it.
    assert parts <= (whole - gradients) / 4 + 3 * gradients
    assert parts < 0.55 * whole
