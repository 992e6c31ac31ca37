"""Lists of videos: forms of lines, labels, folders, and findings for invalid ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tsdsl.data.lists import ListError, VideoList, in_both, read_list
from tsdsl.diagnostics import FileError


def listed(tmp_path: Path, text: str | bytes, **options: object) -> VideoList:
    path = tmp_path / "list.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_list(path, **options)  # type: ignore[arg-type]


def said(tmp_path: Path, text: str, **options: object) -> list[str]:
    with pytest.raises(ListError) as bad:
        listed(tmp_path, text, **options)
    assert all(d.file == str(tmp_path / "list.csv") for d in bad.value.diagnostics)
    return [d.message for d in bad.value.diagnostics]


@pytest.mark.parametrize(
    "line",
    ["a/b.mp4 1", "a/b.mp4,1", "a/b.mp4\t1", "  a/b.mp4   1 ", "a/b.mp4, 1", '"a/b.mp4" 1'],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
@pytest.mark.parametrize("start", ["", "\ufeff", "# videos\n\n", "path,label\n"])
def test_forms_of_a_line(tmp_path: Path, line: str, end: str, start: str) -> None:
    (video,) = listed(tmp_path, start + line + end).videos
    assert (video.path, video.label) == (str(tmp_path / "a/b.mp4"), 1)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ('"a b, c.mp4" 0', "a b, c.mp4"),
        ('"a b.mp4",0', "a b.mp4"),
        ("a b.mp4,0", "a b.mp4"),
        ("a b.mp4\t0", "a b.mp4"),
        ('"say ""hi"".mp4" 0', 'say "hi".mp4'),
        ("\u00fc\u00df \u4e2d.mp4,0", "\u00fc\u00df \u4e2d.mp4"),
    ],
)
def test_paths_with_blanks(tmp_path: Path, line: str, name: str) -> None:
    assert listed(tmp_path, line).videos[0].name == name


def test_classes_and_numbers(tmp_path: Path) -> None:
    names = listed(tmp_path, "a.mp4 swim\nb.mp4 dive\nc.mp4 swim\n")
    assert names.classes == ("dive", "swim")
    assert [v.label for v in names.videos] == [1, 0, 1] and names.counts() == [1, 2]
    assert [v.line for v in names.videos] == [1, 2, 3]
    numbers = listed(tmp_path, "a.mp4 2\nb.mp4 0\n")
    assert numbers.classes == ("0", "1", "2") and numbers.counts() == [1, 0, 1]
    given = listed(tmp_path, "a.mp4 swim\n", classes=["swim", "walk"])
    assert given.classes == ("swim", "walk") and given.videos[0].label == 0
    given = listed(tmp_path, "a.mp4 1\n", classes=["swim", "walk"])
    assert given.classes == ("swim", "walk") and given.videos[0].label == 1


def test_root(tmp_path: Path) -> None:
    assert listed(tmp_path, "a.mp4 0", root="/videos").videos[0].path == "/videos/a.mp4"
    assert listed(tmp_path, "/x/a.mp4 0", root="/videos").videos[0].path == "/x/a.mp4"


def test_every_bad_line_is_named(tmp_path: Path) -> None:
    text = 'a.mp4 0\nb.mp4\nc d.mp4 0\n"e.mp4 1\n,1\nf.mp4,\ng.mp4 -1\nh.mp4 swim\ni.mp4 9999999\n'
    assert [message.split(":")[0] for message in said(tmp_path, text)] == [
        f"line {n}" for n in (2, 3, 4, 5, 6, 7, 8, 9)
    ]


def test_other_findings(tmp_path: Path) -> None:
    assert said(tmp_path, "") == ["this list has no video"]
    assert said(tmp_path, "# none\n") == ["this list has no video"]
    assert said(tmp_path, "a.mp4 swin", classes=["swim"]) == ["line 1: there is no class 'swin'"]
    assert said(tmp_path, "a.mp4 2", classes=["x", "y"]) == ["line 1: the label 2 is not in 0..1"]
    assert said(tmp_path, f"a.mp4 0\n{'x' * 200_000} 0") == ["line 2: a field is too long"]
    many = said(tmp_path, "a\n" * 500)
    assert len(many) == 101 and many[-1] == "400 more lines are wrong"
    with pytest.raises(FileError, match="not UTF-8"):
        listed(tmp_path, b"\xff\xfe a 0")
    with pytest.raises(FileError, match="no such list"):
        read_list(tmp_path / "nothing.csv")


def test_a_folder_per_class(tmp_path: Path) -> None:
    for name in ("swim/b.mp4", "swim/a.MP4", "dive/frames/1.png", "swim/notes.txt", "dive/.x.mp4"):
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    found = read_list(tmp_path / "videos")
    assert found.classes == ("dive", "swim")
    assert [(v.name, v.label) for v in found.videos] == [
        ("dive/frames", 0),
        ("swim/a.MP4", 1),
        ("swim/b.mp4", 1),
    ]
    assert read_list(tmp_path / "videos", classes=["swim", "dive"]).videos[0].label == 1
    with pytest.raises(ListError, match="no class 'dive'"):
        read_list(tmp_path / "videos", classes=["swim"])
    with pytest.raises(ListError, match="no folder in it"):
        read_list(tmp_path / "videos" / "swim")


def codes(found: VideoList) -> list[str]:
    return [d.code for d in found.warnings]


@pytest.mark.parametrize("header", ["video_name,tag", "clip_id,action", "name,y"])
def test_a_header_of_other_words(tmp_path: Path, header: str) -> None:
    for rows in ("a.mp4,swim\nb.mp4,dive\n", "a.mp4,1\nb.mp4,0\n"):
        plain = listed(tmp_path, rows)
        found = listed(tmp_path, f"{header}\n{rows}")
        assert found.classes == plain.classes
        assert [(v.name, v.label) for v in found.videos] == [
            (v.name, v.label) for v in plain.videos
        ]
        assert codes(found) == ["W0982"] and codes(plain) == []
        assert header.split(",")[1] in found.warnings[0].message


def test_what_is_no_header(tmp_path: Path) -> None:
    (tmp_path / "frames_of_a").mkdir()
    for text in (
        "frames_of_a,swim\nb.mp4,dive\n",
        "x,swim\nb.mp4,swim\n",
        "x,swim\ny,dive\n",
        "x,0\nb.mp4,1\n",
        "x,swim\n",
    ):
        found = listed(tmp_path, text)
        assert len(found) == len(text.splitlines()) and not found.warnings
    assert len(listed(tmp_path, "x,swim\nb.mp4,dive\n", classes=["swim", "dive"])) == 2


def test_labels_as_decimals(tmp_path: Path) -> None:
    """As a table of decimals writes whole numbers: 2.0 is class 2, not the fifth of the names."""
    text = "".join(f"v{n}.mp4,{n}.0\n" for n in range(12))
    found = listed(tmp_path, text)
    assert [v.label for v in found.videos] == list(range(12))
    assert found.classes == tuple(map(str, range(12))) and not found.warnings
    assert listed(tmp_path, "a.mp4,1.0\n", classes=["x", "y"]).videos[0].label == 1
    assert said(tmp_path, "a.mp4,0\nb.mp4,0.5\n") == ["line 2: the label 0.5 is not a whole number"]
    assert said(tmp_path, "a.mp4,1e0\n") == ["line 1: the label 1e0 is not a whole number"]


def test_labels_that_count_from_1(tmp_path: Path) -> None:
    found = listed(tmp_path, "a.mp4 1\nb.mp4 2\nc.mp4 3\nd.mp4 4\n")
    assert codes(found) == ["W0982"] and "no video has the label 0" in found.warnings[0].message
    assert codes(listed(tmp_path, "a.mp4 1\nb.mp4 2\n", classes=["0", "1", "2"])) == ["W0982"]
    assert codes(listed(tmp_path, "a.mp4 1\n", classes=["0", "1", "2"])) == []
    gap = listed(tmp_path, "a.mp4 0\nb.mp4 3\n")
    assert [d.message for d in gap.warnings] == ["2 of 4 classes have no video: '1', '2'"]


def test_a_video_with_two_labels(tmp_path: Path) -> None:
    assert codes(listed(tmp_path, "a.mp4 0\nb.mp4 1\na.mp4 1\n")) == ["W0984"]
    assert codes(listed(tmp_path, "a.mp4 0\nb.mp4 1\na.mp4 0\n")) == []


def test_videos_of_two_lists(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    train = listed(tmp_path, "a.mp4 0\nb.mp4 1\n")
    for text, number in (("link/a.mp4 0\nc.mp4 1\n", 1), ("./b.mp4 0\na.mp4 1", 2), ("c.mp4 0", 0)):
        found = in_both(train, listed(tmp_path, text))
        assert [d.code for d in found] == ["W0984"] * bool(number)
        assert not number or found[0].message.startswith(f"{number} of ")


def folder_of(tmp_path: Path, *names: str) -> Path:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_endings_of_cameras(tmp_path: Path) -> None:
    root = folder_of(tmp_path, "swim/a.MTS", "swim/b.m2ts", "dive/c.mp4")
    assert read_list(root).counts() == [1, 2]


def test_files_and_classes_that_are_left_out(tmp_path: Path) -> None:
    root = folder_of(tmp_path, "swim/a.xyz", "swim/b.xyz", "swim/notes.txt", "dive/c.mp4")
    messages = [d.message for d in read_list(root).warnings]
    assert messages == [
        "1 of 2 classes have no video: 'swim'",
        "files that are not read as videos, by extension: .xyz (2)",
    ]


def test_a_folder_of_train_and_val(tmp_path: Path) -> None:
    root = folder_of(tmp_path, "train/swim/a.mp4", "train/dive/b.mp4", "val/swim/c.mp4")
    with pytest.raises(ListError, match="'train' holds folders of videos") as bad:
        read_list(root)
    (one,) = bad.value.diagnostics
    assert one.help == f"name one of them: {root / 'train'} or {root / 'val'}"
    assert read_list(root / "train").classes == ("dive", "swim")


def test_a_folder_of_splits_with_frames(tmp_path: Path) -> None:
    root = folder_of(tmp_path, "train/swim/a/1.png", "val/swim/b/1.png")
    with pytest.raises(ListError, match="'train' holds folders of videos"):
        read_list(root)
    assert read_list(root / "train").videos[0].name == "swim/a"


def test_an_error_of_the_reader_is_no_bad_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(line: str) -> str:
        raise ValueError("a bug")

    monkeypatch.setattr("tsdsl.data.lists._unquoted", fails)
    with pytest.raises(ValueError, match="a bug") as bad:
        listed(tmp_path, "a.mp4 1")
    assert not isinstance(bad.value, ListError)
