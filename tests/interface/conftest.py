"""A space that is small enough for everything."""

from __future__ import annotations

import pytest

import tsdsl

SMALL = """tsnet 1
space Small {
  input clip(channels=3, frames=4, height=16, width=16)
  stream main(clip) {
    stage s1(stride=1x2x2) {
      width ~ {8, 16, 24}
      repeat depth ~ 1..2 { use conv(width, kernel ~ {1x1x1, 1x3x3}) }
    }
  }
  head main -> global_avg_pool -> linear(4)
}
"""


@pytest.fixture(scope="session")
def space(tmp_path_factory: pytest.TempPathFactory) -> tsdsl.Space:
    path = tmp_path_factory.mktemp("spec") / "small.tsnet"
    path.write_text(SMALL)
    return tsdsl.load(path)
