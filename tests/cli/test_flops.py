"""``tsdsl flops``."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import tsdsl


def test_a_network(run, fixed: Path) -> None:
    done = run("flops", fixed)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "GFLOPs (multiply-adds)" in done.stdout
    assert "1.963" in done.stdout and "3,794,322" in done.stdout


def test_settings_and_views(run, fixed: Path) -> None:
    done = run("flops", fixed, "--set", "crop=182", "--views", "30")
    assert done.exit_code == 0, done.stderr
    assert "2.722" in done.stdout and "30 views: 81.6" in done.stdout


@pytest.mark.parametrize("by", ["stream", "stage", "block", "op"])
def test_by(run, fixed: Path, by: str) -> None:
    done = run("flops", fixed, "--by", by)
    assert done.exit_code == 0, done.stderr
    table = done.stdout.split("\n\n")[1].split("\n")
    assert table[0].split() == [by, "ops", "GFLOPs", "share", "params"]
    total = table[-1].split()
    rows = [line.split() for line in table[1:-1]]
    assert sum(int(row[4].replace(",", "")) for row in rows) == int(total[-1].replace(",", ""))
    assert sum(float(row[2]) for row in rows) == pytest.approx(
        float(total[2]), abs=1e-3 * len(rows)
    )


def test_json(run, fixed: Path) -> None:
    done = run("flops", fixed, "--json", "--views", "10")
    report = json.loads(done.stdout)
    assert report["format_version"] == 1 and report["views"] == 10
    assert report["params"] == 3_794_322
    assert "multiply-adds" in report["flops_convention"]
    assert sum(item["macs"] for item in report["items"]) == report["macs"]
    assert sum(item["params"] for item in report["items"]) == report["params"]
    assert set(report["items"][0]) == {"path", "op", "macs", "params", "shape"}
    assert "min" not in report


def test_frozen_agrees_with_the_library(run, starter: Path, arch: Path) -> None:
    report = json.loads(run("flops", starter, "--frozen", arch, "--json").stdout)
    space = tsdsl.load(starter)
    loaded = tsdsl.Architecture.load(arch)
    assert report["macs"] == space.flops(loaded)
    assert report["params"] == space.params(loaded)


def test_a_space(run, starter: Path, tmp_path: Path) -> None:
    report = json.loads(run("flops", starter, "--json").stdout)
    space = tsdsl.load(starter)
    assert report["macs"] is None and report["items"] == []
    assert report["min"]["macs"] < report["max"]["macs"]
    for end in ("min", "max"):
        arch = tsdsl.Architecture(report[end]["decisions"])
        assert report[end]["macs"] == space.flops(arch)
        assert report[end]["params"] == space.params(arch)
    done = run("flops", starter, "--views", "3")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[2].split() == ["minimum", "maximum"]
    assert "3 views" in done.stdout
    assert "sparse.s1.width" in done.stdout and "multiply-adds" in done.stdout


@pytest.mark.parametrize(
    ("window", "said"),
    [
        (["--min", "1.9G", "--max", "2G"], None),
        (["--min", "2G"], "below --min 2G"),
        (["--max", "1.9G"], "above --max 1.9G"),
    ],
)
def test_window_of_a_network(run, fixed: Path, window: list[str], said: str | None) -> None:
    done = run("flops", fixed, *window)
    assert "1.963" in done.stdout
    if said is None:
        assert (done.exit_code, done.stderr) == (0, "")
    else:
        assert done.exit_code == 1
        assert said in done.stderr and "1.963 GFLOPs (multiply-adds)" in done.stderr


def test_window_is_closed(run, fixed: Path) -> None:
    macs = str(json.loads(run("flops", fixed, "--json").stdout)["macs"])
    assert run("flops", fixed, "--min", macs, "--max", macs).exit_code == 0
    assert run("flops", fixed, "--min", str(int(macs) + 1)).exit_code == 1
    assert run("flops", fixed, "--max", str(int(macs) - 1)).exit_code == 1


def test_window_of_a_space(run, starter: Path) -> None:
    report = json.loads(run("flops", starter, "--json").stdout)
    least, most = report["min"]["macs"], report["max"]["macs"]
    assert run("flops", starter, "--min", str(most), "--max", str(most + 1)).exit_code == 0
    assert run("flops", starter, "--min", str(least + 1)).exit_code == 0
    done = run("flops", starter, "--min", str(most + 1))
    assert done.exit_code == 1 and "maximum of the space" in done.stderr
    done = run("flops", starter, "--max", str(least - 1))
    assert done.exit_code == 1 and "minimum of the space" in done.stderr


def test_by_needs_one_architecture(run, starter: Path) -> None:
    done = run("flops", starter, "--by", "stage")
    assert done.exit_code == 2 and "--frozen" in done.stderr


def test_unknown_setting(run, fixed: Path) -> None:
    done = run("flops", fixed, "--set", "cropp=182")
    assert done.exit_code in (1, 2) and "crop" in done.stderr and "Traceback" not in done.stderr


def test_table_on_a_terminal(spawn, fixed: Path) -> None:
    pty = pytest.importorskip("pty")
    for env, escapes in (({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False)):
        ours, theirs = pty.openpty()
        done = spawn(
            "flops",
            fixed,
            env={"TERM": "xterm", "COLUMNS": "100", **env},
            capture_output=False,
            stdout=theirs,
        )
        os.close(theirs)
        shown = os.read(ours, 100_000).decode()
        os.close(ours)
        assert done.returncode == 0
        assert "1.963" in shown and "3,794,322" in shown and "multiply-adds" in shown
        assert ("\x1b[36m" in shown or "\x1b[1;36m" in shown) is escapes
