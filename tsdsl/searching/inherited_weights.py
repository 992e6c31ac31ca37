"""How good architectures are with the weights that they have in a trained supernet.

Each is frozen from the supernet, gets running statistics of its own from a few training batches
(those in the supernet are what all architectures have left), and is evaluated. Clips stay decoded
in memory: those of the statistics always, views of the validation list where they fit; else the
list is decoded part by part, each part once for all architectures that are needed together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from math import ceil

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tsdsl.backends.supernet import Supernet
from tsdsl.data.dataset import EvalViews, NoUsableVideo, TrainClips, no_usable_video
from tsdsl.data.lists import VideoList
from tsdsl.data.loader import Batch, EvalLoader, TrainLoader, ViewBatch
from tsdsl.data.video_problems import Problem
from tsdsl.diagnostics import Diagnostic, SpecError
from tsdsl.ir.architecture import Architecture
from tsdsl.record import Record
from tsdsl.searching.defaults import EVOLVE_MEMORY
from tsdsl.searching.running_statistics import reestimate
from tsdsl.space import Space
from tsdsl.training.dry_run import gives_probabilities
from tsdsl.training.ranks import Ranks
from tsdsl.training.recipe import Recipe
from tsdsl.training.scores import MissingVideo, Scores
from tsdsl.training.scoring import AT_ONCE, EvaluationError, score
from tsdsl.training.torch_errors import out_of_memory


class KeptViews(EvalLoader):
    """Views that are decoded when they are first read, and kept."""

    _kept: list[ViewBatch] | None = None

    def __iter__(self) -> Iterator[ViewBatch]:
        if self._kept is not None:
            yield from self._kept
            return
        found: list[ViewBatch] = []
        try:
            for batch in super().__iter__():
                found.append(batch)
                yield batch
        finally:
            # Its processes have nothing more to do.
            self.close()
        self._kept = found

    def problems(self, ranks: Ranks) -> dict[int, Problem]:
        """Of each video that cannot be used, by its place in the list; all ranks'."""
        own = {
            index: problem
            for batch in self._kept or ()
            for index, problem in zip(_bad(batch), batch.problems, strict=True)
        }
        return {index: p for part in ranks.gather(own) for index, p in part.items()}


class KeptClips(TrainLoader):
    """The first ``count`` training batches, which are decoded when they are first read, and kept.
    Nothing is decoded for networks that read none."""

    def __init__(self, dataset: TrainClips, batch: int, count: int, *, workers: int = 0) -> None:
        super().__init__(dataset, batch, workers=workers)
        self.count = count
        #: Of all of them, decoded.
        self.bytes = 3 * dataset.sampling.frames * dataset.transform.size**2 * batch * count
        self._kept: dict[int, list[Batch]] = {}

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        assert skip == 0
        if epoch not in self._kept:
            left = min(len(self), self.count - epoch * len(self))
            self._kept[epoch] = list(islice(super().epoch(epoch), left))
            if sum(map(len, self._kept.values())) == self.count:
                self.close()
        yield from self._kept[epoch]


class _Finite(nn.Module):
    """A network whose scores that are not finite say nothing: all classes are equally probable."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        #: Whether all scores so far were finite.
        self.finite = True

    def forward(self, clips_NCTHW: Tensor) -> Tensor:
        scores_NK: Tensor = self.net(clips_NCTHW)
        finite_N1 = scores_NK.isfinite().all(dim=1, keepdim=True)
        self.finite &= bool(finite_N1.all())
        return torch.where(finite_N1, scores_NK, 1 / scores_NK.shape[1])


class Inherited:
    """``clips``: what running statistics come from, None to leave those of the supernet.
    ``memory``: bytes of decoded clips. The supernet is on the device of ``ranks``, and does not
    change."""

    def __init__(
        self,
        space: Space,
        supernet: Supernet,
        views: EvalViews,
        clips: KeptClips | None,
        ranks: Ranks,
        *,
        seed: int = 0,
        workers: int = 0,
        at_once: int = AT_ONCE,
        memory: int = EVOLVE_MEMORY,
        mixed_precision: bool = False,
    ) -> None:
        self.space = space
        self.supernet = supernet
        self.views = views
        self.ranks = ranks
        self._clips = clips
        self._seed = seed
        self._workers = workers
        self._at_once = at_once
        self._autocast = torch.bfloat16 if mixed_precision else None
        of_view = 3 * views.sampling.frames * views.transform.size**2
        #: Bytes of the views of a video, of all videos of this rank, of the training clips.
        self.bytes_of_video = of_view * views.clips * views.transform.crops
        self.bytes_of_views = self.bytes_of_video * ceil(len(views) / ranks.world)
        self.bytes_of_clips = 0
        if clips is not None and _normalises(supernet):
            self.bytes_of_clips = clips.bytes
        left = memory - self.bytes_of_clips
        if left < self.bytes_of_video:
            needed = self.bytes_of_clips + self.bytes_of_video
            message = f"{needed:,} bytes of decoded clips are needed, {memory:,} are allowed"
            hint = "fewer batches for statistics (--bn-batches), or more --memory"
            raise SpecError([Diagnostic("E0824", message, help=hint)])
        #: The list is decoded in so many parts; one stays in memory.
        self.parts = min(len(views), ceil(self.bytes_of_views / left))
        self._kept: KeptViews | None = None
        #: Architectures of which some score was not finite.
        self.unfit: set[Architecture] = set()

    def close(self) -> None:
        """End the processes that decode."""
        for loader in (self._clips, self._kept):
            if loader is not None:
                loader.close()

    def network(self, architecture: Architecture) -> nn.Module:
        """With the architecture's part of the weights, and running statistics of its own."""
        net = self.space.freeze(self.supernet, architecture)
        if self._clips is not None:
            device = self.ranks.device
            devices = [device] if device.type == "cuda" else []
            with torch.random.fork_rng(devices):
                # Dropout is at work where statistics are gathered.
                torch.manual_seed(self._seed)
                try:
                    reestimate(net, self._clips, self._clips.count, 0, device)
                except RuntimeError as bad:
                    if not out_of_memory(bad):
                        raise
                    message = "there is not enough memory for a batch of training clips"
                    hint = "a smaller batch, as with --set search.batch=8"
                    raise EvaluationError([Diagnostic("E0825", message, help=hint)]) from None
        return net

    def scores(self, architectures: Sequence[Architecture]) -> Iterator[tuple[int, Scores | None]]:
        """The number of an architecture and its scores; or None, where one part of the list is
        scored and others are to come. Raises `EvaluationError`, `NoUsableVideo`."""
        if self.parts == 1:
            if self._kept is None:
                self._kept = self._loader(self.views)
            for at, architecture in enumerate(architectures):
                yield at, self._score(self.network(architecture), architecture, self._kept)
            return
        found: list[list[Scores | _Nothing]] = [[] for _ in architectures]
        statistics: dict[int, dict[str, Tensor]] = {}
        bounds = [len(self.views) * k // self.parts for k in range(self.parts + 1)]
        for part, (start, end) in enumerate(pairwise(bounds)):
            loader = self._loader(_part(self.views, start, end))
            for at, architecture in enumerate(architectures):
                if at in statistics:
                    net = self.space.freeze(self.supernet, architecture)
                    net.load_state_dict(statistics[at], strict=False)
                else:
                    net = self.network(architecture)
                    statistics[at] = _statistics(net)
                try:
                    found[at].append(self._score(net, architecture, loader))
                except NoUsableVideo:
                    found[at].append(_Nothing(loader.problems(self.ranks)))
                last = part == self.parts - 1
                yield at, _joined(found[at], bounds, self.views.videos) if last else None

    def _loader(self, views: EvalViews) -> KeptViews:
        videos = ceil(self._at_once / (views.clips * views.transform.crops))
        return KeptViews(
            views,
            videos,
            workers=self._workers,
            rank=self.ranks.rank,
            world=self.ranks.world,
        )

    def _score(self, net: nn.Module, architecture: Architecture, loader: KeptViews) -> Scores:
        guarded = _Finite(net)
        scores = score(
            guarded,
            loader,
            ranks=self.ranks,
            at_once=self._at_once,
            autocast=self._autocast,
            probabilities=gives_probabilities(self.space.network(architecture)),
        )
        if not all(self.ranks.gather(guarded.finite)):
            self.unfit.add(architecture)
        return scores


def _normalises(net: nn.Module) -> bool:
    """Whether anything in it has running statistics."""
    return any("running_mean" in name for name in net.state_dict())


def _statistics(net: nn.Module) -> dict[str, Tensor]:
    """Copies of its running statistics."""
    return {
        f"{path}.{name}": tensor.clone()
        for path, module in net.named_modules()
        if isinstance(module, _BatchNorm)
        for name, tensor in module.named_buffers(recurse=False)
    }


def _part(views: EvalViews, start: int, end: int) -> EvalViews:
    videos = views.videos
    part = VideoList(videos.videos[start:end], videos.classes, videos.source)
    return EvalViews(
        part, views.sampling, views.transform, clips=views.clips, min_frames=views.min_frames
    )


class _Nothing(Record):
    """A part of a list of which no video can be used."""

    problems: dict[int, Problem]


def _bad(batch: ViewBatch) -> list[int]:
    there = set(batch.owners_N.tolist())
    return [index for v, index in enumerate(batch.indices) if v not in there]


def _joined(parts: Sequence[Scores | _Nothing], bounds: Sequence[int], videos: VideoList) -> Scores:
    """The scores of a list from those of its parts, which begin at ``bounds``. Raises
    `NoUsableVideo`, if none has any."""
    scored: list[tuple[int, Scores]] = []
    missing: dict[int, Problem] = {}
    for start, part in zip(bounds[:-1], parts, strict=True):
        if isinstance(part, Scores):
            scored.append((start, part))
            missing.update((m.index + start, m.problem) for m in part.missing)
        else:
            missing.update((at + start, problem) for at, problem in part.problems.items())
    if not scored:
        raise no_usable_video(videos, [missing[at] for at in sorted(missing)])
    return Scores(
        np.concatenate([part.probabilities_NK for _, part in scored]),
        np.concatenate([part.labels_N for _, part in scored]),
        np.concatenate([part.indices_N + start for start, part in scored]),
        tuple(path for _, part in scored for path in part.paths),
        scored[0][1].classes,
        scored[0][1].views,
        tuple(
            MissingVideo(at, videos.videos[at].name, videos.videos[at].label, missing[at])
            for at in sorted(missing)
        ),
    )


def statistics_clips(
    space: Space,
    recipe: Recipe,
    videos: VideoList,
    batches: int,
    *,
    seed: int,
    min_frames: int,
    workers: int,
) -> KeptClips | None:
    """The training batches that running statistics are estimated from, of the `search` section's
    size; None for 0 batches. Raises `NoUsableVideo`."""
    if not batches:
        return None
    search = space.sections.search if space.sections else None
    batch = recipe.train.batch if search is None else search.batch
    clips = TrainClips(videos, recipe.sampling, recipe.transform, seed=seed, min_frames=min_frames)
    return KeptClips(clips, batch, batches, workers=workers)
