"""``moved old -> new``: wherever a path is given, an earlier one is followed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tsdsl
from tsdsl.diagnostics import SpecError

TEXT = """tsnet 1
space Base {
  input clip(channels=3, frames=4, height=8, width=8)
  stream main(clip) {
    stage a {
      w ~ {8, 16}
      use body ~ {conv(w, 1x1x1), conv(w, kernel ~ {1x3x3, 3x1x1})}
    }
  }
  moved main.a.width -> main.a.wide
  moved main.a.wide -> main.a.w
  moved main.a.op -> main.a[0].body
  head main -> global_avg_pool -> linear(5)
  search parsec {
    phase first { learn LEARN  epochs = 4  lr = (weights=0.1, arch=0.2) }
  }
}
EXTENDING
"""


def spec(tmp_path: Path, learn: str = "main", extending: str = "") -> Path:
    path = tmp_path / "a.tsnet"
    path.write_text(TEXT.replace("LEARN", learn).replace("EXTENDING", extending))
    return path


def load(tmp_path: Path, given: dict[str, Any] | None = None, **more: str) -> tsdsl.Space:
    return tsdsl.load(spec(tmp_path, **more), given)


#: The cost of a network is known by hand: 8 x 8 x 4 positions, 3 -> w channels, w -> 5 classes.
MACS = {8: 256 * 3 * 8 + 8 * 5, 16: 256 * 3 * 16 + 16 * 5}


@pytest.mark.parametrize("key", ["main.a.w", "main.a.wide", "main.a.width"])
@pytest.mark.parametrize("width", [8, 16])
def test_set_fixes_what_has_moved(tmp_path: Path, key: str, width: int) -> None:
    space = load(tmp_path, {key: width, "main.a[0].body": "conv(w, 1x1x1)"})
    assert [d.path for d in space.decisions] == []
    assert space.flops() == MACS[width]


def test_set_of_an_operation_by_its_earlier_path(tmp_path: Path) -> None:
    space = load(tmp_path, {"main.a.op": "conv(w)"})
    # A leading part of a path moves, too.
    assert [d.path for d in space.decisions] == ["main.a.w", "main.a[0].body.conv.kernel"]
    space = load(tmp_path, {"main.a.op": "conv(w)", "main.a.op.conv.kernel": "1x3x3"})
    assert [d.path for d in space.decisions] == ["main.a.w"]
    assert space.flops({"main.a.w": 8}) == 9 * 256 * 3 * 8 + 8 * 5


def test_both_paths_are_given(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="which it is called today, is given too"):
        load(tmp_path, {"main.a.width": 8, "main.a.w": 16})


def test_an_extending_space_fixes_what_has_moved(tmp_path: Path) -> None:
    extending = "space S extends Base { stream main { stage a { w = 8  use conv(w, 1x1x1) } } }"
    path = spec(tmp_path, extending=extending, learn="main.a")
    assert tsdsl.check(path) == []
    assert tsdsl.load(path, space="S").flops() == MACS[8]


def test_an_extending_space_drops_what_its_base_learns(tmp_path: Path) -> None:
    extending = "space S extends Base { stream main { stage a { w = 8 } } }"
    path = spec(tmp_path, extending=extending, learn="main.a.w, main.a[0]")
    assert [d.code for d in tsdsl.check(path)] == []


@pytest.mark.parametrize("line", ["moved main.a.x -> main.a.y", "moved main.a.x -> main.a.wide"])
def test_a_move_of_its_own_must_lead_somewhere(tmp_path: Path, line: str) -> None:
    found = tsdsl.check(spec(tmp_path, extending=f"space S extends Base {{ {line} }}"))
    assert [d.code for d in found] == ([] if line.endswith("wide") else ["E0518"])


@pytest.mark.parametrize("learn", ["main.a.width, main.a[0]", "main.a.w, main.a.op"])
def test_learn_follows(tmp_path: Path, learn: str) -> None:
    path = spec(tmp_path, learn=learn)
    assert tsdsl.check(path) == []
    sections = tsdsl.load(path).sections
    assert sections is not None and sections.search is not None
    assert sections.search.phases[0].learn in (
        ("main.a.w", "main.a[0]"),
        ("main.a.w", "main.a[0].body"),
    )
    assert tsdsl.check(path, {"main.a.w": 8}) == tsdsl.check(path, {"main.a.width": 8}) == []


def test_distributions_follow(tmp_path: Path) -> None:
    space = load(tmp_path)
    today = space.distribution({"main.a.w": [1, 3]})
    earlier = space.distribution({"main.a.width": [1, 3]})
    assert earlier.flat.tolist() == today.flat.tolist()
    expected = tsdsl.Distribution.from_logits(space.graph, {"main.a.w": [0.0, 1.0]})
    found = tsdsl.Distribution.from_logits(space.graph, {"main.a.wide": [0.0, 1.0]})
    assert found.flat.tolist() == expected.flat.tolist()
    with pytest.raises(ValueError, match="given twice"):
        space.distribution({"main.a.width": [1, 3], "main.a.w": [1, 3]})


def test_a_file_that_gives_a_decision_twice(tmp_path: Path) -> None:
    space = load(tmp_path)
    text = space.distribution().dump()
    twice = text.replace(
        '"main.a.w":', '"main.a.width": {"options": [8, 16], "logits": [0, 1]}, "main.a.w":'
    )
    assert twice != text
    with pytest.raises(SpecError, match="is there twice"):
        tsdsl.Distribution.parse(space.graph, twice)
