"""What `docs/language.md` says that the hash of a space covers and leaves out."""

from __future__ import annotations

from pathlib import Path

import pytest

import tsdsl

SPEC = """tsnet 1
import "std/video" as v
block narrow(x, stride: dims = 1x1x1) { return x -> max_pool(1x3x3, stride, 0x1x1) }
space Hashed {
  param classes = 10
  input clip(channels=3, frames=8, height=64, width=64, interval=2)
  stream main(clip, every=2) {
    stem v.x3d_stem(8)
    stage s1(stride=1x2x2) {
      width ~ {8, 16}
      repeat depth ~ 1..2 { use v.mbconv3d(width, kernel ~ {1x3x3, 3x3x3}) }
    }
    stage s2(stride=1x2x2) { use narrow }
  }
  attend main after s1 ~ {none, v.se(1)}
  head main -> v.conv5(32) -> dropout(0.5) -> linear(classes)
  require main.s1.width == 8 or main.s1.depth == 1
}
"""
COVERED = [
    ("{8, 16}", "{16, 8}"),
    ("{8, 16}", "{8, 24}"),
    ("width", "size"),
    ("s1", "s9"),
    ("v.", "u."),
    ("v.se(1)", "v.se(1.0)"),
    ("channels=3", "channels=1"),
    ("classes = 10", "classes = 11"),
    ("1x2x2", "1x1x1"),
    ("require main.s1.width == 8 or main.s1.depth == 1", ""),
    ("every=2", "every=1"),
]
LEFT_OUT = [
    ("space", "// a comment\nspace"),
    ("Hashed", "Other"),
    ("classes", "several"),
    ("narrow", "smaller"),
    ("frames=8", "frames=16"),
    ("height=64", "height=96"),
    ("interval=2", "interval=5"),
    ("every=2", "every=4"),
    ("1x3x3, stride, 0x1x1", "1x5x5, stride, 0x2x2"),
    ("dropout(0.5)", "dropout(0.2)"),
    ("{8, 16}", "{8: 0.2, 16: 0.8} default 16"),
    ("{8, 16}", "8..16 step 8"),
    ("depth == 1", 'depth == 1 else "thin"'),
    (
        "main.s1.width == 8 or main.s1.depth == 1",
        "not (main.s1.width == 16 and main.s1.depth == 2)",
    ),
    ("require", "moved main.s1.w -> main.s1.width\n  require"),
    ("require", "train { epochs = 3 }\n  require"),
]


def hashed(text: str, folder: Path) -> str:
    path = folder / "hashed.tsnet"
    path.write_text(text, encoding="utf-8")
    return tsdsl.load(path).hash


def changed(old: str, new: str) -> str:
    assert old in SPEC
    if old == "width":
        return (
            SPEC.replace("width ~", "size ~")
            .replace("(width,", "(size,")
            .replace("s1.width", "s1.size")
        )
    if old == "v.":
        return SPEC.replace(" as v", " as u").replace("v.", "u.")
    return SPEC.replace(old, new)


@pytest.mark.parametrize(("old", "new"), COVERED)
def test_covered(old: str, new: str, tmp_path: Path) -> None:
    assert hashed(changed(old, new), tmp_path) != hashed(SPEC, tmp_path)


@pytest.mark.parametrize(("old", "new"), LEFT_OUT)
def test_left_out(old: str, new: str, tmp_path: Path) -> None:
    assert hashed(changed(old, new), tmp_path) == hashed(SPEC, tmp_path)
