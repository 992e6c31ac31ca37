"""A check of all videos of a list: each is decoded to its end."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tsdsl.data.lists import VideoList
from tsdsl.data.video import decode_all, index_video
from tsdsl.data.video_problems import BadVideo, Problem
from tsdsl.record import Record


class VideoFacts(Record):
    """Size and length of a usable video. ``fps`` is None for a folder of frames."""

    frames: int
    fps: float | None
    width: int
    height: int
    #: Index of the video stream that is used, and number of video streams in the file.
    stream: tuple[int, int] = (0, 1)

    @property
    def seconds(self) -> float | None:
        return self.frames / self.fps if self.fps else None


def check_video(path: str, min_frames: int) -> VideoFacts | Problem:
    """The facts about a video, or the problem for which it cannot be used."""
    try:
        index = index_video(path)
        if index.count < min_frames:
            raise BadVideo(path, "too-short", f"{index.count} of at least {min_frames} frames")
        width, height = decode_all(path, index)
    except BadVideo as bad:
        return bad.problem
    return VideoFacts(index.count, index.fps, width, height, index.stream)


def check_list(
    videos: VideoList, min_frames: int, workers: int = 0
) -> Iterator[VideoFacts | Problem]:
    """Check all videos in order. Each path is decoded once. ``workers`` 0 decodes in this
    process."""
    paths = list(dict.fromkeys(video.path for video in videos.videos))
    least = [min_frames] * len(paths)
    known: dict[str, VideoFacts | Problem] = {}
    pool = None
    if workers:
        # Spawned rather than forked, since the process may have threads (a progress bar).
        pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
        results = pool.map(check_video, paths, least, chunksize=8)
    else:
        results = map(check_video, paths, least)
    try:
        fresh = zip(paths, results, strict=True)
        for video in videos.videos:
            while video.path not in known:
                path, found = next(fresh)
                known[path] = found
            yield known[video.path]
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)
