"""Small videos, whole ones and broken ones, made with PyAV."""

from __future__ import annotations

import os
import struct
import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from zlib import compress, crc32

import av
import numpy as np
from numpy.typing import NDArray


def picture(i: int, width: int, height: int) -> NDArray[np.uint8]:
    """image_HWC that differs from every other: a bar that moves over a ramp, and a grey level."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(0, 255, width, dtype=np.uint8)
    image[..., 1] = (i * 37) % 256
    image[:, (3 * i) % width : (3 * i) % width + 6, 2] = 255
    return image


def video(
    path: Path,
    frames: int = 40,
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    size: tuple[int, int] = (64, 48),
    options: dict[str, str] | None = None,
    times: list[int] | None = None,
    index_first: bool = False,
    draw: Callable[[int, int, int], NDArray[np.uint8]] = picture,
) -> Path:
    """``times``: time stamps in milliseconds; 30 frames per second if left out. ``draw`` gives a
    frame of its number, width and height."""
    options = {"g": "12", **(options or {})}
    layout = {"movflags": "faststart"} if index_first else {}
    with av.open(str(path), "w", options=layout) as out:
        stream = out.add_stream(codec, rate=30, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = pixels
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(draw(i, *size), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[i], Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def bright(path: Path, level: int, frames: int = 12) -> Path:
    """A bar that moves over a ground of a grey level (0..255)."""

    def draw(i: int, width: int, height: int) -> NDArray[np.uint8]:
        image = np.full((height, width, 3), level, np.uint8)
        image[:, (3 * i) % width : (3 * i) % width + 6] = 255 - level
        return image

    return video(path, frames, size=(32, 24), draw=draw)


def frame_folder(path: Path, frames: int = 12, ending: str = "png") -> Path:
    """frame1, frame2, ... frame10: not the order of the alphabet."""
    path.mkdir()
    for i in range(frames):
        image(path / f"frame{i + 1}.{ending}", i)
    return path


def image(path: Path, i: int = 0) -> Path:
    from PIL import Image

    Image.fromarray(picture(i, 64, 48)).save(path)
    return path


def huge_png(path: Path, side: int = 16_000) -> Path:
    """A black square of one bit a pixel: 31 kB for 16,000 x 16,000."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc32(name + data))

    header = struct.pack(">2I5B", side, side, 1, 0, 0, 0, 0)
    rows = compress(bytes((1 + side // 8) * side), 9)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def with_matrix(path: Path, source: Path, matrix: tuple[int, int, int, int]) -> Path:
    """A copy of an MP4 file whose track header has a display matrix with these a, b, c, d."""
    data = bytearray(source.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (n << 16 for n in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def rotated(path: Path, source: Path) -> Path:
    """A copy of an MP4 file whose track header asks for a quarter turn clockwise."""
    data = bytearray(source.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    one = 1 << 16
    width = int.from_bytes(data[at + 36 : at + 38], "big")
    matrix = (0, one, 0, -one, 0, 0, width << 16, 0, 1 << 30)
    data[at : at + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(data)
    return path


def broken(folder: Path) -> dict[str, Path]:
    """Kind of `tsdsl.data.video_problems.KINDS` -> a file that has that problem."""
    good = video(folder / "good.mp4", index_first=True)
    data = good.read_bytes()
    found = {kind: folder / f"{kind}.mp4" for kind in ("missing", "empty", "not-a-video")}
    found["empty"].write_bytes(b"")
    found["not-a-video"].write_bytes(b"no video at all, but text\n" * 50)
    found["unreadable"] = folder / "unreadable.mp4"
    os.mkfifo(found["unreadable"])
    found["still-image"] = folder / "still-image.mp4"
    image(folder / "image.png").rename(found["still-image"])
    found["no-video-stream"] = folder / "no-video-stream.mp4"
    with wave.open(str(found["no-video-stream"]), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(8000))
    found["no-frames"] = folder / "no-frames"
    found["no-frames"].mkdir()
    found["truncated"] = folder / "truncated.mp4"
    found["truncated"].write_bytes(data[: len(data) * 6 // 10])
    found["corrupt"] = folder / "corrupt.mp4"
    payload = data.index(b"mdat")
    damaged = bytearray(data)
    rng = np.random.default_rng(0)
    for at in range(payload + 1500, len(data) - 8, 40):
        damaged[at : at + 8] = rng.bytes(8)
    found["corrupt"].write_bytes(damaged)
    found["too-large"] = huge_png(folder / "too-large.mp4")
    found["several-series"] = frame_folder(folder / "several-series", 2)
    image(found["several-series"] / "flow_x_1.png")
    found["too-short"] = video(folder / "too-short.mp4", frames=1)
    good.unlink()
    return found
