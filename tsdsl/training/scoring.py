"""All views of all videos of a list -> `Scores`.

The softmax of each view is taken in float32; a video's are summed in the order of its views, and
divided, in float64.

What the result depends on: every forward call has exactly ``at_once`` views (fewer, if all videos
together have fewer). They are taken as they come, whatever video they belong to, and the last call
is filled up with copies, whose scores are thrown away. The shape of a call is therefore always the
same, and with it what the kernels do:

- Any number of workers, and any number of videos that the loader has in a batch: the calls are the
  same, and so is the result, bit for bit.
- Any number of ranks: other views share a call. Measured with torch 2.13 on a CPU (X3D-XS, float32
  and bfloat16, one and two threads), what a view gives does not depend on its place in a call nor
  on its neighbours, and the result is the same bit for bit. torch does not promise that.
- Another ``at_once``: kernels of other shapes add in another order. Measured on the same network:
  logits differ by 1e-8 at most in float32, 2e-5 in bfloat16. Probabilities agree to rounding; a
  prediction differs only where two classes are that close.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tsdsl.data.dataset import no_usable_video
from tsdsl.data.lists import VideoList
from tsdsl.data.loader import EvalLoader, ViewBatch
from tsdsl.data.transforms import normalise
from tsdsl.data.video_problems import Problem
from tsdsl.diagnostics import Diagnostic, DiagnosticError
from tsdsl.training.ranks import Ranks
from tsdsl.training.scores import MissingVideo, Scores, class_names
from tsdsl.training.torch_errors import decoder_ended, out_of_memory

#: Default number of views of a forward pass: 8 fit the memory of a small machine.
AT_ONCE = 8
#: Type of mixed precision. It has the range of float32, so no loss scaling is needed.
MIXED = torch.bfloat16


class EvaluationError(DiagnosticError, RuntimeError):
    """An evaluation that cannot go on."""


def score(
    net: nn.Module,
    loader: EvalLoader,
    *,
    ranks: Ranks | None = None,
    at_once: int = AT_ONCE,
    autocast: torch.dtype | None = None,
    probabilities: bool = False,
    on_batch: Callable[[ViewBatch], None] | None = None,
) -> Scores:
    """The scores of a network for all videos of a loader, in the order of its list, on every rank.

    ``net`` maps clips_NCTHW to logits_NK; it is on the device of ``ranks`` (default: a single
    process, on the network's device). Its mode is restored afterwards. ``autocast`` is the type of
    mixed precision (`torch.autocast`). ``probabilities``: the network ends in a softmax (see
    `gives_probabilities`), so that none is applied. ``on_batch`` is called with each batch of this
    rank's loader after it is scored, except for views that wait for a full forward pass.

    Raises `EvaluationError`, on all ranks if one fails, and `NoUsableVideo`.
    """
    ranks = ranks or Ranks(0, 1, _device_of(net))
    dataset, videos = loader.dataset, loader.dataset.videos
    views = dataset.clips * dataset.transform.crops
    # The same value on all ranks.
    at_once = min(at_once, len(videos) * views)
    was_training = net.training
    cast: Any = nullcontext()
    if autocast is not None:
        cast = torch.autocast(ranks.device.type, dtype=autocast)
    part = _RankScores(videos, probabilities)
    try:
        with torch.inference_mode(), cast:
            part.score(net.eval(), loader, at_once, ranks.device, on_batch)
    except DiagnosticError as error:
        # The other ranks are waiting for this one.
        part.failed = error.diagnostics
    finally:
        net.train(was_training)
    return _together(ranks.gather(part.result()), videos, views)


class _RankScores:
    """The scores of one rank's videos."""

    def __init__(self, videos: VideoList, probabilities: bool) -> None:
        self._videos = videos
        self._probabilities = probabilities
        self.failed: tuple[Diagnostic, ...] = ()
        #: Index of a video -> sum of the softmax over its views so far, and number of these views.
        self._sums: dict[int, NDArray[np.float64]] = {}
        self._views: dict[int, int] = {}
        self._problems: dict[int, Problem] = {}

    def result(self) -> tuple[Any, ...]:
        """The result in the form in which it is sent to the other ranks."""
        means = {index: total / self._views[index] for index, total in self._sums.items()}
        return means, self._problems, self.failed

    def score(
        self,
        net: nn.Module,
        loader: EvalLoader,
        at_once: int,
        device: torch.device,
        on_batch: Callable[[ViewBatch], None] | None,
    ) -> None:
        assert at_once > 0
        like = next(iter(net.parameters()), None)
        dtype = like.dtype if like is not None and like.is_floating_point() else torch.float32
        waiting: list[tuple[int, Tensor]] = []
        for batch in _read(loader):
            waiting += self._views_of(batch, device)
            while len(waiting) >= at_once:
                self._call(net, waiting[:at_once], at_once, dtype)
                del waiting[:at_once]
            if on_batch is not None:
                on_batch(batch)
        if waiting:
            self._call(net, waiting, at_once, dtype)

    def _views_of(self, batch: ViewBatch, device: torch.device) -> Iterator[tuple[int, Tensor]]:
        """Each view with the index of its video. Problems of videos are recorded."""
        owners = batch.owners_N.tolist()
        there = set(owners)
        bad = [index for v, index in enumerate(batch.indices) if v not in there]
        self._problems.update(zip(bad, batch.problems, strict=True))
        if batch.views_NCTHW is not None:
            views = batch.views_NCTHW.to(device, non_blocking=True)
            for owner, view_CTHW in zip(owners, views, strict=True):
                yield batch.indices[owner], view_CTHW

    def _call(
        self, net: nn.Module, views: list[tuple[int, Tensor]], at_once: int, dtype: torch.dtype
    ) -> None:
        """Score at most ``at_once`` views in one forward pass."""
        clips = [view for _, view in views]
        clips += clips[-1:] * (at_once - len(clips))
        logits_NK = self._forward(net, clips, dtype)[: len(views)].float()
        finite_N = logits_NK.isfinite().all(dim=1).tolist()
        shares_NK = logits_NK if self._probabilities else logits_NK.softmax(dim=1)
        rows = shares_NK.double().cpu().numpy()
        for (index, _), row, finite in zip(views, rows, finite_N, strict=True):
            if not finite:
                raise self._not_finite(index)
            before = self._sums.get(index)
            self._sums[index] = row.copy() if before is None else before + row
            self._views[index] = self._views.get(index, 0) + 1

    def _forward(self, net: nn.Module, clips: list[Tensor], dtype: torch.dtype) -> Tensor:
        try:
            logits: Any = net(normalise(torch.stack(clips), dtype))
        except RuntimeError as bad:
            if not out_of_memory(bad):
                raise
            message = f"there is not enough memory for {len(clips)} views in a forward pass"
            hint = "score fewer at once, as with --batch 1"
            raise EvaluationError([Diagnostic("E0825", message, help=hint)]) from None
        if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != len(clips):
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            message = f"the network returns {shape} for {len(clips)} clips, not a score for"
            raise EvaluationError([Diagnostic("E0825", f"{message} each class")])
        known = len(self._videos.classes)
        if logits.shape[1] < known:
            message = f"the list has {known} classes, the network has {logits.shape[1]} outputs"
            raise EvaluationError([Diagnostic("E0825", message, file=self._videos.source)])
        return logits

    def _not_finite(self, index: int) -> EvaluationError:
        video = self._videos.videos[index]
        message = f"{video.path}: the network's scores are not finite"
        hint = "did the training diverge? without --amp, rounding errors are smaller"
        return EvaluationError([Diagnostic("E0825", message, file=self._videos.source, help=hint)])


def _together(parts: list[tuple[Any, ...]], videos: VideoList, views: int) -> Scores:
    """The combined scores of all ranks, in the order of the list."""
    means: dict[int, NDArray[np.float64]] = {}
    problems: dict[int, Problem] = {}
    failed: dict[Diagnostic, None] = {}
    for own, bad, findings in parts:
        means.update(own)
        problems.update(bad)
        failed.update(dict.fromkeys(findings))
    if failed:
        raise EvaluationError(failed)
    if not means:
        raise no_usable_video(videos, [problems[index] for index in sorted(problems)])
    indices = sorted(means)
    rows = [videos.videos[index] for index in indices]
    probabilities_NK = np.stack([means[index] for index in indices])
    return Scores(
        probabilities_NK,
        np.array([video.label for video in rows], np.int64),
        np.array(indices, np.int64),
        tuple(video.name for video in rows),
        class_names(videos.classes, probabilities_NK.shape[1]),
        views,
        tuple(
            MissingVideo(
                index, videos.videos[index].name, videos.videos[index].label, problems[index]
            )
            for index in sorted(problems)
        ),
    )


def _read(loader: EvalLoader) -> Iterator[ViewBatch]:
    try:
        yield from loader
    except RuntimeError as bad:
        if out_of_memory(bad):
            message = "there is not enough memory for the views of a video"
            hint = "a smaller crop, fewer clips, fewer --workers"
        elif ended := decoder_ended(bad):
            message, hint = ended
        else:
            raise
        raise EvaluationError([Diagnostic("E0825", message, help=hint)]) from None


def _device_of(net: nn.Module) -> torch.device:
    like = next(iter(net.parameters()), None)
    return torch.device("cpu") if like is None else like.device
