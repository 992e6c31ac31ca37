"""Lists of videos: forms of lines, labels, folders, and what is said of bad ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tsdsl.data.lists import ListError, VideoList, read_list
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
