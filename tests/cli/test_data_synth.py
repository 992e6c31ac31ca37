"""``tsdsl data synth``: what it says, and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SMALL = ("--clips", "8", "--glyphs", "2", "--motions", "2", "--size", "32", "--frames", "8")


def test_the_result_is_clean(run, tmp_path: Path) -> None:
    done = run("data", "synth", "glyphs", *SMALL)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.split() == ["glyphs/train.csv", "glyphs/val.csv"]
    assert done.stderr.startswith("4 videos to train, 4 to validate, 4 classes: rendered with ")
    options = json.loads((tmp_path / "glyphs" / "synth.json").read_text())
    assert options["clips"] == 8 and options["difficulty"] == 0.2
    for name in ("train", "val"):
        done = run("data", "check", f"glyphs/{name}.csv")
        assert done.exit_code == 0 and "4 videos checked: all good" in done.stderr
    done = run("data", "synth", "glyphs", *SMALL, "--json")
    report = json.loads(done.stdout)
    assert report["format_version"] == 1 and report["rendered"] == 0
    assert report["videos"] == {"train": 4, "val": 4} and len(report["classes"]) == 4


def test_another_set_needs_force(run) -> None:
    assert run("data", "synth", "glyphs", *SMALL).exit_code == 0
    done = run("data", "synth", "glyphs", *SMALL, "--seed", "1")
    assert done.exit_code == 3 and "E0808" in done.stderr and "--force" in done.stderr
    assert run("data", "synth", "glyphs", *SMALL, "--seed", "1", "--force").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--clips", "7"), "too few"),
        (("--glyphs", "99"), "not in 1..16"),
        (("--size", "41"), "even"),
        (("--difficulty", "nan"), "difficulty"),
        (("--workers", "-1"), "--workers"),
        (("--clips", "x"), "--clips"),
    ],
)
def test_options_out_of_range(run, tmp_path: Path, arguments, message: str) -> None:
    done = run("data", "synth", "glyphs", *SMALL, *arguments)
    assert done.exit_code == 2 and message in done.stderr
    assert not (tmp_path / "glyphs").exists()


def test_a_folder_of_others(run, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("")
    (tmp_path / "file").write_text("")
    assert run("data", "synth", "mine", *SMALL).exit_code == 3
    assert run("data", "synth", "file", *SMALL).exit_code == 3
    assert run("data", "synth").exit_code == 2


def test_help(run) -> None:
    done = run("data", "synth", "--help")
    assert done.exit_code == 0 and "tsdsl data synth glyphs" in done.stdout
    assert "synth" in run("data", "--help").stdout
