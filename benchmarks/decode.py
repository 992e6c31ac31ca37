"""Clips in a second: decoding what is needed beside decoding everything, and the whole loader.

    python benchmarks/decode.py                    # 10 s of 340 x 256 h264 at 30 frames per second
    python benchmarks/decode.py --seconds 60 --workers 0 4 8

Each clip is 16 frames at interval 5 at a random place; one thread decodes. Three videos that differ
in how often a key frame comes; the ways are interleaved, medians are printed. torchcodec takes part
where it can be imported: it has to fit torch, and to find the shared libraries of FFmpeg.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import av
import numpy as np

from tsdsl.data.dataset import TrainClips
from tsdsl.data.lists import read_list
from tsdsl.data.loader import TrainLoader
from tsdsl.data.sampling import Sampling
from tsdsl.data.transforms import TrainTransform
from tsdsl.data.video import index_video, read_clip

SAMPLING = Sampling(16, 5)
WIDTH, HEIGHT = 340, 256


def render(path: Path, seconds: int, keys: int) -> None:
    """Render moving textures with noise, which are about as expensive to decode as camera
    videos."""
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 256, (HEIGHT // 4 + 64, WIDTH // 4 + 64, 3), dtype=np.uint8)
    large = texture.repeat(4, 0).repeat(4, 1)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=30, options={"g": str(keys), "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for i in range(30 * seconds):
            y, x = (i * 2) % 200, (i * 3) % 200
            image = large[y : y + HEIGHT, x : x + WIDTH] // 2
            image = image + rng.integers(0, 16, image.shape, dtype=np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode())


def torchcodec_clip() -> tuple[Callable[[str, list[int]], np.ndarray] | None, str]:
    """A function from a path and frames to clip_CTHW, which opens and scans the file each time as
    the others do, and its version; or None and the reason."""
    try:
        import torchcodec
        from torchcodec.decoders import VideoDecoder
    except (ImportError, OSError, RuntimeError) as bad:
        return None, (str(bad).strip().splitlines() or [type(bad).__name__])[0]

    def clip(path: str, frames: list[int]) -> np.ndarray:
        decoder = VideoDecoder(path, num_ffmpeg_threads=1)
        return decoder.get_frames_at(frames).data.numpy().transpose(1, 0, 2, 3)

    return clip, torchcodec.__version__


def everything(path: str, frames: list[int]) -> np.ndarray:
    """clip_CTHW by decoding the whole video to RGB."""
    with av.open(path) as container:
        container.streams.video[0].codec_context.thread_count = 1
        images = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack([images[i] for i in frames]).transpose(3, 0, 1, 2)


def decoding(path: Path, repeats: int) -> dict[str, list[float]]:
    """Method -> milliseconds of each clip. All methods give the same pixels."""
    other, _ = torchcodec_clip()
    name = str(path)
    draw = random.Random(0)
    times: dict[str, list[float]] = {}
    for _ in range(repeats):
        index = index_video(name)
        frames = SAMPLING.random(index.count, index.fps, draw.random())
        ways = {
            "seek": lambda frames=frames: read_clip(name, index_video(name), frames),
            "from the start": lambda frames=frames: read_clip(
                name, index_video(name), frames, seek=False
            ),
            "everything": lambda frames=frames: everything(name, frames),
        }
        if other is not None:
            ways["torchcodec"] = partial(other, name, frames)
        found = []
        for way, run in ways.items():
            start = time.perf_counter()
            found.append(run())
            times.setdefault(way, []).append(1000 * (time.perf_counter() - start))
        assert all(np.array_equal(found[0], other) for other in found[1:])
    return times


def relative(taken: list[float], base: list[float]) -> float:
    """The median of the ratios of single clips."""
    return median(one / other for one, other in zip(taken, base, strict=True))


def loading(folder: Path, path: Path, workers: int, steps: int) -> float:
    """Clips per second of a whole training loader with AutoAugment, after its first step."""
    batch = 4
    lines = "".join(f"{path.name} 0\n" for _ in range((steps + 1) * batch))
    (folder / "list.csv").write_text(lines)
    dataset = TrainClips(
        read_list(folder / "list.csv"),
        SAMPLING,
        TrainTransform(160, 182, 228, augment="autoaugment"),
    )
    batches = TrainLoader(dataset, batch, workers=workers).epoch(0)
    next(batches)
    start = time.perf_counter()
    clips = sum(len(b.indices) for b in batches)
    return clips / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--workers", type=int, nargs="*", default=[0, 1, 2])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        other, about = torchcodec_clip()
        print(f"torchcodec {about}" if other else f"torchcodec is skipped: {about}")
        print(f"16 x 5 of {options.seconds} s, {WIDTH} x {HEIGHT}, h264; ms per clip, one thread")
        for keys in (12, 60, 250):
            path = folder / f"{keys}.mp4"
            render(path, options.seconds, keys)
            found = decoding(path, options.repeats)
            shown = ", ".join(
                f"{way} {median(taken):.1f} ({relative(taken, found['seek']):.2f} x)"
                for way, taken in found.items()
            )
            print(f"  a key frame at least every {keys}: {shown}")
        for workers in options.workers:
            rate = loading(folder, folder / "60.mp4", workers, options.steps)
            print(f"  loader with {workers} workers, crop 160, AutoAugment: {rate:.1f} clips/s")


if __name__ == "__main__":
    main()
