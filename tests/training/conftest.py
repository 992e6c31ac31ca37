"""A small list of videos and small networks, some without batch normalisation."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tsdsl

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

SPEC = """tsnet 1
block layer(x, width: int, kernel: dims, stride: dims = 1x1x1) {
  return x -> conv(width, kernel, stride=stride) NORM -> relu
}
space Tiny {
  param crop = 16
  param drop: ratio = 0.0
  input clip(channels=3, frames=4, height=crop, width=crop, interval=2)
  stream main(clip) {
    stem layer(4, 1x3x3, 1x2x2)
    stage s1 { use layer(6, 3x1x1) }
  }
  head main -> global_avg_pool -> dropout(drop) -> linear(3)
  train {
    lr = 0.1
    epochs = 3
    batch = 4
    jitter = 18..22
    schedule = cosine(warmup_epochs=1, warmup_start=0.1)
  }
  evaluate three { clips = 2  crops = left_center_right  crop = 20 }
}
"""


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``list.csv``: 14 videos of three classes, told apart by how bright they are."""
    from make_videos import bright

    folder = tmp_path_factory.mktemp("videos")
    lines = []
    for i in range(14):
        bright(folder / f"v{i}.mp4", level=40 + 80 * (i % 3) + i, frames=10 + i)
        lines.append(f"v{i}.mp4 {('dark', 'grey', 'white')[i % 3]}")
    (folder / "list.csv").write_text("\n".join(lines))
    return folder / "list.csv"


@pytest.fixture(scope="session")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``spec(norm=True)``: the path of a spec."""
    folder = tmp_path_factory.mktemp("specs")

    def made(norm: bool = False) -> Path:
        path = folder / f"tiny_{norm}.tsnet"
        path.write_text(SPEC.replace("NORM", "-> bn" if norm else ""))
        return path

    return made


@pytest.fixture
def tiny(spec: Callable[..., Path]) -> Callable[..., tsdsl.Space]:
    def made(norm: bool = False, **settings: Any) -> tsdsl.Space:
        named = {name.replace("__", "."): value for name, value in settings.items()}
        return tsdsl.load(spec(norm), set=named)

    return made
