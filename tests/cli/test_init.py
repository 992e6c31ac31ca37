"""``tsdsl init``."""

from __future__ import annotations

from pathlib import Path

import pytest

import tsdsl


def test_it_checks_and_can_be_used(run, tmp_path: Path) -> None:
    done = run("init")
    assert (done.exit_code, done.stdout) == (0, "my_space.tsnet\n")
    text = (tmp_path / "my_space.tsnet").read_text(encoding="utf-8")
    assert "space MySpace {" in text and "my_space.tsnet" in text and "NAME" not in text
    assert tsdsl.check(tmp_path / "my_space.tsnet") == []
    space = tsdsl.load(tmp_path / "my_space.tsnet")
    assert space.flops(space.sample(seed=0)) > 0


@pytest.mark.parametrize(
    ("name", "path", "space"),
    [
        ("two_stream", "two_stream.tsnet", "TwoStream"),
        ("a-b.tsnet", "a-b.tsnet", "AB"),
        ("3d", "3d.tsnet", "Space3d"),
        ("é", "é.tsnet", "Space"),
    ],
)
def test_names(run, tmp_path: Path, name: str, path: str, space: str) -> None:
    assert run("init", name).exit_code == 0
    assert f"space {space} {{" in (tmp_path / path).read_text(encoding="utf-8")


def test_an_existing_file_is_kept(run, tmp_path: Path) -> None:
    path = tmp_path / "a.tsnet"
    path.write_text("mine")
    done = run("init", "a")
    assert done.exit_code == 3 and "--force" in done.stderr
    assert path.read_text() == "mine"
    assert run("init", "a", "--force").exit_code == 0
    assert "space A {" in path.read_text(encoding="utf-8")


def test_missing_directory(run) -> None:
    done = run("init", "no/a")
    assert done.exit_code == 3 and "E0807" in done.stderr
