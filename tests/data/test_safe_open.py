"""A video is opened only if it is a regular file in a known format, with frames below a limit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from make_videos import frame_folder, huge_png, image, video

from tsdsl.data import pixel_limit
from tsdsl.data.check import VideoFacts, check_video
from tsdsl.data.lists import read_list
from tsdsl.data.video import index_video, read_clip
from tsdsl.data.video_problems import BadVideo, Problem
from tsdsl.diagnostics import DiagnosticError

#: Files that FFmpeg would follow to a file beside them, by name of the format.
FOLLOWING = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{name}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{name}'\n",
    "dash": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"'
    ' profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet'
    ' mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>{name}</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
}
#: Run in a process of its own with a limited address space, so that a failure does no harm.
CHECK = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
from tsdsl.data.check import check_video
for path in sys.argv[1:]:
    found = check_video(path, 2)
    print(getattr(found, "kind", "usable"))
# Not ru_maxrss, which begins with what the parent had.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak.split()[1]) // 1024)
"""


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="limits and memory as Linux has them")


def kinds(*paths: Path | str) -> tuple[list[str], int]:
    """Kind of each path, and the peak memory of the process in MiB."""
    command = [sys.executable, "-c", CHECK, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    *found, memory = done.stdout.split()
    return found, int(memory)


@LINUX
def test_lists_of_other_files_are_not_followed(tmp_path: Path) -> None:
    """The file that they name is a good video, which a reader that follows it would find usable.
    One that names itself would be followed without end."""
    video(tmp_path / "other.ts", codec="mpeg2video")
    paths = []
    for form, text in FOLLOWING.items():
        for name in ("other.ts", f"{form}-itself.mp4"):
            path = tmp_path / (f"{form}.mp4" if name == "other.ts" else name)
            path.write_text(text.format(name=name))
            paths.append(path)
    found, _ = kinds(*paths)
    assert found == ["not-a-video"] * len(paths)
    with pytest.raises(BadVideo, match="a list of other files"):
        index_video(str(paths[0]))


def test_a_playlist_is_no_frame_of_a_folder(tmp_path: Path) -> None:
    folder = frame_folder(tmp_path / "frames", 2)
    other = image(tmp_path / "other.png")
    for text in FOLLOWING.values():
        (folder / "frame2.png").write_text(text.format(name=other))
        with pytest.raises(BadVideo, match=r"corrupt .*frame2"):
            read_clip(str(folder), index_video(str(folder)), [1])


@LINUX
def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for name, target in {"zero": "/dev/zero", "null": "/dev/null", "loop": "loop"}.items():
        (tmp_path / name).symlink_to(target)
    (tmp_path / "link.mp4").symlink_to(video(tmp_path / "a.mp4"))
    paths = [tmp_path / n for n in ("pipe.mp4", "zero", "null", "loop", "link.mp4")]
    found, _ = kinds(*paths)
    assert found == ["unreadable"] * 4 + ["usable"]
    folder = frame_folder(tmp_path / "frames", 2)
    (folder / "frame2.png").unlink()
    os.mkfifo(folder / "frame2.png")
    assert kinds(folder)[0] == ["unreadable"]


@LINUX
def test_addresses_are_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    video(tmp_path / "a.mp4")
    names = ["http://127.0.0.1:9/a.mp4", "file:a.mp4", "concat:a.mp4|a.mp4", "fd:", "pipe:0", "-"]
    assert kinds(*names)[0] == ["missing"] * len(names)


@LINUX
def test_large_frames_are_refused_before_they_are_made(tmp_path: Path) -> None:
    """A frame of 16,000 x 16,000 has 32 MB in the file and would have 768 MB as RGB."""
    from PIL import Image

    folder = frame_folder(tmp_path / "frames", 2)
    assert huge_png(folder / "frame1.png").stat().st_size < 40_000
    gif = tmp_path / "a.gif"
    black = Image.new("P", (9_000, 9_000))
    black.save(gif)
    plain, least = kinds(frame_folder(tmp_path / "small", 2))
    found, memory = kinds(folder, gif)
    assert (plain, found) == (["usable"], ["too-large", "too-large"])
    assert memory < least + 150
    problem = check_video(str(folder), 2)
    assert isinstance(problem, Problem)
    assert problem.detail.startswith("frame1.png: 16000 x 16000, more than 67,108,864 pixels")
    assert pixel_limit.MAX_PIXELS_VARIABLE in problem.detail


def test_the_limit_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """64 x 48 are 3,072 pixels."""
    paths = [
        frame_folder(tmp_path / "frames", 2),
        video(tmp_path / "a.mp4"),
        video(tmp_path / "a.avi", codec="mpeg4"),
        video(tmp_path / "a.webm", codec="libvpx"),
    ]
    for limit, whole in (("3072", True), ("3071", False), ("", True)):
        monkeypatch.setenv(pixel_limit.MAX_PIXELS_VARIABLE, limit)
        for path in paths:
            found = check_video(str(path), 2)
            if whole:
                assert isinstance(found, VideoFacts), found
            else:
                assert isinstance(found, Problem) and found.kind == "too-large", found
                assert "64 x 48" in found.detail
    for junk in ("many", "0", "-1", "1e9", "9" * 30, "\u0661"):
        monkeypatch.setenv(pixel_limit.MAX_PIXELS_VARIABLE, junk)
        with pytest.raises(DiagnosticError) as bad:
            read_list(tmp_path)
        assert [d.code for d in bad.value.diagnostics] == ["E0813"]
