"""One step of PARSEC: from K architectures and a batch to the gradients of weights and of alpha.

With L_k = log P(labels | clips, weights, A_k), summed over the clips of all ranks, the samples have
importance weights

    w = softmax_k(l_k),   l_k = L_k / temperature  ("sum"; the literal likelihood: w is nearly
    one-hot for batches of any size)  or  L_k / (clips x temperature)  ("mean")

and what the optimisers are given is

    weights:  - sum_k w_k grad L_k / clips
    alpha:    sum_k (beta c_k - w_k + 1/K) grad log P(A_k | alpha)

The first is that of cross-entropy per clip under either reading and at any temperature, so that
learning rates keep their meaning. 1/K is the ``baseline``: sum_k w_k is 1 and E[grad log P] = 0, so
that it takes noise and no mean away. beta c_k is the cost term (`cost`). With K = 1 w is 1 whatever
the sample: nothing is learned of alpha but the cost.

What the mean of alpha's gradient is: w has all samples in its denominator, so that for a finite K
it is no gradient of a simple function; it is the sum over all K-tuples of architectures of their
probability times the above. As K grows, sum_k w_k g_k tends to E[e^l g] / E[e^l] and sum_k c_k g_k
to E[cost g] / E[cost], g = grad log P: together the gradient of - log E[e^l] + beta log E[cost].

One graph exists at a time and each sample has one forward and one backward pass, though w is known
after the last of them only: `online` says how. An architecture that was drawn several times runs
once and counts as often. Under several ranks each has a part of the batch and all have the same
architectures; L_k is summed over ranks (two numbers per sample), and the gradients are once, in
one piece, over what was touched.

To save memory, the clips of a sample can run in parts (``micro_batch``): L_k is their sum. Without
batch normalisation and dropout that makes no difference; batch normalisation takes its statistics
over the clips of one part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from math import isfinite
from typing import Any, Literal, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tsdsl.backends.supernet import Supernet, placing
from tsdsl.data.dataset import generator_of
from tsdsl.diagnostics import Diagnostic, DiagnosticError
from tsdsl.ir.architecture import Architecture
from tsdsl.record import Record
from tsdsl.searching.distribution import Alpha, Categoricals
from tsdsl.searching.parsec.cost_term import CostTerm
from tsdsl.searching.parsec.online_softmax import SLACK, OnlineSoftmax
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

    def split(self, most: int | None) -> list[Clips]:
        """In order, ``most`` clips at a time; all of them if None."""
        if most is None or len(self) <= most:
            return [self]
        parts = zip(*(torch.split(t, most) for t in (self.clips_NCTHW, self.labels_N)), strict=True)
        return [Clips(clips_NCTHW, labels_N) for clips_NCTHW, labels_N in parts]


#: log P(labels | clips, weights, architecture) of some clips: their sum, a scalar with its graph.
Likelihood = Callable[[Mapping[str, Any], Clips], Tensor]


def classifier(
    supernet: Supernet,
    *,
    streams: Collection[str] | None = None,
    autocast: torch.dtype | None = None,
    probabilities: bool = False,
) -> Likelihood:
    """The likelihood of a supernet's classes. ``streams``: those that exist. ``autocast``: what
    operations compute in where that is safe. ``probabilities``: networks end in a softmax."""

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


class StepGradients(Record):
    """What a step found; lists have one number for each sample, in the order of the samples."""

    #: L_k per clip, in nats, on the clips that train the weights.
    log_likelihoods: list[float]
    #: w_k of these.
    weights: list[float]
    #: The same on the clips that train alpha: other clips if there are two halves.
    alpha_log_likelihoods: list[float]
    alpha_weights: list[float]
    #: Length of the weights' gradient; infinite or nan only under a scaler, which skips such steps.
    gradient_norm: float

    @property
    def loss(self) -> float:
        """Cross-entropy per clip, over the samples by their weights."""
        pairs = zip(self.weights, self.log_likelihoods, strict=True)
        return -sum(w * ll for w, ll in pairs if w)

    @property
    def effective_samples(self) -> float:
        """1 / sum of squares of alpha's weights: K if all are equal, 1 if one has it all."""
        return 1 / sum(w * w for w in self.alpha_weights)


class Parsec:
    """The step, for one supernet and one distribution.

    `step` sets ``.grad`` of both and moves nothing: the optimisers are the caller's. Weights that
    no sampled architecture has keep ``.grad`` None, so that optimisers leave them alone. Running
    statistics follow every forward pass, in sample order. ``likelihood`` and ``term`` are read at
    each step, so that they can be others in the next phase. ``micro_batch``: clips of one pass, of
    which a sample then has several, and a graph of so many clips; all clips if left out.
    """

    def __init__(
        self,
        supernet: nn.Module,
        alpha: Alpha,
        likelihood: Likelihood,
        *,
        reading: Literal["sum", "mean"] = "mean",
        temperature: float = 1.0,
        baseline: bool = True,
        term: CostTerm | None = None,
        ranks: Ranks | None = None,
        scaler: torch.amp.GradScaler | None = None,
        micro_batch: int | None = None,
    ) -> None:
        self.alpha = alpha
        self.likelihood = likelihood
        self.reading = reading
        self.temperature = temperature
        self.baseline = baseline
        self.term = term
        self.micro_batch = micro_batch
        self.ranks = ranks or Ranks.alone(next(supernet.parameters()).device)
        # Of a disabled scaler nothing is asked.
        self._scaler = scaler if scaler is not None and scaler.is_enabled() else None
        self._supernet = supernet
        #: Going through all modules for what they hold takes a while.
        self._holders = [m for m in supernet.modules() if m._parameters or m._buffers]
        self._parameters = self._learning()
        self._backup: list[Tensor] = []

    def step(
        self,
        architectures: Sequence[Architecture],
        clips: Clips,
        *,
        held: Clips | None = None,
        learn: bool = True,
        now: Categoricals | None = None,
        key: Sequence[int] | None = None,
    ) -> StepGradients:
        """The gradients of one step. All ranks call it with the same architectures.

        ``held``: the clips that alpha learns from; left out, the same that the weights learn from.
        ``learn``: whether alpha learns at all; if not, it has no gradient. ``now``: the alpha that
        the architectures are drawn from, if the caller has it at hand. ``key``: numbers, such as
        seed and step, that what is drawn inside of a network (dropout) is a function of, with the
        rank and the architecture's place; left out, torch's generator goes on.

        Raises `SearchError` where a likelihood, or a gradient, is not finite. After that, or any
        other exception, there are no gradients, and running statistics are as they were before.
        """
        if not architectures:
            raise ValueError("a step needs an architecture or more")
        # What was frozen or thawed, replaced or moved since the last step is as it is now.
        # A weight that has been frozen keeps nothing of an earlier step.
        self._clear()
        self._parameters = self._learning()
        self._clear()
        buffers = self._buffers()
        if list(map(_kind, self._backup)) != list(map(_kind, buffers)):
            self._backup = [torch.empty_like(b) for b in buffers]
        _copy(self._backup, buffers)
        try:
            stepped = self._weights(architectures, clips, held, key)
            if learn:
                now = now if now is not None else self.alpha.now()
                self.alpha.set_gradient(self._alpha_gradient(now, architectures, stepped))
            return stepped
        except BaseException:
            self._clear()
            _copy(buffers, self._backup)
            raise

    def _learning(self) -> list[nn.Parameter]:
        held = [p for module in self._holders for p in module._parameters.values()]
        return _distinct(p for p in held if p is not None and p.requires_grad)

    def _buffers(self) -> list[Tensor]:
        held = [b for module in self._holders for b in module._buffers.values()]
        return _distinct(b for b in held if b is not None)

    def _clear(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None
        self.alpha.set_gradient(None)

    def _weights(
        self,
        architectures: Sequence[Architecture],
        clips: Clips,
        held: Clips | None,
        key: Sequence[int] | None,
    ) -> StepGradients:
        counts = Counter(architectures)
        online = OnlineSoftmax(self._parameters, slack=0.0 if self._scaler else SLACK)
        # L per clip, on what trains the weights and on what trains alpha.
        found: dict[Architecture, tuple[float, float]] = {}
        with placing(self._supernet) as place:
            for number, (architecture, count) in enumerate(counts.items()):
                self._seed(key, number)
                told: list[Tensor | float] = [0.0, 0.0]
                if held is not None:
                    with torch.no_grad():
                        parts = held.split(self.micro_batch)
                        told = [self._told(architecture, parts), float(len(held))]
                parts = clips.split(self.micro_batch)
                likelihood: Tensor | None = None
                if len(parts) == 1:
                    likelihood = self.likelihood(architecture, clips)
                    told += [likelihood.detach(), float(len(clips))]
                else:
                    online.set_aside()
                    told += [self._told(architecture, parts, place), float(len(clips))]
                other, others, total, size = self._summed(told)
                if not size or (held is not None and not others):
                    raise ValueError("a step needs a clip or more, in each half")
                per_clip = total / size, (other / others if held is not None else total / size)
                if not all(map(isfinite, per_clip)):
                    raise _not_finite("likelihood", per_clip, architecture)
                found[architecture] = per_clip
                log_weight = self._log_weight(per_clip[0], size)
                if likelihood is None:
                    online.add(log_weight, count, by=len(clips) / size)
                else:
                    # The mean over the clips of all ranks.
                    self._backward(likelihood, online.factor(log_weight, count) / size)
                    place()
                del likelihood, parts, told
        online.finish()
        self._reduce(online.held)
        norm = float(nn.utils.get_total_norm(online.held))
        if self._scaler is not None:
            norm /= self._scaler.get_scale()
        elif not isfinite(norm):
            raise _not_finite("gradient", (norm,), None)
        sizes = size, (others if held is not None else size)
        halves = [[found[a][half] for a in architectures] for half in (0, 1)]
        weights = [
            _softmax([self._log_weight(ll, n) for ll in half])
            for half, n in zip(halves, sizes, strict=True)
        ]
        return StepGradients(halves[0], weights[0], halves[1], weights[1], norm)

    def _told(
        self,
        architecture: Architecture,
        parts: Sequence[Clips],
        place: Callable[[], None] | None = None,
    ) -> Tensor:
        """L of clips in parts. ``place``: with a backward pass of each, of L per clip, and this
        after it."""
        clips, total = sum(map(len, parts)), torch.zeros((), dtype=torch.float64)
        for part in parts:
            likelihood = self.likelihood(architecture, part)
            total = total.to(likelihood.device) + likelihood.detach()
            if place is not None:
                self._backward(likelihood, 1 / clips)
                place()
            del likelihood
        return total

    def _backward(self, likelihood: Tensor, by: float) -> None:
        # Minus, as optimisers go down.
        loss = likelihood * -by
        if self._scaler is not None:
            loss = self._scaler.scale(loss)
        loss.backward()  # type: ignore[no-untyped-call]

    def _alpha_gradient(
        self, now: Categoricals, architectures: Sequence[Architecture], stepped: StepGradients
    ) -> np.ndarray[Any, np.dtype[np.float64]]:
        chosen = now.choose(architectures)
        factors = -np.array(stepped.alpha_weights)
        if self.baseline:
            factors += 1 / len(architectures)
        found = now.gradient(chosen, factors)
        return found if self.term is None else found + self.term.gradient(now, chosen)

    def _log_weight(self, per_clip: float, clips: float) -> float:
        return per_clip * (clips if self.reading == "sum" else 1.0) / self.temperature

    def _seed(self, key: Sequence[int] | None, place: int) -> None:
        if key is not None:
            drawn = generator_of(*key, self.ranks.rank, place).initial_seed()
            torch.manual_seed(drawn)

    def _summed(self, told: Sequence[Tensor | float]) -> list[float]:
        """Over all ranks."""
        if self.ranks.world == 1:
            return [float(t) for t in told]
        device = self.ranks.device
        own = [torch.as_tensor(t, dtype=torch.float64, device=device) for t in told]
        return list(self.ranks.sum(torch.stack(own)).tolist())

    def _reduce(self, held: list[Tensor]) -> None:
        """Sum gradients over ranks, all that are of one type in one piece."""
        if self.ranks.world == 1:
            return
        for dtype in dict.fromkeys(grad.dtype for grad in held):
            same = [grad for grad in held if grad.dtype == dtype]
            flat = self.ranks.sum(torch.cat([grad.reshape(-1) for grad in same]))
            start = 0
            for grad in same:
                grad.copy_(flat[start : start + grad.numel()].view_as(grad))
                start += grad.numel()


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


def _softmax(logs: Sequence[float]) -> list[float]:
    shifted = np.exp(np.array(logs) - max(logs))
    return list((shifted / shifted.sum()).tolist())


def _not_finite(
    what: str, values: Sequence[float], architecture: Architecture | None
) -> SearchError:
    value = next(v for v in values if not isfinite(v))
    shown = ""
    if architecture is not None:
        pairs = [f"{path} = {option}" for path, option in architecture.items()]
        more = f" and {len(pairs) - 4} more" if len(pairs) > 4 else ""
        shown = f" of the architecture with {', '.join(pairs[:4])}{more}" if pairs else ""
    message = f"the {what}{shown} is not finite ({value}): this step was not taken"
    hint = "a lower rate of the weights or a longer warm-up may help; alpha is as it was"
    return SearchError([Diagnostic("E0841", message, help=hint)])
