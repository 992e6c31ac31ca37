"""``tsdsl flops``."""

from __future__ import annotations

import json
import os
from itertools import product
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
    assert done.stdout.splitlines()[2].split() == ["over", "the", "space", "minimum", "maximum"]
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


#: Where the network with the fewest multiply-adds has the most parameters.
CROSSED = """tsnet 1
space Crossed {
  input clip(channels=4, frames=4, height=8, width=8)
  stream main(clip) {
    stage s1 {
      width ~ {4, 8}
      use conv(width, 1x1x1)
      use body ~ {conv(8, 3x3x3), conv(64, 3x3x3, stride=4x8x8)}
    }
  }
  head main -> global_avg_pool -> linear(5)
}
"""


def test_the_ends_of_every_cost(run, tmp_path: Path) -> None:
    """By enumeration: the ends of params are not those of the ends of FLOPs."""
    path = tmp_path / "crossed.tsnet"
    path.write_text(CROSSED)
    space = tsdsl.load(path)
    picked = product(*(d.options for d in space.decisions))
    archs = [dict(zip((d.path for d in space.decisions), p, strict=True)) for p in picked]
    macs, params = space.flops(archs).tolist(), space.params(archs).tolist()
    report = json.loads(run("flops", path, "--json").stdout)
    assert report["bounds"] == {
        "macs": {"min": min(macs), "max": max(macs)},
        "params": {"min": min(params), "max": max(params)},
    }
    least, most = (report[end] for end in ("min", "max"))
    assert (least["macs"], most["macs"]) == (min(macs), max(macs))
    assert (least["network"], most["network"]) == ("fewest FLOPs", "most FLOPs")
    # Of the networks, which are others than those with the fewest and the most parameters.
    assert least["params"] == params[macs.index(min(macs))] > min(params)
    assert most["params"] == params[macs.index(max(macs))] < max(params)
    lines = run("flops", path).stdout.splitlines()
    scale, unit = (1e6, "MFLOPs") if max(macs) >= 1e5 else (1e3, "kFLOPs")
    both = [f"{value / scale:,.3f}" for value in (min(macs), max(macs))]
    assert [line.split() for line in lines[2:5]] == [
        ["over", "the", "space", "minimum", "maximum"],
        [unit, *both],
        ["params", f"{min(params):,}", f"{max(params):,}"],
    ]
    assert [line.split() for line in lines[6:9]] == [
        ["the", "network", "with", "fewest", "FLOPs", "most", "FLOPs"],
        [unit, *both],
        ["params", f"{least['params']:,}", f"{most['params']:,}"],
    ]


def test_small_networks_have_small_units(run, tmp_path: Path) -> None:
    path = tmp_path / "crossed.tsnet"
    path.write_text(CROSSED)
    given = ("--set", "main.s1.width=4", "--set", "main.s1[1].body=conv(64, 3x3x3, stride=4x8x8)")
    macs = json.loads(run("flops", path, *given, "--json").stdout)["macs"]
    # By hand: 256 places of 4 -> 4, one of 27 x 4 -> 64, and 64 -> 5 classes.
    assert macs == 256 * 16 + 27 * 4 * 64 + 64 * 5
    shown = run("flops", path, *given, "--views", "3").stdout
    assert "kFLOPs" in shown and f"{macs / 1e3:,.3f}" in shown and "0.000" not in shown
    assert f"3 views: {3 * macs / 1e3:,.3f} kFLOPs" in shown
    done = run("flops", path, *given, "--max", "1k")
    assert f"the network has {macs / 1e3:,.3f} kFLOPs (multiply-adds)" in done.stderr
