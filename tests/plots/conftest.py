"""Spaces whose figures have something to show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import tsdsl

pytest.importorskip("matplotlib")

SMALL = """\
tsnet 1
import "std/video" as v

space Small {
  input clip(channels=3, frames=8, height=64, width=64, interval=1)
  stream slow(clip, every=2) {
    stem v.x3d_stem(16)
    stage s1(stride=1x2x2) {
      width ~ 16..40 step 8
      repeat depth ~ 1..2 { use v.mbconv3d(width, expand ~ {1.5, 3.0}) }
    }
    stage s2(stride=1x2x2) { use v.mbconv3d(48, kernel ~ {1x3x3, 3x3x3}) }
  }
  stream fast(clip, every=1) {
    stem v.x3d_stem(8)
    stage s1(stride=1x2x2) { use v.mbconv3d(8) }
    stage s2(stride=1x2x2) { use v.mbconv3d(16) }
  }
  fuse fast -> slow after s1 ~ {v.t_conv(5x1x1), skip}
  attend slow after s2 ~ {none, v.se(16)}
  head concat(slow -> global_avg_pool, fast -> global_avg_pool) -> linear(10)

  search parsec {
    samples = 4
    phase first {
      streams slow
      learn slow
      epochs = 8
      lr = (weights=0.4, arch=0.015)
      budget flops in 20M..30M weight 0.2
    }
    phase second {
      learn fuse, attend
      epochs = 4
      lr = (weights=0.2, arch=0.015)
      budget flops in 30M..40M weight 0.2
    }
  }
}
"""

Load = Callable[..., tsdsl.Space]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """The space of a text."""

    def made(text: str = SMALL) -> tsdsl.Space:
        path = tmp_path / "spec.tsnet"
        path.write_text(text, encoding="utf-8")
        return tsdsl.load(path)

    return made


@pytest.fixture
def small(load: Load) -> tsdsl.Space:
    return load()
