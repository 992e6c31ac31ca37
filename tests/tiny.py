"""A tiny spec and a few videos to train it on."""

from __future__ import annotations

from pathlib import Path

from make_videos import bright

#: NORM may be batch normalisation.
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


def write_spec(path: Path, norm: bool = False) -> Path:
    path.write_text(SPEC.replace("NORM", "-> bn" if norm else ""))
    return path


def write_videos(folder: Path, count: int = 14) -> Path:
    """``list.csv`` in the folder: videos of three classes, told apart by how bright they are."""
    lines = []
    for i in range(count):
        bright(folder / f"v{i}.mp4", level=40 + 80 * (i % 3) + i, frames=10 + i)
        lines.append(f"v{i}.mp4 {('dark', 'grey', 'white')[i % 3]}")
    (folder / "list.csv").write_text("\n".join(lines))
    return folder / "list.csv"


#: Two streams and two phases; NORM as above.
SPACE = """tsnet 1
block layer(x, width: int, kernel: dims, stride: dims = 1x1x1) {
  return x -> conv(width, kernel, stride=stride) NORM -> relu
}
space Searched {
  input clip(channels=3, frames=4, height=16, width=16, interval=2)
  stream a(clip, every=2) {
    stem layer(4, 1x3x3, 1x2x2)
    stage s1 { repeat depth ~ 1..2 { use layer(width ~ {4, 8}, kernel ~ {1x1x1, 1x3x3}) } }
  }
  stream b(clip) {
    stem layer(4, 3x3x3, 1x2x2)
    stage s1 { use layer(4, kernel ~ {1x1x1, 3x1x1}) }
  }
  head concat(a -> global_avg_pool, b -> global_avg_pool) -> dropout(0.2) -> linear(3)
  search parsec {
    samples = 3
    batch = 4
    phase first { streams a  learn a  epochs = 2  lr = (weights=0.1, arch=0.1) }
    phase second {
      learn b  epochs = 1  lr = (weights=0.05, arch=0.1)
      budget flops in 120k..1M weight 0.2
    }
  }
  train { batch = 4  jitter = 18..22 }
}
"""


def write_space(path: Path, norm: bool = False) -> Path:
    path.write_text(SPACE.replace("NORM", "-> bn" if norm else ""))
    return path
