"""Which frames of a video make a clip: T x interval, as PySlowFast samples.

The rule is that of ``get_start_end_idx`` and ``temporal_sampling`` in slowfast/datasets/decoder.py
of facebookresearch/SlowFast, applied to a whole video of n frames:

- The interval counts frames of a video of 30 per second (``TARGET_FPS`` there). A clip of T frames
  spans S = T * interval * fps / 30 frames of a video of another rate; a folder of frames has no
  rate, its interval counts its own frames.
- The start lies in 0..d, d = max(n - S, 0): uniform (a real number) in training; k * d / K for clip
  k of K in evaluation. The first clip begins with the video, and the last one ends d / K frames
  before the end of it: that is theirs, too.
- Frame i is floor(start + i * (S - 1) / (T - 1)), at most n - 1. The gap is therefore a little
  more than the interval: (16 x 5 - 1) / 15 = 5.27 for 16 x 5.
- A video that is shorter than S begins at 0 and repeats its last frame.

Of a video with a variable frame rate, frames are counted, and fps is the mean.
"""

from __future__ import annotations

from math import floor

from tsdsl.record import Record

#: Frame rate to which ``interval`` refers, in frames per second.
TARGET_FPS = 30.0


class Sampling(Record, eq=True):
    """A clip of T frames, ``interval`` frames apart. With ``fps`` None, the interval counts frames
    of the video, whatever its rate."""

    frames: int
    interval: int = 1
    fps: float | None = TARGET_FPS

    def span(self, fps: float | None) -> float:
        """Number of frames of a video of a given rate that a clip spans."""
        scale = fps / self.fps if fps and self.fps else 1.0
        return self.frames * self.interval * scale

    def random(self, count: int, fps: float | None, draw: float) -> list[int]:
        """Frame indices of a training clip of a video with ``count`` frames; ``draw`` is in [0,
        1)."""
        span = self.span(fps)
        return self._indices(count, span, draw * max(count - span, 0.0))

    def uniform(self, count: int, fps: float | None, clips: int) -> list[list[int]]:
        """Frame indices of ``clips`` uniformly spaced evaluation clips."""
        span = self.span(fps)
        rest = max(count - span, 0.0)
        return [self._indices(count, span, rest * k / clips) for k in range(clips)]

    def _indices(self, count: int, span: float, start: float) -> list[int]:
        assert count > 0 and self.frames > 0
        gap = (span - 1) / (self.frames - 1) if self.frames > 1 else 0.0
        return [min(max(floor(start + i * gap), 0), count - 1) for i in range(self.frames)]
