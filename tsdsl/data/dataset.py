"""Samples of a list of videos, by key, with a defined behaviour for videos that cannot be used.

Training: what is drawn for a sample depends on the seed and its key (epoch, index) only, in any
process. A video that cannot be used is *replaced* by the first usable one in a random order of all
videos that depends on (seed, epoch, index). This introduces a bias: a class with many unusable
videos is seen less often than in the list, and the others more often, in proportion to their usable
videos. Each batch names the replaced videos and their replacements.

Evaluation replaces nothing: the views of a video that cannot be used are missing, and its problem
is reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tsdsl.data.lists import VideoList
from tsdsl.data.sampling import Sampling
from tsdsl.data.transforms import EvalTransform, TrainTransform
from tsdsl.data.video import index_video, read_clip
from tsdsl.data.video_problems import BadVideo, Problem
from tsdsl.diagnostics import Diagnostic, DiagnosticError
from tsdsl.record import Record

#: Default of the smallest number of frames of a video: a single frame shows no motion.
MIN_FRAMES = 2


class NoUsableVideo(DiagnosticError, ValueError):
    """No video of a list can be used."""


class Sample(Record):
    """A training clip. ``index`` is the video of the key, ``used`` the video that the clip
    shows."""

    clip_CTHW: Tensor
    label: int
    index: int
    used: int
    problems: tuple[Problem, ...] = ()


class Views(Record):
    """All views of a video: clip by clip, the crops of a clip next to each other. None if the video
    cannot be used."""

    views_NCTHW: Tensor | None
    label: int
    index: int
    problem: Problem | None = None


def generator_of(seed: int, *key: int) -> torch.Generator:
    """A generator whose state is a function of these non-negative numbers."""
    # The count is included because trailing zeros do not change a SeedSequence.
    state = np.random.SeedSequence([len(key), seed, *key]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


class TrainClips(Dataset[Sample]):
    """A random, augmented clip of each video."""

    def __init__(
        self,
        videos: VideoList,
        sampling: Sampling,
        transform: TrainTransform,
        *,
        seed: int = 0,
        min_frames: int = MIN_FRAMES,
    ) -> None:
        self.videos = videos
        self.sampling = sampling
        self.transform = transform
        self.seed = seed
        self.min_frames = min_frames

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """The sample of a key (epoch, index). Raises `NoUsableVideo`."""
        epoch, index = key
        problems = []
        for attempt, used in enumerate(self._candidates(epoch, index)):
            generator = generator_of(self.seed, epoch, index, attempt)
            try:
                clip = self._clip(used, generator)
            except BadVideo as bad:
                problems.append(bad.problem)
                continue
            return Sample(clip, self.videos.videos[used].label, index, used, tuple(problems))
        raise no_usable_video(self.videos, problems)

    def _candidates(self, epoch: int, index: int) -> Iterator[int]:
        """The video itself, followed by all others in a random order."""
        yield index
        generator = generator_of(self.seed, epoch, index)
        for other in torch.randperm(len(self), generator=generator).tolist():
            if other != index:
                yield other

    def _clip(self, used: int, generator: torch.Generator) -> Tensor:
        path = self.videos.videos[used].path
        draw = torch.rand(1, generator=generator, dtype=torch.float64).item()
        index = index_video(path)
        if index.count < self.min_frames:
            raise too_short(path, index.count, self.min_frames)
        frames = self.sampling.random(index.count, index.fps, draw)
        clip = torch.from_numpy(read_clip(path, index, frames))
        return self.transform(clip, generator)


class EvalViews(Dataset[Views]):
    """The views of each video: ``clips`` uniformly spaced clips, each with its crops."""

    def __init__(
        self,
        videos: VideoList,
        sampling: Sampling,
        transform: EvalTransform,
        *,
        clips: int = 10,
        min_frames: int = MIN_FRAMES,
    ) -> None:
        self.videos = videos
        self.sampling = sampling
        self.transform = transform
        self.clips = clips
        self.min_frames = min_frames

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, at: int) -> Views:
        video = self.videos.videos[at]
        try:
            return Views(self._views(video.path), video.label, at)
        except BadVideo as bad:
            return Views(None, video.label, at, bad.problem)

    def _views(self, path: str) -> Tensor:
        index = index_video(path)
        if index.count < self.min_frames:
            raise too_short(path, index.count, self.min_frames)
        clips = self.sampling.uniform(index.count, index.fps, self.clips)
        # In short videos clips overlap. Each frame is decoded once.
        needed = sorted({i for clip in clips for i in clip})
        place = {frame: at for at, frame in enumerate(needed)}
        frames_CTHW = torch.from_numpy(read_clip(path, index, needed))
        views = []
        for clip in clips:
            views += self.transform(frames_CTHW[:, [place[i] for i in clip]])
        return torch.stack(views)


def too_short(path: str, count: int, least: int) -> BadVideo:
    frames = "1 frame" if count == 1 else f"{count} frames"
    return BadVideo(path, "too-short", f"{frames}, at least {least} are needed")


def no_usable_video(videos: VideoList, problems: Sequence[Problem]) -> NoUsableVideo:
    first = f"the first: {problems[0]}" if problems else "the list is empty"
    message = f"none of {len(videos)} videos can be used; {first}"
    hint = "'tsdsl data check' lists all of them; paths are relative to the list, or to --root"
    return NoUsableVideo([Diagnostic("E0812", message, file=videos.source, help=hint)])
