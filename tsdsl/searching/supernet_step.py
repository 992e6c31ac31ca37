"""Forward and backward passes of architectures through a supernet: what search algorithms make
their gradients with.

A `SupernetStep` keeps one promise for all of them: a step happens whole or not at all. Inside
`SupernetStep.transaction`, gradients begin at None, and if anything is raised, there are no
gradients afterwards and running statistics are as they were before. Under several ranks each has a
part of the batch and all have the same architectures: numbers and gradients are summed over ranks.

To save memory, the clips of an architecture can run in micro-batches. The log-likelihood is their
sum. Without batch normalisation and dropout that makes no difference; batch normalisation takes its
statistics over the clips of one micro-batch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from math import isfinite
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tsdsl.backends.supernet import Supernet
from tsdsl.data.dataset import generator_of
from tsdsl.diagnostics import Diagnostic, DiagnosticError
from tsdsl.ir.architecture import Architecture
from tsdsl.record import Record
from tsdsl.training.ranks import Ranks

T = TypeVar("T", bound=Tensor)


class SearchError(DiagnosticError, RuntimeError):
    """A search that cannot go on."""


class Clips(Record):
    """This rank's part of a batch, on its device and normalised."""

    clips_NCTHW: Tensor
    labels_N: Tensor

    def __len__(self) -> int:
        return len(self.labels_N)

    def split(self, size: int | None) -> list[Clips]:
        """Micro-batches of at most ``size`` clips, in order; one of all clips if None."""
        if size is None or len(self) <= size:
            return [self]
        parts = zip(*(torch.split(t, size) for t in (self.clips_NCTHW, self.labels_N)), strict=True)
        return [Clips(clips_NCTHW, labels_N) for clips_NCTHW, labels_N in parts]


#: log P(labels | clips, weights, architecture), summed over clips: a scalar with its graph.
Likelihood = Callable[[Mapping[str, Any], Clips], Tensor]


def classifier(
    supernet: Supernet,
    *,
    streams: Collection[str] | None = None,
    autocast: torch.dtype | None = None,
    probabilities: bool = False,
) -> Likelihood:
    """The likelihood of a supernet's classes.

    ``streams``: those that exist, all if None. ``autocast``: the type that operations compute in
    where that is safe. ``probabilities``: networks end in a softmax, and give probabilities in
    place of logits.
    """

    def cast(device: torch.device) -> AbstractContextManager[Any]:
        return torch.autocast(device.type, dtype=autocast) if autocast else nullcontext()

    def likelihood(architecture: Mapping[str, Any], clips: Clips) -> Tensor:
        with cast(clips.clips_NCTHW.device):
            logits_NK = supernet(clips.clips_NCTHW, architecture, streams=streams)
        if autocast is not None:
            logits_NK = logits_NK.float()
        if probabilities:
            logits_NK = logits_NK.clamp_min(torch.finfo(logits_NK.dtype).tiny).log()
        return -F.cross_entropy(logits_NK, clips.labels_N, reduction="sum")

    return likelihood


class SupernetStep:
    """The passes of one step, for one supernet.

    It sets ``.grad`` of the weights and moves nothing: the optimiser is the caller's. Weights that
    no architecture of a step has keep ``.grad`` None, so that optimisers leave them alone. Running
    statistics follow every forward pass, in order. ``likelihood`` is read at each step, so that it
    can be another one in the next phase. ``micro_batch``: clips of one pass; all if None.
    """

    def __init__(
        self,
        supernet: nn.Module,
        likelihood: Likelihood,
        *,
        ranks: Ranks | None = None,
        scaler: torch.amp.GradScaler | None = None,
        micro_batch: int | None = None,
    ) -> None:
        self.likelihood = likelihood
        self.micro_batch = micro_batch
        self.ranks = ranks or Ranks.alone(next(supernet.parameters()).device)
        # A disabled scaler is the same as none.
        self.scaler = scaler if scaler is not None and scaler.is_enabled() else None
        self.supernet = supernet
        #: The modules that have parameters or buffers: looking through all of them takes a while.
        self._owners = [m for m in supernet.modules() if m._parameters or m._buffers]
        #: The parameters that learn in this step.
        self.parameters = self._learning()
        self._backup: list[Tensor] = []

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """The span of one step: if it raises, gradients are None and running statistics are those
        of before."""
        # What was frozen or thawed, replaced or moved since the last step is as it is now.
        # A weight that has been frozen keeps nothing of an earlier step.
        self.clear()
        self.parameters = self._learning()
        self.clear()
        buffers = self._buffers()
        if list(map(_kind, self._backup)) != list(map(_kind, buffers)):
            self._backup = [torch.empty_like(b) for b in buffers]
        _copy(self._backup, buffers)
        try:
            yield
        except BaseException:
            self.clear()
            _copy(buffers, self._backup)
            raise

    def clear(self) -> None:
        """Let no weight have a gradient."""
        for parameter in self.parameters:
            parameter.grad = None

    @property
    def gradients(self) -> list[Tensor]:
        """The gradients of the weights that the architectures of the step have."""
        return [p.grad for p in self.parameters if p.grad is not None]

    def seed(self, key: Sequence[int] | None, number: int) -> None:
        """Seed what is drawn inside of networks (dropout) from the numbers of ``key``, the rank and
        the number of the architecture in its step. None: torch's generator goes on."""
        if key is not None:
            drawn = generator_of(*key, self.ranks.rank, number).initial_seed()
            torch.manual_seed(drawn)

    def log_likelihood(self, architecture: Architecture, parts: Sequence[Clips]) -> Tensor:
        """Log-likelihood, summed over micro-batches, without gradients."""
        total = torch.zeros((), dtype=torch.float64)
        with torch.no_grad():
            for part in parts:
                likelihood = self.likelihood(architecture, part)
                total = total.to(likelihood.device) + likelihood
        return total

    def backpropagate(
        self,
        architecture: Architecture,
        parts: Sequence[Clips],
        factor: float,
        place: Callable[[], None],
    ) -> Tensor:
        """Add the gradient of minus ``factor`` times the log-likelihood; returns the latter, summed
        over micro-batches. ``place`` is called after each backward pass (see `placing`)."""
        total = torch.zeros((), dtype=torch.float64)
        for part in parts:
            likelihood = self.likelihood(architecture, part)
            total = total.to(likelihood.device) + likelihood.detach()
            self.backward(likelihood, factor)
            place()
            del likelihood
        return total

    def backward(self, likelihood: Tensor, factor: float) -> None:
        """Add the gradient of minus ``factor`` times a log-likelihood: optimisers go down."""
        loss = likelihood * -factor
        if self.scaler is not None:
            loss = self.scaler.scale(loss)
        loss.backward()  # type: ignore[no-untyped-call]

    def sum_over_ranks(self, values: Sequence[Tensor | float]) -> list[float]:
        if self.ranks.world == 1:
            return [float(value) for value in values]
        device = self.ranks.device
        own = [torch.as_tensor(v, dtype=torch.float64, device=device) for v in values]
        return list(self.ranks.sum(torch.stack(own)).tolist())

    def finish(self) -> float:
        """Sum the gradients over ranks, all that are of one type in one piece; returns their
        length. Raises `SearchError` where it is not finite, except under a scaler, which skips such
        steps."""
        gradients = self.gradients
        if self.ranks.world > 1:
            for dtype in dict.fromkeys(grad.dtype for grad in gradients):
                same = [grad for grad in gradients if grad.dtype == dtype]
                flat = self.ranks.sum(torch.cat([grad.reshape(-1) for grad in same]))
                start = 0
                for grad in same:
                    grad.copy_(flat[start : start + grad.numel()].view_as(grad))
                    start += grad.numel()
        norm = float(nn.utils.get_total_norm(gradients))
        if self.scaler is not None:
            return norm / self.scaler.get_scale()
        if not isfinite(norm):
            raise not_finite("gradient", (norm,), None)
        return norm

    def _learning(self) -> list[nn.Parameter]:
        every = [p for module in self._owners for p in module._parameters.values()]
        return _distinct(p for p in every if p is not None and p.requires_grad)

    def _buffers(self) -> list[Tensor]:
        every = [b for module in self._owners for b in module._buffers.values()]
        return _distinct(b for b in every if b is not None)


def not_finite(
    what: str, values: Sequence[float], architecture: Architecture | None
) -> SearchError:
    """The error of a step of which a number is not finite."""
    value = next(v for v in values if not isfinite(v))
    shown = ""
    if architecture is not None:
        pairs = [f"{path} = {option}" for path, option in architecture.items()]
        more = f" and {len(pairs) - 4} more" if len(pairs) > 4 else ""
        shown = f" of the architecture with {', '.join(pairs[:4])}{more}" if pairs else ""
    message = f"the {what}{shown} is not finite ({value}): this step was not taken"
    hint = "a lower rate of the weights or a longer warm-up may help"
    return SearchError([Diagnostic("E0841", message, help=hint)])


def _distinct(tensors: Iterable[T]) -> list[T]:
    """Each once, however many modules share it."""
    return list({id(tensor): tensor for tensor in tensors}.values())


def _kind(tensor: Tensor) -> tuple[object, ...]:
    return tensor.dtype, tensor.device, tensor.shape


def _copy(to: list[Tensor], given: list[Tensor]) -> None:
    # By type: of mixed ones, each would be a kernel of its own.
    for dtype in dict.fromkeys(tensor.dtype for tensor in to):
        own = [a for a in to if a.dtype == dtype]
        torch._foreach_copy_(own, [b for b in given if b.dtype == dtype])
