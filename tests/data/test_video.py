"""Decoding: the frames that seeking finds are those of decoding everything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from make_videos import broken, frame_folder, image, picture, rotated, video, with_matrix

from tsdsl.data import video as decoding
from tsdsl.data.video import decode_all, index_video, read_clip
from tsdsl.data.video_problems import KINDS, BadVideo


def level(i: int, width: int, height: int) -> np.ndarray:
    """Each frame is slightly brighter than the one before: what encoders reorder most."""
    return np.full((height, width, 3), 3 * i, np.uint8)


#: Name -> how the file is made.
FORMATS = {
    "b-frames.mp4": {"options": {"bf": "3"}},
    "rare-keys.mp4": {"options": {"g": "250"}},
    "intra.mp4": {"options": {"g": "1"}},
    "open-gop.mp4": {"options": {"x264-params": "open-gop=1:bframes=3:scenecut=0"}},
    "variable.mp4": {"times": [i * i * 2 + 7 * i for i in range(40)]},
    "odd.mkv": {"size": (65, 47), "pixels": "yuv444p"},
    "ten-bit.mkv": {"pixels": "yuv420p10le"},
    "grey.mkv": {"codec": "ffv1", "pixels": "gray"},
    "alpha.mkv": {"codec": "ffv1", "pixels": "yuva420p"},
    "vp8.webm": {"codec": "libvpx", "options": {"auto-alt-ref": "1", "lag-in-frames": "16"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "auto-alt-ref": "1"}},
    "mpeg4.avi": {"codec": "mpeg4"},
    "h264.avi": {"options": {"bf": "2"}},
    "reordered.avi": {"options": {"g": "250", "bf": "3"}, "draw": level},
    "mpeg1.mpg": {"codec": "mpeg1video", "options": {"bf": "2"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": {"bf": "2"}},
    "mpeg2.ts": {"codec": "mpeg2video", "options": {"bf": "2"}},
    "motion.avi": {"codec": "mjpeg", "pixels": "yuvj420p"},
}


def everything(path: Path) -> np.ndarray:
    """clip_CTHW of all frames, decoded by PyAV in the plainest way."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack(frames).transpose(3, 0, 1, 2)


@pytest.mark.parametrize("name", FORMATS)
def test_seeking_gives_the_frames_of_decoding_all(tmp_path: Path, name: str) -> None:
    path = video(tmp_path / name, **FORMATS[name])
    full_CTHW = everything(path)
    index = index_video(str(path))
    assert index.count == full_CTHW.shape[1] == 40
    for indices in ([0], [39], [27, 28], [3, 3, 39], [30, 5, 17], list(range(0, 40, 7))):
        clip = read_clip(str(path), index, indices)
        assert clip.dtype == np.uint8 and clip.shape[:2] == (3, len(indices))
        np.testing.assert_array_equal(clip, full_CTHW[:, indices])
    for i in range(0, 40, 3):
        np.testing.assert_array_equal(read_clip(str(path), index, [i])[:, 0], full_CTHW[:, i])
    np.testing.assert_array_equal(
        read_clip(str(path), index, [31, 8], seek=False)[:, 0], full_CTHW[:, 31]
    )
    assert decode_all(str(path), index) == full_CTHW.shape[:1:-1]


def test_seeking_decodes_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frame 39 of an intra-coded video of 40 frames needs one frame, not 40."""
    path = str(video(tmp_path / "a.mp4", options={"g": "10", "bf": "0", "sc_threshold": "0"}))
    index = index_video(path)
    decoded: list[int] = []
    plain = decoding._decoded

    def counted(*arguments: object):  # type: ignore[no-untyped-def]
        for frame in plain(*arguments):  # type: ignore[arg-type]
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(decoding, "_decoded", counted)
    read_clip(path, index, [33])
    assert len(decoded) == 4
    decoded.clear()
    read_clip(path, index, [33], seek=False)
    assert len(decoded) == 34
    decoded.clear()
    read_clip(path, index, [3, 35])
    assert len(decoded) == 10


def test_the_right_frames(tmp_path: Path) -> None:
    """Lossless: the pixels are those that were drawn, which shows that frame numbers are right."""
    path = str(video(tmp_path / "a.mkv", codec="ffv1", pixels="bgr0"))
    clip = read_clip(path, index_video(path), [7, 31])
    for at, i in enumerate((7, 31)):
        np.testing.assert_array_equal(clip[:, at].transpose(1, 2, 0), picture(i, 64, 48))


def test_rotation_is_applied(tmp_path: Path) -> None:
    plain = video(tmp_path / "plain.mp4")
    turned = str(rotated(tmp_path / "turned.mp4", plain))
    index = index_video(turned)
    clip = read_clip(turned, index, [20])
    assert clip.shape == (3, 1, 64, 48)
    np.testing.assert_array_equal(clip[:, 0], np.rot90(everything(plain)[:, 20], -1, (1, 2)))
    assert decode_all(turned, index) == (48, 64)


def test_folders_of_frames(tmp_path: Path) -> None:
    folder = str(frame_folder(tmp_path / "frames"))
    index = index_video(folder)
    assert index.count == 12 and index.fps is None
    clip = read_clip(folder, index, [9, 1])
    for at, i in enumerate((9, 1)):
        np.testing.assert_array_equal(clip[:, at].transpose(1, 2, 0), picture(i, 64, 48))
    (tmp_path / "frames" / "frame3.png").write_bytes(b"")
    with pytest.raises(BadVideo, match=r"frame3\.png"):
        decode_all(folder, index)


@pytest.mark.parametrize("ending", ["jpg", "png", "bmp", "webp"])
def test_frames_that_are_cut(tmp_path: Path, ending: str) -> None:
    """The missing part of an image is not made up."""
    folder = frame_folder(tmp_path / "frames", 2, ending)
    index, path = index_video(str(folder)), folder / f"frame2.{ending}"
    assert read_clip(str(folder), index, [0, 1]).shape == (3, 2, 48, 64)
    data = path.read_bytes()
    for size in (len(data) - 1, len(data) * 9 // 10, len(data) // 2, 20):
        path.write_bytes(data[:size])
        with pytest.raises(BadVideo, match=r"corrupt .*frame2"):
            read_clip(str(folder), index, [1])


def test_rate(tmp_path: Path) -> None:
    assert index_video(str(video(tmp_path / "a.mp4"))).fps == pytest.approx(30)
    slow = video(tmp_path / "b.mp4", times=[100 * i for i in range(40)])
    assert index_video(str(slow)).fps == pytest.approx(10, rel=0.03)
    times = [7 * i * i for i in range(40)]
    for name in ("c.mp4", "c.mkv"):
        varied = index_video(str(video(tmp_path / name, times=times)))
        assert varied.fps == pytest.approx(39_000 / times[-1], rel=0.03), name


def test_broken_files(tmp_path: Path) -> None:
    made = broken(tmp_path)
    assert set(made) == set(KINDS)
    for kind, path in made.items():
        if kind == "too-short":
            assert index_video(str(path)).count == 1
            continue
        with pytest.raises(BadVideo) as bad:
            decode_all(str(path), index_video(str(path)))
        assert bad.value.problem.kind == kind, bad.value
        assert str(path) in str(bad.value)


@pytest.mark.parametrize("frames", [60, 16])
@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.mkv", "a.avi"])
def test_a_file_that_is_cut_anywhere_is_noticed(tmp_path: Path, name: str, frames: int) -> None:
    codec = {"a.webm": "libvpx", "a.avi": "mpeg4"}.get(name, "libx264")
    data = video(tmp_path / name, frames=frames, codec=codec).read_bytes()
    cut = tmp_path / f"cut-{name}"
    for share in (0.02, 0.3, 0.5, 0.6):
        cut.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(BadVideo) as bad:
            decode_all(str(cut), index_video(str(cut)))
        assert bad.value.problem.kind in ("truncated", "not-a-video", "no-frames", "corrupt")


def test_other_files(tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("words\n" * 100)
    link = tmp_path / "link.mp4"
    link.symlink_to(tmp_path / "nothing")
    found = {}
    for path in (text, link, tmp_path / "a\0b"):
        with pytest.raises(BadVideo) as bad:
            index_video(str(path))
        found[path.name] = bad.value.problem.kind
    assert found == {"a.txt": "not-a-video", "link.mp4": "missing", "a\0b": "unreadable"}


@pytest.mark.parametrize("name", ["12:30.mp4", "http:a.mp4", "a%03d b's.mp4", "\u00fc.mp4"])
def test_names_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A name is a name, not an address or a pattern."""
    video(tmp_path / "a.mp4").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert read_clip(name, index_video(name), [5, 35]).shape == (3, 2, 48, 64)
    folder = frame_folder(tmp_path / f"frames-{name}", 2)
    (folder / "frame1.png").rename(folder / f"frame1{name}.png")
    assert read_clip(str(folder), index_video(str(folder)), [0, 1]).shape == (3, 2, 48, 64)


def test_damaged_files_never_crash(tmp_path: Path) -> None:
    """With random changes of bytes, a file is usable or has a problem."""
    rng = np.random.default_rng(0)
    kinds = set()
    for name, codec in (("a.mp4", "libx264"), ("a.webm", "libvpx"), ("a.avi", "mpeg4")):
        data = video(tmp_path / name, codec=codec).read_bytes()
        for _ in range(30):
            damaged = bytearray(data)
            for at in rng.integers(len(data), size=8):
                damaged[at] = rng.integers(256)
            (tmp_path / name).write_bytes(damaged)
            try:
                index = index_video(str(tmp_path / name))
                clip = read_clip(str(tmp_path / name), index, [0, index.count - 1])
                assert clip.shape[:2] == (3, 2)
                kinds.add("usable")
            except BadVideo as bad:
                kinds.add(bad.problem.kind)
    assert {"usable", "corrupt", "truncated"} <= kinds


def lopsided(i: int, width: int, height: int) -> np.ndarray:
    """A picture that differs from each of its seven other orientations."""
    drawn = picture(i, width, height)
    drawn[: height // 3, : width // 2, 1] ^= 255
    return drawn


#: a, b, c, d of a display matrix -> what of image_HWC is shown, by hand: the pixel in column p and
#: row q goes to column a p + c q and row b p + d q. The `ffmpeg` command shows the same.
ORIENTATIONS = {
    (1, 0, 0, 1): lambda x: x,
    (-1, 0, 0, 1): lambda x: x[:, ::-1],
    (1, 0, 0, -1): lambda x: x[::-1],
    (-1, 0, 0, -1): lambda x: x[::-1, ::-1],
    (0, 1, 1, 0): lambda x: x.transpose(1, 0, 2),
    (0, 1, -1, 0): lambda x: x.transpose(1, 0, 2)[:, ::-1],
    (0, -1, 1, 0): lambda x: x.transpose(1, 0, 2)[::-1],
    (0, -1, -1, 0): lambda x: x.transpose(1, 0, 2)[::-1, ::-1],
}


@pytest.mark.parametrize("matrix", ORIENTATIONS)
def test_display_matrices(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    plain = video(tmp_path / "plain.mp4", draw=lopsided)
    turned = str(with_matrix(tmp_path / "turned.mp4", plain, matrix))
    index = index_video(turned)
    expected = ORIENTATIONS[matrix](everything(plain)[:, 20].transpose(1, 2, 0))
    for seek in (True, False):
        clip = read_clip(turned, index, [20], seek=seek)
        np.testing.assert_array_equal(clip[:, 0].transpose(1, 2, 0), expected)
    assert decode_all(turned, index) == expected.shape[1::-1]


#: The orientation in EXIF data (tag 274) -> what is shown (JEITA CP-3451, 4.6.4).
EXIF = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: x.transpose(1, 0, 2)[:, ::-1],
    7: lambda x: x.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda x: x.transpose(1, 0, 2)[::-1],
}


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", EXIF)
def test_orientation_of_photographs(tmp_path: Path, orientation: int, ending: str) -> None:
    from PIL import Image

    (tmp_path / "plain").mkdir()
    (tmp_path / "turned").mkdir()
    exif = Image.Exif()
    exif[274] = orientation
    drawn = Image.fromarray(lopsided(3, 64, 48))
    drawn.save(tmp_path / "plain" / f"1.{ending}")
    drawn.save(tmp_path / "turned" / f"1.{ending}", exif=exif)
    plain, turned = (
        read_clip(str(tmp_path / name), index_video(str(tmp_path / name)), [0])[:, 0]
        for name in ("plain", "turned")
    )
    expected = EXIF[orientation](plain.transpose(1, 2, 0))
    np.testing.assert_array_equal(turned.transpose(1, 2, 0), expected)


def series(folder: Path, names: dict[str, int]) -> Path:
    """A folder of images, with a number of files for each pattern."""
    folder.mkdir()
    for at, (pattern, count) in enumerate(names.items()):
        for i in range(count):
            image(folder / pattern.replace("%d", f"{i + 1:05d}"), 20 * at + i)
    return folder


@pytest.mark.parametrize(
    "names",
    [
        {"img_%d.jpg": 3, "flow_x_%d.jpg": 3, "flow_y_%d.jpg": 2},
        {"cam1_%d.png": 3, "cam2_%d.png": 3},
        {"%d_rgb.png": 3, "%d_depth.png": 3},
        {"frame%d.png": 4, "frame%d.jpg": 4},
        {"frame%d.png": 4, "cover.png": 1},
    ],
)
def test_several_series_in_a_folder(tmp_path: Path, names: dict[str, int]) -> None:
    folder = series(tmp_path / "v", names)
    with pytest.raises(BadVideo) as bad:
        index_video(str(folder))
    _, kind, detail = bad.value.problem
    assert kind == "several-series"
    for pattern, count in names.items():
        assert f"{pattern} ({count})" in detail
        if "%d" in pattern:
            assert index_video(str(folder / pattern)).count == count
    assert index_video(str(folder / "*")).count == sum(names.values())
    with pytest.raises(BadVideo, match="no-frames"):
        index_video(str(folder / "other_%d.jpg"))
    first = next(iter(names))
    alone = series(tmp_path / "alone", {first: names[first]})
    np.testing.assert_array_equal(
        read_clip(str(folder / first), index_video(str(folder / first)), [1]),
        read_clip(str(alone), index_video(str(alone)), [1]),
    )


@pytest.mark.parametrize(
    "name",
    [
        lambda i: f"{i}.png",
        lambda i: f"f_{i:04d}_480p.png",
        lambda i: f"f_{i:04d}_{i / 3:.2f}s.png",
        lambda i: f"2024_11_28_{i:03d}.png",
        lambda i: f"f{i}.{'png' if i % 2 else 'PNG'}",
        lambda i: "abcd"[i] + ".png",
    ],
)
def test_one_series_in_a_folder(tmp_path: Path, name: Callable[[int], str]) -> None:
    for i in range(4):
        image(tmp_path / name(i), i)
    clip = read_clip(str(tmp_path), index_video(str(tmp_path)), range(4))
    for i in range(4):
        np.testing.assert_array_equal(clip[:, i].transpose(1, 2, 0), picture(i, 64, 48))


def sparse_avi(path: Path, kept: Sequence[int], rate: int = 30, codec: str = "mjpeg") -> Path:
    """An AVI file with frames at these ticks only; the muxer stores empty chunks between."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate, options={"bf": "2"} if codec != "mjpeg" else {})
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for i in kept:
            frame = av.VideoFrame.from_ndarray(picture(i, 64, 48), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, rate)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def test_avi_with_reordered_frames(tmp_path: Path) -> None:
    """Its clock ticks more often than it has frames, and the header counts ticks."""
    path = sparse_avi(tmp_path / "a.avi", range(0, 80, 2), 60, "libx264")
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames > 70
    index = index_video(str(path))
    assert index.count == 40 and index.fps == pytest.approx(30, rel=0.03)
    np.testing.assert_array_equal(
        read_clip(str(path), index, [0, 17, 39]), everything(path)[:, [0, 17, 39]]
    )
    data = path.read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: len(data) // 2])
    with pytest.raises(BadVideo, match="truncated"):
        index_video(str(tmp_path / "cut.avi"))


def test_avi_with_dropped_frames(tmp_path: Path) -> None:
    kept = [i for i in range(90) if i % 10 != 7]
    whole = sparse_avi(tmp_path / "a.avi", kept)
    with av.open(str(whole)) as container:
        assert container.streams.video[0].frames == 90
    index = index_video(str(whole))
    assert index.count == 81
    np.testing.assert_array_equal(
        read_clip(str(whole), index, [80, 7]), everything(whole)[:, [80, 7]]
    )
    cut = tmp_path / "cut.avi"
    data = whole.read_bytes()
    for size in (len(data) - 40, len(data) * 53 // 100, len(data) // 5):
        cut.write_bytes(data[:size])
        with pytest.raises(BadVideo, match="truncated"):
            index_video(str(cut))


def test_the_stream_marked_as_default_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as out:
        streams = []
        for _ in range(2):
            stream = out.add_stream("ffv1", rate=30)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "bgr0"
            streams.append(stream)
        streams[0].disposition = Disposition(0)
        streams[1].disposition = Disposition.default
        for i in range(4):
            for at, stream in enumerate(streams):
                frame = av.VideoFrame.from_ndarray(picture(10 * at + i, 64, 48), format="rgb24")
                out.mux(stream.encode(frame))
        for stream in streams:
            out.mux(stream.encode())
    index = index_video(str(path))
    assert index.stream == (1, 2)
    clip = read_clip(str(path), index, [2])
    np.testing.assert_array_equal(clip[:, 0].transpose(1, 2, 0), picture(12, 64, 48))


def test_bare_streams_at_their_own_rate(tmp_path: Path) -> None:
    """The container has no rate; FFmpeg's demuxer sets 25."""
    assert index_video(str(video(tmp_path / "a.h264"))).fps == pytest.approx(30)


def test_an_error_in_reading_orientations_is_no_corrupt_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    (tmp_path / "frames").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "frames" / "1.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "frames" / "2.png")
    index = decoding.index_video(str(tmp_path / "frames"))

    def fails(data: bytes) -> object:
        raise ValueError("a bug")

    monkeypatch.setattr("tsdsl.data.images.exif_orientation", fails)
    with pytest.raises(ValueError, match="a bug"):
        decoding.read_clip(str(tmp_path / "frames"), index, [0])
