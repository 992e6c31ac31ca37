"""Tiny spaces, and logits to try on them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import tsdsl
from tsdsl.analysis.distribution import Distribution

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

TINY = """tsnet 1
block layer(x, width: int, kernel: dims) { return x -> conv(width, kernel) NORM -> relu }
space Tiny {
  input clip(channels=3, frames=4, height=8, width=8, interval=1)
  width ~ {4: 0.5, 6: 0.2, 8: 0.3}
  stream main(clip) {
    stem layer(width, 1x3x3)
    stage s1 {
      repeat depth ~ 1..2 { use layer(width, kernel ~ {1x1x1, 1x3x3}) }
    }
  }
  REQUIRE
  head main -> global_avg_pool -> linear(3)
}
"""
REQUIRE = 'require width <= 6 or main.s1.depth == 1 else "too much"'


#: Four architectures and three networks: the second block ignores the kernel.
IGNORED = """tsnet 1
block layer(x, width: int, kernel: dims) { return x -> conv(width, kernel) -> relu }
block other(x, width: int) { return x -> conv(width, 1x1x1) -> swish }
space Ignored {
  input clip(channels=3, frames=4, height=32, width=32, interval=4)
  kernel ~ {1x1x1, 1x3x3}
  stream main(clip) {
    stem layer(4, 1x3x3)
    body ~ {layer(4, kernel=kernel), other(4)}
    stage s1 { use body }
  }
  head main -> global_avg_pool -> linear(4)
  train { epochs = 1  batch = 4  lr = 0.1 }
}
"""


def ignored(folder: Path) -> tsdsl.Space:
    """4 architectures, 3 networks."""
    (folder / "ignored.tsnet").write_text(IGNORED)
    return tsdsl.load(folder / "ignored.tsnet")


def tiny(folder: Path, *, require: bool = False, norm: bool = False) -> tsdsl.Space:
    """18 or, with the requirement, 14 architectures; the second kernel is active in some."""
    text = TINY.replace("REQUIRE", REQUIRE if require else "")
    (folder / "tiny.tsnet").write_text(text.replace("NORM", "-> bn" if norm else ""))
    return tsdsl.load(folder / "tiny.tsnet")


def stirred(space: tsdsl.Space, seed: int = 0, scale: float = 1.0) -> Distribution:
    """Logits that are all different."""
    size = sum(len(d.options) for d in space.decisions)
    return Distribution(space.graph, np.random.default_rng(seed).normal(0, scale, size))
