"""The data set in a folder: its content, what it does not touch, and what an interrupted run
leaves."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tsdsl.data import synth
from tsdsl.data.check import VideoFacts, check_list
from tsdsl.data.glyphs import Clip, render
from tsdsl.data.lists import read_list
from tsdsl.data.synth import DONE, UNFINISHED, SynthOptions, synthesise
from tsdsl.data.video import index_video, read_clip
from tsdsl.diagnostics import FileError

SMALL = SynthOptions(clips=14, glyphs=2, motions=2, size=32, frames=8)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set") / "glyphs"
    found = synthesise(folder, SMALL)
    assert found.rendered == 14 and found.counts == {"train": 10, "val": 4}
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """Path -> bytes. Videos count as present only, since encoders need not be deterministic."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.suffix != ".mp4" else b""
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def pixels(path: Path) -> NDArray[np.float64]:
    """clip_CTHW"""
    index = index_video(str(path))
    return np.asarray(read_clip(str(path), index, list(range(index.count)))).astype(float)


def distance(one: Path, other: Path) -> float:
    """Mean difference of the pixels of the videos in two folders with the same names."""
    videos = [path.relative_to(one) for path in one.rglob("*.mp4")]
    return max(float(np.abs(pixels(one / v) - pixels(other / v)).mean()) for v in videos)


def test_lists_have_the_same_classes_and_good_videos(made: Path) -> None:
    lists = [read_list(made / f"{split}.csv") for split in ("train", "val")]
    assert lists[0].classes == lists[1].classes
    assert lists[0].classes == (
        "0-falling-shake",
        "0-falling-swing",
        "0-rising-shake",
        "0-rising-swing",
    )
    assert [sum(v.counts()) for v in lists] == [10, 4] and lists[1].counts() == [1] * 4
    for videos in lists:
        for video, facts in zip(videos.videos, check_list(videos, 8), strict=True):
            assert isinstance(facts, VideoFacts)
            assert (facts.frames, facts.fps, facts.width, facts.height) == (8, 30, 32, 32)
            assert Path(video.path).parent.name == videos.classes[video.label]
    assert not {v.path for v in lists[0].videos} & {v.path for v in lists[1].videos}


def test_videos_show_what_is_rendered(made: Path) -> None:
    decoded_CTHW = pixels(made / "val" / "0-falling-swing" / "00000.mp4")
    drawn_CTHW = render(Clip(1, 1, (0, 1, 1, 1, 0), 8, 32, 0.2)).transpose(3, 0, 1, 2).astype(float)
    error = np.abs(decoded_CTHW.mean(0) - drawn_CTHW.mean(0)).mean()
    backwards = np.abs(decoded_CTHW.mean(0) - drawn_CTHW.mean(0)[::-1]).mean()
    assert error < 5 and backwards > 2 * error


def test_the_same_options_give_the_same_files(made: Path, tmp_path: Path) -> None:
    synthesise(tmp_path / "again", SMALL, workers=2)
    assert content(tmp_path / "again") == content(made)
    assert distance(tmp_path / "again", made) < 1
    seeded = SynthOptions(**{f: getattr(SMALL, f) for f in SMALL.__match_args__} | {"seed": 1})
    synthesise(tmp_path / "other", seeded)
    assert distance(tmp_path / "other", made) > 10


def test_a_set_that_is_there_is_left_alone(made: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    assert synthesise(made, SMALL).rendered == 0
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before


def test_a_video_that_was_lost_is_made_again(made: Path, tmp_path: Path) -> None:
    synthesise(tmp_path / "set", SMALL)
    (tmp_path / "set" / "val" / "0-rising-shake" / "00000.mp4").write_bytes(b"")
    assert synthesise(tmp_path / "set", SMALL).rendered == 14
    assert content(tmp_path / "set") == content(made)
    assert distance(tmp_path / "set", made) < 1


@pytest.mark.parametrize("after", [1, 9, 14])
def test_an_interrupted_run_is_noticed_and_done_again(
    made: Path, tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, left = tmp_path / "set", [after]

    def step() -> None:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesise(folder, SMALL, step=step)
    assert (folder / UNFINISHED).exists() and not (folder / DONE).exists()
    (folder / "train" / "0-rising-shake" / ".00000.mp4.1f-0123abcd.tmp").write_bytes(b"half")
    synthesise(folder, SMALL)
    assert content(folder) == content(made)
    assert distance(folder, made) < 1


def test_a_smaller_set_replaces_a_larger_one(tmp_path: Path) -> None:
    larger = SynthOptions(clips=12, glyphs=3, motions=2, size=32, frames=8)
    smaller = SynthOptions(clips=4, glyphs=1, motions=2, size=32, frames=8)
    folder = tmp_path / "set"
    synthesise(folder, larger)
    (folder / "notes.txt").write_text("mine")
    (folder / "train" / "0-falling-shake" / "mine.mp4").write_bytes(b"mine")
    with pytest.raises(FileError, match="another data set"):
        synthesise(folder, smaller)
    synthesise(folder, smaller, force=True)
    synthesise(tmp_path / "fresh", smaller)
    assert content(folder) == content(tmp_path / "fresh") | {
        "notes.txt": b"mine",
        "train/0-falling-shake/mine.mp4": b"",
    }


def test_a_folder_with_something_else(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("mine")
    with pytest.raises(FileError, match="not empty"):
        synthesise(tmp_path, SMALL)
    assert content(tmp_path) == {"train.csv": b"mine"}
    (tmp_path / "train.csv").unlink()
    (tmp_path / DONE).write_text("[" * 10_000)
    with pytest.raises(FileError, match="not empty"):
        synthesise(tmp_path, SMALL)


def test_folders_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "0-rising-shake").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "under", "a\0b"):
        with pytest.raises(FileError) as caught:
            synthesise(folder, SMALL)
        assert caught.value.diagnostics[0].code == "E0807"
    with pytest.raises(FileError, match="cannot write"):
        synthesise(tmp_path, SMALL, force=True)


def test_without_h264(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synth.av, "codecs_available", {"mpeg4"})
    options = SynthOptions(clips=4, glyphs=1, motions=2, size=32, frames=8)
    assert synthesise(tmp_path / "set", options).encoder == "mpeg4"
    videos = read_list(tmp_path / "set" / "train.csv")
    assert all(isinstance(facts, VideoFacts) for facts in check_list(videos, 8))
    assert json.loads((tmp_path / "set" / DONE).read_text())["encoder"] == "mpeg4"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"clips": 31}, "31 clips are too few"),
        ({"clips": 10**7}, "clips"),
        ({"glyphs": 0}, "glyphs"),
        ({"glyphs": 17}, "not in 1..16"),
        ({"motions": 9}, "not in 1..8"),
        ({"glyphs": 1, "motions": 1}, "one class"),
        ({"difficulty": 1.01}, "difficulty"),
        ({"difficulty": float("nan")}, "difficulty is nan"),
        ({"size": 33}, "even"),
        ({"size": 10**9}, "size"),
        ({"frames": 1}, "frames"),
        ({"val": 0.0}, "val"),
        ({"val": float("nan")}, "val is nan"),
        ({"seed": -1}, "seed"),
    ],
)
def test_options_out_of_range(tmp_path: Path, changed: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        synthesise(tmp_path / "set", SynthOptions(**changed))  # type: ignore[arg-type]
    assert not os.path.exists(tmp_path / "set")
