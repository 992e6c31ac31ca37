"""``tsdsl data check``: every bad video is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from make_videos import broken, frame_folder, picture, video

from tsdsl.data.video_problems import KINDS


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
    assert report["format_version"] == 1 and report["videos"] == 15
    assert report["kinds"] == dict.fromkeys(KINDS, 1) and len(KINDS) == 12
    for entry in report["bad"]:
        assert entry["path"].startswith(entry["kind"]) and 4 <= entry["line"] <= 15
    assert report["classes"] == [
        {"name": "0", "videos": 1, "bad": 0},
        {"name": "1", "videos": 14, "bad": 12},
    ]
    assert report["longest"] == {"path": "long.mp4", "frames": 45, "seconds": 1.5}


def test_text(run, folder: Path) -> None:
    done = run("data", "check", folder / "bad.csv")
    assert done.exit_code == 1
    for kind in KINDS:
        assert f"({kind})" in done.stderr
    assert "line 4: " in done.stderr and "15 videos checked: 12 bad" in done.stderr
    assert done.stdout.splitlines()[2].split() == ["1", "14", "12"]


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


def test_lists_that_may_be_meant_otherwise(run, folder: Path) -> None:
    (folder / "odd.csv").write_text("video_name,tag\nlong.mp4,1\nshort.webm,2\n")
    (folder / "val.csv").write_text("./long.mp4,1\nframes,1\n")
    done = run("data", "check", folder / "odd.csv", "--val", folder / "val.csv")
    assert done.exit_code == 0, done.stderr
    for text in (
        "W0982]: line 1: 'video_name' and 'tag' are taken as the names of columns",
        "W0982]: no video has the label 0; the labels are 1..2",
        "W0984]: 1 of 2 videos are in",
    ):
        assert text in done.stderr, done.stderr


def test_which_of_two_streams(run, tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "two.mkv"), "w") as out:
        streams = [out.add_stream("mpeg4", rate=30) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            stream.disposition = av.stream.Disposition(stream.index)
        for i in range(3):
            for stream in streams:
                frame = av.VideoFrame.from_ndarray(picture(i, 64, 48), format="rgb24")
                out.mux(stream.encode(frame))
        for stream in streams:
            out.mux(stream.encode())
    (tmp_path / "list.csv").write_text("two.mkv 0\n")
    done = run("data", "check", tmp_path / "list.csv")
    assert done.exit_code == 0
    assert "W0983]: two.mkv: video stream 2 of 2 is taken" in done.stderr
