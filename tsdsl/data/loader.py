"""Batches from worker processes, pinned and prefetched, and a report of what could not be used.

The order of an epoch is a permutation drawn from (seed, epoch); step s of it takes the next
``batch`` x ``world`` videos, of which each rank has its part. What does not fill a step at the end
of an epoch is left out. Batches do not depend on the number of workers, and those of all ranks
together not on the number of ranks.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import parent_process
from threading import Thread
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from tsdsl.data.dataset import EvalViews, NoUsableVideo, Sample, TrainClips, Views, generator_of
from tsdsl.data.video_problems import KINDS, Problem
from tsdsl.diagnostics import Diagnostic, DiagnosticError
from tsdsl.record import MutableRecord, Record, factory


class Batch(MutableRecord):
    """A batch of training clips (uint8; see `transforms.normalise`) with their origin."""

    clips_NCTHW: Tensor
    labels_N: Tensor
    #: The videos of the keys, and the videos that are shown: they differ where one was replaced.
    indices: tuple[int, ...]
    used: tuple[int, ...]
    problems: tuple[Problem, ...]

    def pin_memory(self) -> Batch:
        """Called by the DataLoader."""
        self.clips_NCTHW = self.clips_NCTHW.pin_memory()
        self.labels_N = self.labels_N.pin_memory()
        return self


class ViewBatch(MutableRecord):
    """Views of some videos. Those of video ``indices[v]`` have ``owners_N == v``. A video that
    cannot be used has no views; its problem is in ``problems``."""

    views_NCTHW: Tensor | None
    owners_N: Tensor
    labels: tuple[int, ...]
    indices: tuple[int, ...]
    problems: tuple[Problem, ...]

    def pin_memory(self) -> ViewBatch:
        """Called by the DataLoader."""
        if self.views_NCTHW is not None:
            self.views_NCTHW = self.views_NCTHW.pin_memory()
        return self


class DataReport(MutableRecord):
    """The unusable videos that one rank has met so far."""

    samples: int = 0
    #: Number of samples that show a replacement.
    replaced: int = 0
    #: Path -> the video's latest problem.
    bad: dict[str, Problem] = factory(default_factory=dict)

    def add(self, problems: Sequence[Problem]) -> list[Problem]:
        """Add problems; returns those of videos that were not known before."""
        new = [p for p in dict.fromkeys(problems) if p.path not in self.bad]
        self.bad.update((problem.path, problem) for problem in problems)
        return new

    def kinds(self) -> dict[str, int]:
        """Number of unusable videos of each kind that occurs."""
        found = Counter(problem.kind for problem in self.bad.values())
        return {kind: found[kind] for kind in KINDS if kind in found}

    def __str__(self) -> str:
        if not self.bad:
            return f"{self.samples} samples, every video could be used"
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.kinds().items())
        head = f"{self.samples} samples, {self.replaced} replaced; {len(self.bad)} bad: {kinds}"
        return "\n".join([head, *(f"  {problem}" for problem in self.bad.values())])


def check_fills(videos: int, batch: int, source: str | None, setting: str = "train.batch") -> None:
    """Raise `NoUsableVideo` if a list has fewer videos than a step needs. ``setting``: name of the
    setting for the batch, for the message."""
    if videos < batch:
        message = f"{videos} videos do not fill a step of {batch}"
        hint = f"a smaller batch, as with --set {setting}={max(1, videos)}"
        raise NoUsableVideo([Diagnostic("E0812", message, file=source, help=hint)])


class _Loader:
    """A loader whose worker processes persist between epochs."""

    _loader: DataLoader[Any]

    def close(self) -> None:
        """Stop the workers; reading again starts new ones. Without this call they end with the main
        process, where torch waits up to five seconds for each if memory is pinned
        (`_clean_up_worker` of its DataLoader)."""
        reading, self._loader._iterator = self._loader._iterator, None
        if reading is not None:
            reading._shutdown_workers()  # type: ignore[attr-defined]
            # A worker that is busy with a batch ignores the SIGTERM that torch sends.
            for worker in getattr(reading, "_workers", ()):
                if worker.is_alive():
                    worker.kill()

    def _batches(self) -> Iterator[Any]:
        """The batches of the workers, which are started if they are not running."""
        with _without_signals():
            batches = iter(self._loader)
        yield from batches


class TrainLoader(_Loader):
    """Loads training clips. ``batch`` is the number of clips of this rank in a batch; ``workers`` 0
    decodes in this process. With ``passes``, a training step uses that many batches, and an epoch
    has a multiple of it."""

    def __init__(
        self,
        dataset: TrainClips,
        batch: int,
        *,
        passes: int = 1,
        workers: int = 0,
        rank: int = 0,
        world: int = 1,
        prefetch: int = 2,
        pin: bool | None = None,
    ) -> None:
        assert 0 <= rank < world and batch > 0 and passes > 0
        check_fills(len(dataset), batch * world * passes, dataset.videos.source)
        self.report = DataReport()
        self._steps = _Steps(len(dataset), dataset.seed, batch, rank, world, passes)
        self._loader = _loader(dataset, self._steps, _batch, workers, prefetch, pin)

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return self._steps.total

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """The batches of an epoch without the first ``skip`` ones. Raises `NoUsableVideo`."""
        self._steps.epoch, self._steps.skip = epoch, skip
        for batch in self._batches():
            if isinstance(batch, _Failure):
                raise NoUsableVideo(batch.diagnostics)
            self.report.samples += len(batch.indices)
            self.report.replaced += sum(
                a != b for a, b in zip(batch.indices, batch.used, strict=True)
            )
            self.report.add(batch.problems)
            yield batch


class EvalLoader(_Loader):
    """Loads each video once, in the order of the list. This rank reads the videos ``rank``, ``rank
    + world``, ..."""

    def __init__(
        self,
        dataset: EvalViews,
        videos: int = 1,
        *,
        workers: int = 0,
        rank: int = 0,
        world: int = 1,
        prefetch: int = 2,
        pin: bool | None = None,
    ) -> None:
        assert 0 <= rank < world and videos > 0
        self.dataset = dataset
        self.report = DataReport()
        own = range(rank, len(dataset), world)
        self._groups = [list(own[at : at + videos]) for at in range(0, len(own), videos)]
        self._loader = _loader(dataset, self._groups, _views, workers, prefetch, pin)

    def __len__(self) -> int:
        return len(self._groups)

    def __iter__(self) -> Iterator[ViewBatch]:
        for batch in self._batches():
            assert isinstance(batch, ViewBatch)
            self.report.samples += len(batch.indices)
            self.report.add(batch.problems)
            yield batch


class _Steps(Sampler[list[tuple[int, int]]]):
    """The keys (epoch, index) of this rank, batch by batch. Runs in the main process."""

    def __init__(
        self, count: int, seed: int, batch: int, rank: int, world: int, passes: int
    ) -> None:
        self._count, self._seed, self._batch = count, seed, batch
        self._rank, self._world = rank, world
        self.total = count // (batch * world * passes) * passes
        self.epoch = self.skip = 0

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch = self.epoch
        generator = generator_of(self._seed, epoch)
        order = torch.randperm(self._count, generator=generator).tolist()
        for step in range(self.skip, self.total):
            first = (step * self._world + self._rank) * self._batch
            yield [(epoch, index) for index in order[first : first + self._batch]]

    def __len__(self) -> int:
        return self.total - self.skip


class _Failure(Record):
    """Stands for a `NoUsableVideo` on its way out of a worker, since the exception cannot be
    pickled."""

    diagnostics: tuple[Diagnostic, ...]


class _Guarded(Dataset[Any]):
    def __init__(self, dataset: Dataset[Any]) -> None:
        self._dataset = dataset

    def __getitem__(self, key: Any) -> Any:
        try:
            return self._dataset[key]
        except DiagnosticError as error:
            return _Failure(error.diagnostics)


def _loader(
    dataset: Dataset[Any],
    batches: Any,
    collate: Callable[[list[Any]], Any],
    workers: int,
    prefetch: int,
    pin: bool | None,
) -> DataLoader[Any]:
    return DataLoader(
        _Guarded(dataset),
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=workers,
        prefetch_factor=prefetch if workers else None,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available() if pin is None else pin,
        # Seeds of workers are not used, and drawing them must not advance the global generator.
        generator=torch.Generator(),
        worker_init_fn=_begin_worker,
    )


#: Signals that terminals, `timeout`, Slurm and containers send to all processes of a group. The
#: main process handles them; workers go on until it stops them.
_FOR_ALL = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def _without_signals() -> Iterator[None]:
    """Block these signals. Processes that are started in the block inherit that, so that no signal
    reaches a worker before `_begin_worker` has run."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_ALL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker(worker: int) -> None:
    torch.set_num_threads(1)
    for number in _FOR_ALL:
        signal.signal(number, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process as soon as its parent ends, even in the middle of a batch."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _batch(samples: list[Sample | _Failure]) -> Batch | _Failure:
    good = [sample for sample in samples if isinstance(sample, Sample)]
    for sample in samples:
        if isinstance(sample, _Failure):
            return sample
    return Batch(
        torch.stack([sample.clip_CTHW for sample in good]),
        torch.tensor([sample.label for sample in good]),
        tuple(sample.index for sample in good),
        tuple(sample.used for sample in good),
        tuple(problem for sample in good for problem in sample.problems),
    )


def _views(videos: list[Views]) -> ViewBatch:
    there = [(v, video.views_NCTHW) for v, video in enumerate(videos)]
    views = [(v, tensor) for v, tensor in there if tensor is not None]
    return ViewBatch(
        torch.cat([tensor for _, tensor in views]) if views else None,
        torch.tensor([v for v, tensor in views for _ in range(len(tensor))], dtype=torch.int64),
        tuple(video.label for video in videos),
        tuple(video.index for video in videos),
        tuple(video.problem for video in videos if video.problem is not None),
    )
