"""How long it takes from the text of a spec to a network, beside pytorchvideo's builder.

    python benchmarks/compile.py

Both build X3D-L with its weights initialised, in one process, in turn; medians are compared. Then
the elaboration of a space of 80 blocks and 328 decisions. pytorchvideo is a development dependency;
without it its line is left out.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from queries.pytorchvideo import x3d

import tsdsl

ROOT = Path(__file__).resolve().parents[1]

SPACE = """\
tsnet 1
import "std/video" as v
space Large {{
  input clip(channels=3, frames=8, height=64, width=64)
  stream s(clip) {{
    stem v.x3d_stem(24)
{stages}
  }}
  head s -> v.conv5(432) -> linear(400)
}}
"""
STAGE = """\
    stage s{number}(stride=1x{stride}x{stride}) {{
      repeat depth ~ 5..10 {{
        use v.mbconv3d(
          width ~ 16..72 step 8,
          kernel ~ {{1x3x3, 3x3x3, 1x5x5, 3x5x5, 5x3x3}},
          expand ~ {{1.5, 2.0, 2.25, 3.0, 4.0, 6.0}},
          se ~ {{false, true}},
        )
      }}
    }}
"""


def pytorchvideo_builder() -> Callable[[], Any] | None:
    """The builder of pytorchvideo's X3D-L, or None if pytorchvideo is not installed."""

    def make() -> Any:
        return x3d(16, 312, 5.0)

    try:
        make()
    except ImportError:
        return None
    return make


def timed(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    spec = ROOT / "specs" / "x3d_l.tsnet"

    def ours() -> Any:
        return tsdsl.compile(tsdsl.load(spec))

    ours()
    theirs = pytorchvideo_builder()
    runs: dict[str, list[float]] = {"tsdsl": [], "pytorchvideo": []}
    for _ in range(5):
        runs["tsdsl"].append(timed(ours))
        if theirs is not None:
            runs["pytorchvideo"].append(timed(theirs))
    mine = median(runs["tsdsl"])
    print(f"X3D-L, spec text to nn.Module: {mine:.2f} s")
    if runs["pytorchvideo"]:
        other = median(runs["pytorchvideo"])
        print(f"X3D-L, pytorchvideo's builder: {other:.2f} s; difference {mine - other:+.2f} s")
    else:
        print("pytorchvideo is not installed: skipped")
    stages = "".join(STAGE.format(number=n, stride=2 if n < 4 else 1) for n in range(8))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.tsnet"
        path.write_text(SPACE.format(stages=stages), encoding="utf-8")
        times = [timed(lambda: tsdsl.load(path)) for _ in range(3)]
        space = tsdsl.load(path)
        print(
            f"80 blocks, {len(space.decisions)} decisions, {len(str(space.size)) - 1} digits of "
            f"architectures: checked and elaborated in {median(times):.2f} s"
        )


if __name__ == "__main__":
    main()
