"""``tsdsl data check``: every bad video is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from make_videos import broken, frame_folder, video

from tsdsl.data.problems import KINDS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("videos")
    video(found / "long.mp4", frames=45)
    video(found / "short.webm", frames=15, codec="libvpx")
    frame_folder(found / "frames")
    lines = ["long.mp4 0", "short.webm 1", "frames 1"]
    (found / "good.csv").write_text("\n".join(lines))
    lines += [f"{path.name} 1" for path in broken(found).values()]
    (found / "bad.csv").write_text("\n".join(lines))
    return found


def test_a_good_list(run, folder: Path) -> None:
    done = run("data", "check", folder / "good.csv")
    assert done.exit_code == 0, done.stderr
    assert done.stderr == "3 videos checked: all good\n"
    assert "longest: 45 frames, 1.5 s: long.mp4" in done.stdout
    assert "shortest: 12 frames: frames" in done.stdout
    assert "frames per second: 30 (2), none (1)" in done.stdout


@pytest.mark.parametrize("workers", [0, 2])
def test_every_kind_is_named(run, folder: Path, workers: int) -> None:
    done = run("data", "check", folder / "bad.csv", "--json", "--workers", workers)
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert report["format_version"] == 1 and report["videos"] == 13
    assert report["kinds"] == dict.fromkeys(KINDS, 1) and len(KINDS) == 10
    for entry in report["bad"]:
        assert entry["path"].startswith(entry["kind"]) and 4 <= entry["line"] <= 13
    assert report["classes"] == [
        {"name": "0", "videos": 1, "bad": 0},
        {"name": "1", "videos": 12, "bad": 10},
    ]
    assert report["longest"] == {"path": "long.mp4", "frames": 45, "seconds": 1.5}


def test_text(run, folder: Path) -> None:
    done = run("data", "check", folder / "bad.csv")
    assert done.exit_code == 1
    for kind in KINDS:
        assert f"({kind})" in done.stderr
    assert "line 4: " in done.stderr and "13 videos checked: 10 bad" in done.stderr
    assert done.stdout.splitlines()[2].split() == ["1", "12", "10"]


def test_root_and_minimum(run, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("long.mp4 0\nshort.webm 0\n")
    assert run("data", "check", "list.csv").exit_code == 1
    assert run("data", "check", "list.csv", "--root", folder).exit_code == 0
    done = run("data", "check", "list.csv", "--root", folder, "--min-frames", 20)
    assert done.exit_code == 1 and "15 of at least 20 frames" in done.stderr


def test_bad_lists(run, tmp_path: Path) -> None:
    done = run("data", "check", "nothing.csv")
    assert done.exit_code == 3 and "E0801" in done.stderr
    (tmp_path / "list.csv").write_text("a b c\nd\n")
    done = run("data", "check", "list.csv")
    assert done.exit_code == 1
    assert "line 1: 3 fields" in done.stderr and "line 2: 1 field " in done.stderr


def test_help(run) -> None:
    done = run("data", "check", "--help")
    assert done.exit_code == 0 and "tsdsl data check train.csv" in done.stdout


def test_torch_is_not_imported(spawn, folder: Path) -> None:
    import subprocess
    import sys

    program = (
        "import sys\nfrom tsdsl.cli.__main__ import cli\n"
        "try:\n    cli.main(['data', 'check', sys.argv[1]])\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, folder / "good.csv"], check=True)
