"""What an extending space adds: used, it is meant; unused, it is a finding."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tsdsl

SPECS = Path(__file__).parents[2] / "specs"
BASE = """tsnet 1
space Base {
  param frames: int = 8
  param classes: int = 5
  act ~ {relu, swish}
  input clip(channels=3, frames=frames, height=8, width=8)
  stream sparse(clip) {
    first = 8
    stage s1(stride=1x2x2) { use conv(first, 1x3x3) }
    stage s2 { width = 16  repeat depth ~ 1..2 { use conv(width, 1x1x1) } use act }
  }
  stream dense(clip) { stage s1(stride=1x2x2) { use conv(8, 1x1x1) } }
  head concat(sparse -> global_avg_pool, dense -> global_avg_pool) -> linear(classes)
  evaluate lcr { clips = 10 }
}
space S extends Base {
  LINES
}
"""


@pytest.mark.parametrize(
    ("lines", "codes"),
    [
        # Changes of statements that the base has.
        ("param frames: int = 16  act = relu", []),
        ("stream sparse { first = 16  stage s2 { width = 8  depth = 2 } }", []),
        # New names that are used: by new statements, by changed ones, or in a section.
        ("param wide: int = 8  stream sparse { first = wide }", []),
        ("param frame: int = 8  stream sparse { first = frame }", []),
        ("param rate: ratio = 0.1  train { lr = rate }", []),
        ("let half = 4  evaluate center { clips = half }", []),
        ("stream sparse { stage s2 { wide = 8  use conv(wide, 1x1x1) use act } }", []),
        ("new ~ {true, false}  attend sparse after s2 = conv(16, 1x1x1, bias=new)", []),
        # Stages and evaluations need no use.
        ("stream sparse { stage s3 { use relu } }", []),
        ("stream sparse { stage s3 { use relu } stage s4 { use relu } stage s5 { use relu } }", []),
        ("stream sparse { stage last { use relu } }", []),
        ("stream sparse { stage s11 { use relu } } attend sparse after s11 = relu", []),
        ("evaluate center { clips = 3 } evaluate lcr2 { clips = 2 }", []),
        # A new stream that is fused.
        ("stream spare(clip) { stage s1(stride=1x2x2) { use conv(8, 1x1x1) } }"
         " fuse spare -> sparse after s1 = add", []),
        # Typing errors.
        ("param fraes: int = 16", ["E0214"]),
        ("param FRAMES: int = 16", ["E0214"]),
        ("atc = relu", ["E0214"]),
        ("stream sparse { frist = 8 }", ["E0214"]),
        ("stream sparse { frames = 8 }", ["E0214"]),
        ("stream sparse { stage s11(stride=1x2x2) { use relu } }", ["E0509", "E0214"]),
        ("stream sparse { stage s11 { use relu } }", ["E0214"]),
        ("stream sparse { stage S2 { use relu } }", ["E0214"]),
        ("evaluate lrc { clips = 3 }", ["E0214"]),
        ("stream spare(clip) { stage s1 { use relu } }", ["E0214"]),
        ("param colour: int = 16", ["W0908"]),
        ("stream idle(clip) { stage s1 { use relu } }", ["W0908"]),
        # A use in its own value does not count.
        ("param other: int = 1  let more = other + 1", ["W0908"]),
    ],
)  # fmt: skip
def test_additions(tmp_path: Path, lines: str, codes: list[str]) -> None:
    path = tmp_path / "s.tsnet"
    path.write_text(BASE.replace("LINES", lines))
    assert sorted(d.code for d in tsdsl.check(path)) == sorted(codes)


def slips(name: str) -> list[str]:
    """A letter left out, doubled, changed, two swapped; none that only differs in its number."""
    k = len(name) // 2
    made = [name[:k] + name[k + 1 :], name[:k] + name[k] + name[k:], name[:-1] + "q"]
    made.append(name[: k - 1] + name[k] + name[k - 1] + name[k + 1 :])
    return [m for m in dict.fromkeys(made) if m != name and m.rstrip("0123456789") != m[:0]]


@pytest.mark.parametrize("family", ["x3d", "slowfast_r50", "auto_tsnet"])
def test_misspelt_params_of_shipped_families(tmp_path: Path, family: str) -> None:
    text = (SPECS / f"{family}.tsnet").read_text(encoding="utf-8")
    space = re.search(r"^space (\w+)", text, re.MULTILINE)
    assert space is not None
    params = re.findall(r"^  param (\w+)(: \w+)? = (.+)$", text, re.MULTILINE)
    names = {name for name, _, _ in params}
    for name, _, _ in params[:: max(1, len(params) // 5)]:
        wrong = [w for w in slips(name) if w not in names]
        lines = "\n".join(f"  param {w} = 1" for w in wrong)
        path = tmp_path / "s.tsnet"
        path.write_text(f"{text}\nspace Mine extends {space[1]} {{\n{lines}\n}}\n")
        found = tsdsl.check(path)
        assert [d.code for d in found] == ["E0214"] * len(wrong), (name, wrong)
