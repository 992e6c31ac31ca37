"""Spaces that another one extends can be named, and are checked by themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

import tsdsl
from tsdsl.diagnostics import SpecError

BASE = """space Base {
  param width: int = 8
  input clip(channels=3, frames=4, height=8, width=8)
  stream main(clip) {
    stage a { use conv(width, 1x1x1) }
    stage b { BLOCK }
  }
  head main -> global_avg_pool -> linear(5)
  train { SETTING }
}
"""
EXTENDING = """space S extends NAME {
  param width: int = 16
  stream main { stage b { use conv(width, 1x1x1) } }
  train { lr = 0.2 }
}
"""


def write(
    tmp_path: Path, apart: bool, block: str = "use conv(8, 1x1x1)", setting: str = "lr = 0.1"
) -> Path:
    base = BASE.replace("BLOCK", block).replace("SETTING", setting)
    path = tmp_path / "s.tsnet"
    if apart:
        (tmp_path / "base.tsnet").write_text("tsnet 1\n" + base)
        head = 'tsnet 1\nimport "./base.tsnet" as family\n'
        path.write_text(head + EXTENDING.replace("NAME", "family.Base"))
    else:
        path.write_text("tsnet 1\n" + base + EXTENDING.replace("NAME", "Base"))
    return path


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize(
    ("block", "setting", "code"),
    [
        ("use conv(8, 1x1x1)", "lr = 0.1", None),
        ("use conv(8, 1x1x1)", "lrr = 0.1", "E0602"),
        ("use conv(8, 1x1x1)", "lr = wrong", "E0605"),
        ("use unknown(8)", "lr = 0.1", "E0201"),
        ("use conv(8, 1x1x1, nothing=3)", "lr = 0.1", "E0306"),
        ("use conv(5, 1x1x1, groups=3)", "lr = 0.1", "E0401"),
    ],
)
def test_a_base_is_checked_where_more_than_values_is_replaced(
    tmp_path: Path, apart: bool, block: str, setting: str, code: str | None
) -> None:
    found = tsdsl.check(write(tmp_path, apart, block, setting))
    assert [d.code for d in found] == ([code] if code else [])
    if code:
        assert Path(found[0].file_name).name == ("base.tsnet" if apart else "s.tsnet")


def test_a_base_of_a_base_in_another_file(tmp_path: Path) -> None:
    write(tmp_path, True, setting="lrr = 0.1")
    path = tmp_path / "t.tsnet"
    text = 'tsnet 1\nimport "./s.tsnet" as s\nspace T extends s.S { train { lr = 0.3 } }\n'
    path.write_text(text)
    assert [d.code for d in tsdsl.check(path)] == ["E0602"]


def test_a_mistake_of_base_and_space_is_reported_once(tmp_path: Path) -> None:
    path = write(tmp_path, False)
    path.write_text(path.read_text().replace("height=8", "height=unknown"))
    assert [d.code for d in tsdsl.check(path)] == ["E0201"]


#: By hand: 8 x 8 x 4 positions; 3 -> w -> 8 or w channels, 5 classes.
MACS = {"Base": 256 * (3 * 8 + 8 * 8) + 8 * 5, "S": 256 * (3 * 16 + 16 * 16) + 16 * 5}


def test_a_base_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path, False)
    assert tsdsl.load(path).name == "S"
    assert {name: tsdsl.load(path, space=name).flops() for name in MACS} == MACS
    fixed = tsdsl.load(path, {"width": 4}, "Base")
    assert fixed.flops() == 256 * (3 * 4 + 4 * 8) + 8 * 5
    with pytest.raises(SpecError, match="did you mean 'Base'"):
        tsdsl.load(path, space="Bsae")


def test_a_base_with_decisions_in_the_middle_of_a_chain(tmp_path: Path) -> None:
    path = write(tmp_path, False)
    more = "space T extends S { stream main { stage a { w ~ {4, 8} use conv(w, 1x1x1) } } }\n"
    path.write_text(path.read_text() + more)
    assert tsdsl.load(path).name == "T"
    assert tsdsl.load(path, space="S").flops() == MACS["S"]
    assert tsdsl.load(path, space="Base").flops() == MACS["Base"]


#: A space with one thing to change, and one that changes nothing but values.
VALUES = """space Base {
  param width: int = 8
  PARAM
  input clip(channels=3, frames=4, height=8, width=8)
  stream main(clip) {
    stage a { count = 1 inner ~ {4, 8} BINDING use conv(width, 1x1x1) use conv(inner, 1x1x1) }
    stage b { repeat depth = 1 { use conv(extra, 1x1x1) } }
  }
  head main -> global_avg_pool -> linear(5)
  MORE
}
"""
CHANGED = """space S extends NAME {
  param width: int = 16
  CHANGE
}
"""


def values(
    tmp_path: Path, apart: bool, change: str, param: str, binding: str = "", more: str = ""
) -> Path:
    base = VALUES.replace("PARAM", param).replace("BINDING", binding).replace("MORE", more)
    path = tmp_path / "s.tsnet"
    changed = CHANGED.replace("CHANGE", change)
    if apart:
        (tmp_path / "base.tsnet").write_text("tsnet 1\n" + base)
        head = 'tsnet 1\nimport "./base.tsnet" as family\n'
        path.write_text(head + changed.replace("NAME", "family.Base"))
    else:
        path.write_text("tsnet 1\n" + base + changed.replace("NAME", "Base"))
    return path


EXTRA = "param extra: int = 8"
LEARN = "search parsec {{ phase a {{ learn {} epochs = 1 lr = (weights=1, arch=1) }} }}"


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize(
    ("param", "binding", "more", "change", "code"),
    [
        (EXTRA, "", "", "param extra: int = 4", None),
        ('param extra: int = "wide"', "", "", "param extra: int = 4", "E0303"),
        ("param extra: int = 4.5", "", "", "param extra: int = 4", "E0303"),
        ("param extra: itn = 8", "", "", "param extra: int = 4", "E0310"),
        ("param extra: int = wdith", "", "", "param extra: int = 4", "E0201"),
        (EXTRA, "z = wrong", "require a.z > 1", "stream main { stage a { z = 4 } }", "E0201"),
        (EXTRA, "z ~ 4..2", "require a.z > 1", "stream main { stage a { z ~ 2..4 } }", "E0503"),
        (EXTRA, "z ~ {2, 2}", "require a.z > 1", "stream main { stage a { z ~ {2, 4} } }", "E0502"),
        (EXTRA, "z = -1", "moved y -> a.zz", "stream main { stage a { inner ~ {4, 6} } }", "E0518"),
        (EXTRA, "", LEARN.format("main"), "param extra: int = 4", None),
        (EXTRA, "", LEARN.format("mian"), "param extra: int = 4", "E0603"),
    ],
)
def test_values_that_an_extending_space_replaces_are_checked(
    tmp_path: Path, apart: bool, param: str, binding: str, more: str, change: str, code: str | None
) -> None:
    more = more.replace("a.z ", "main.a.z ")
    found = tsdsl.check(values(tmp_path, apart, change, param, binding, more))
    errors = [d for d in found if d.severity == "error"]
    assert [d.code for d in errors] == ([code] if code else [])
    if code:
        assert Path(errors[0].file_name).name == ("base.tsnet" if apart else "s.tsnet")
