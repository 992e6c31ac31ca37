"""Blocks that no space uses, and branches that no space takes, are checked by themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

import tsdsl

ROOT = Path(__file__).parents[2]
LIBRARY = """tsnet 1
import "std/video" as v
block two(x, y, width: int, wide: bool = false) { return x + (y -> conv(width, 1x1x1)) }
block made(source, target, width: int, kernel: dims = 1x1x1, act: op = relu) {
  let rest = if width == 7 then WRONG else RIGHT
  return source -> conv(width, kernel) -> act
}
"""
#: Nothing reads ``rest``, which is a warning of its own (`test_unused_results`).
UNUSED = "W0909"

TENSOR = "source -> relu"
MISTAKES = [
    # Members of tensors and sizes.
    ("source.framse", "1", "E0204"),
    ("kernel.x", "1", "E0204"),
    ("width.t", "1", "E0204"),
    # Arity, required arguments, their names and types.
    ("source -> conv(8)", TENSOR, "E0307"),
    ("source -> conv", TENSOR, "E0307"),
    ("source -> relu(1, 2)", TENSOR, "E0304"),
    ("source -> conv(8, 1x1x1, kernle=3)", TENSOR, "E0306"),
    ('source -> conv("8", 1x1x1)', TENSOR, "E0303"),
    ("source -> conv(8, 3)", TENSOR, "E0303"),
    ("source -> conv(8, 1x1x1, bias=1)", TENSOR, "E0303"),
    ("two(source, 8)", TENSOR, "E0308"),
    ("two(source, target)", TENSOR, "E0307"),
    ("two(source, target, true)", TENSOR, "E0303"),
    ("source -> v.se(true)", TENSOR, "E0303"),
    ("source -> v.mbconv3d", TENSOR, "E0307"),
    ("dims(1, 2)", "1x1x1", "E0304"),
    ("round8(kernel)", "8", "E0303"),
    # Operators.
    ("source - target", TENSOR, "E0302"),
    ("source + 1", TENSOR, "E0302"),
    ("width and true", "true", "E0303"),
    ("not width", "true", "E0303"),
    ("kernel + 1", "1", "E0303"),
    ('width + "a"', "1", "E0303"),
    ("kernel < 3", "true", "E0303"),
    ("kernel == 3", "true", "E0303"),
    ("(if width then 1 else 2)", "1", "E0303"),
    ("width -> relu", TENSOR, "E0302"),
    ("source -> width", TENSOR, "E0301"),
    ("width(3)", TENSOR, "E0301"),
    # Names.
    ("sorce -> relu", TENSOR, "E0201"),
    ("source -> v.unknown(8)", TENSOR, "E0204"),
]


def library(tmp_path: Path, wrong: str, right: str) -> Path:
    path = tmp_path / "library.tsnet"
    path.write_text(LIBRARY.replace("WRONG", wrong).replace("RIGHT", right))
    return path


@pytest.mark.parametrize(("wrong", "right", "code"), MISTAKES)
def test_a_mistake_in_a_library(tmp_path: Path, wrong: str, right: str, code: str) -> None:
    # Beside an unknown name, no value is reported as unused.
    found = [d.code for d in tsdsl.check(library(tmp_path, wrong, right))]
    assert found in ([UNUSED, code], [code])
    assert [d.code for d in tsdsl.check(library(tmp_path, right, right))] == [UNUSED]


def test_an_untaken_branch_of_a_block_that_is_used(tmp_path: Path) -> None:
    path = library(tmp_path, "source -> conv(8)", TENSOR)
    space = """space S {
      input clip(channels=3, frames=2, height=4, width=4)
      stream main(clip) { stage s1 { use conv(4, 1x1x1) } }
      head made(main, main, 4) -> global_avg_pool -> linear(2)
    }"""
    path.write_text(path.read_text() + space)
    assert [d.code for d in tsdsl.check(path)] == [UNUSED, "E0307"]


def test_a_mistake_that_elaboration_finds_too_is_reported_once(tmp_path: Path) -> None:
    path = library(tmp_path, TENSOR, "source -> conv(8, 3)")
    space = """space S {
      input clip(channels=3, frames=2, height=4, width=4)
      head made(clip, clip, 4) -> global_avg_pool -> linear(2)
    }"""
    path.write_text(path.read_text() + space)
    assert [d.code for d in tsdsl.check(path)] == [UNUSED, "E0303"]


@pytest.mark.parametrize(
    "path",
    [*ROOT.glob("tsdsl/std/*.tsnet"), *ROOT.glob("specs/*.tsnet"), *ROOT.glob("examples/*.tsnet")],
    ids=lambda path: path.name,
)
def test_shipped_libraries_and_specs_have_no_findings(path: Path) -> None:
    assert tsdsl.check(path) == []
