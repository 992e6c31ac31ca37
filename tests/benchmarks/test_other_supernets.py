"""The alternatives that the supernet is timed beside compute what it computes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import tsdsl

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

SPEC = """tsnet 1
import "std/video" as v
space Small {
  input clip(channels=3, frames=4, height=16, width=16)
  stream a(clip, every=2) {
    stem v.x3d_stem(8)
    stage s1(stride=1x2x2) {
      width ~ {8, 16, 24}
      repeat depth ~ 1..3 {
        use v.mbconv3d(width, kernel ~ {1x3x3, 3x3x3, 3x5x5}, expand ~ {1.5, 2.25}, se=true)
      }
    }
  }
  stream b(clip) {
    stem v.x3d_stem(4)
    stage s1(stride=1x2x2) { use v.mbconv3d(8, kernel ~ {3x3x3, 5x3x3}, expand=1.5) }
  }
  fuse b -> a after s1 ~ {v.t_conv(5x1x1), v.t_sample, skip}
  attend a after s1 ~ {none, v.se(4), v.nonlocal(), v.glore()}
  head concat(a -> v.conv5(16), b -> v.conv5(12)) -> linear(5)
}
"""


@pytest.fixture
def made(tmp_path: Path) -> Any:
    (tmp_path / "small.tsnet").write_text(SPEC)
    space = tsdsl.load(tmp_path / "small.tsnet")
    torch.manual_seed(0)
    supernet = tsdsl.compile(space).double()
    for tensor in (*supernet.parameters(), *supernet.buffers()):
        if tensor.dim() == 1 and tensor.is_floating_point():
            tensor.data.uniform_(0.5, 1.5)
    clip = torch.randn(2, *space.input_shape, dtype=torch.float64)
    return space, supernet.eval(), clip, space.sample(12, seed=1)


@torch.no_grad()
def test_masked(made: Any) -> None:
    from other_supernets import Masked

    space, supernet, clip, architectures = made
    masked = Masked(space, supernet).eval()
    for architecture in architectures:
        expected = supernet(clip, architecture)
        assert torch.allclose(masked(clip, architecture), expected, rtol=1e-9, atol=1e-10)


@torch.no_grad()
def test_all_candidates(made: Any) -> None:
    """With all probability on one architecture it is that one."""
    from other_supernets import AllCandidates

    space, supernet, clip, architectures = made
    every = AllCandidates(space, supernet).double().eval()
    for architecture in architectures:
        for decision, row in zip(space.graph.decisions, every.logits, strict=True):
            row.zero_()
            if decision.path in architecture:
                row[list(decision.options).index(architecture[decision.path])] = 1000
        expected = supernet(clip, architecture)
        assert torch.allclose(every(clip), expected, rtol=1e-9, atol=1e-10)


def test_all_candidates_get_gradients(made: Any) -> None:
    from other_supernets import AllCandidates

    space, supernet, clip, _ = made
    every = AllCandidates(space, supernet).double().train()
    every(clip).square().sum().backward()
    assert all(bool(row.grad.abs().max() > 0) for row in every.logits)
    assert all(p.grad is not None for p in supernet.parameters())
