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


@pytest.mark.parametrize(
    "name",
    [
        "a\nspace Other { }",
        "two words",
        "a'b\"c",
        "a\r\x1b[31m\u202e",
        "back\\slash\\1",
        "NAME.tsnet Starter",
        "{0}%s",
    ],
)
def test_the_name_of_the_file_stays_in_its_comments(run, tmp_path: Path, name: str) -> None:
    done = run("init", name)
    assert done.exit_code == 0, done.stderr
    assert all(line.isprintable() for line in (done.stdout + done.stderr).split("\n"))
    path = tmp_path / f"{name}.tsnet"
    assert tsdsl.check(path) == []
    lines = path.read_text(encoding="utf-8").split("\n")
    plain = (tmp_path / "plain.tsnet", run("init", "plain"))[0].read_text(encoding="utf-8")
    assert len(lines) == len(plain.split("\n"))
    # Comments say the file, one line the space: nothing else is another one.
    other = [a for a, b in zip(lines, plain.split("\n"), strict=True) if a != b]
    assert [line for line in other if not line.startswith("//")] == [
        line for line in other if line.startswith("space ")
    ]
