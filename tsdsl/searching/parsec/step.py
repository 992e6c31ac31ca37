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
after the last of them only: `online_softmax` says how. An architecture that was drawn several times
runs once and counts as often.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import isfinite
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from tsdsl.backends.supernet import placing
from tsdsl.ir.architecture import Architecture
from tsdsl.record import Record
from tsdsl.searching.algorithm import DistributionTerm
from tsdsl.searching.distribution import Alpha, Categoricals
from tsdsl.searching.parsec.cost_term import CostTerm
from tsdsl.searching.parsec.online_softmax import SLACK, OnlineSoftmax
from tsdsl.searching.supernet_step import Clips, Likelihood, SupernetStep, not_finite
from tsdsl.training.ranks import Ranks


class ParsecGradients(Record):
    """Numbers of one step; lists have one for each sample, in the order of the samples."""

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


class ParsecStep:
    """The step, for one supernet and one distribution.

    `step` sets ``.grad`` of both and moves nothing: the optimisers are the caller's. What it
    promises of the weights is said at `SupernetStep`. ``reading``, ``temperature``, ``baseline``:
    see the head of the module. ``terms``: penalties on the distribution, beside the cost term.
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
        terms: Sequence[DistributionTerm] = (),
        ranks: Ranks | None = None,
        scaler: torch.amp.GradScaler | None = None,
        micro_batch: int | None = None,
    ) -> None:
        self.alpha = alpha
        self.reading = reading
        self.temperature = temperature
        self.baseline = baseline
        self.term = term
        self.terms = tuple(terms)
        self.passes = SupernetStep(
            supernet, likelihood, ranks=ranks, scaler=scaler, micro_batch=micro_batch
        )

    def step(
        self,
        architectures: Sequence[Architecture],
        clips: Clips,
        *,
        held: Clips | None = None,
        learn: bool = True,
        now: Categoricals | None = None,
        key: Sequence[int] | None = None,
    ) -> ParsecGradients:
        """The gradients of one step. All ranks call it with the same architectures.

        ``held``: the clips that alpha learns from; left out, the same that the weights learn from.
        ``learn``: whether alpha learns at all; if not, it has no gradient. ``now``: the alpha that
        the architectures are drawn from, if the caller has it at hand. ``key``: numbers, such as
        seed and step, that seed what is drawn inside of networks (see `SupernetStep.seed`).

        Raises `SearchError` where a likelihood, or a gradient, is not finite. After that, or any
        other exception, there are no gradients, and running statistics are as they were before.
        """
        if not architectures:
            raise ValueError("a step needs an architecture or more")
        self.alpha.set_gradient(None)
        with self.passes.transaction():
            stepped = self._weights(architectures, clips, held, key)
            if learn:
                now = now if now is not None else self.alpha.now()
                self.alpha.set_gradient(self._alpha_gradient(now, architectures, stepped))
            return stepped

    def _weights(
        self,
        architectures: Sequence[Architecture],
        clips: Clips,
        held: Clips | None,
        key: Sequence[int] | None,
    ) -> ParsecGradients:
        passes = self.passes
        counts = Counter(architectures)
        online = OnlineSoftmax(passes.parameters, slack=0.0 if passes.scaler else SLACK)
        # L per clip, on the clips that train the weights and on those that train alpha.
        scores: dict[Architecture, tuple[float, float]] = {}
        with placing(passes.supernet) as place:
            for number, (architecture, count) in enumerate(counts.items()):
                passes.seed(key, number)
                # Of this rank: L and clips, for alpha's half and for the weights'.
                sums: list[Tensor | float] = [0.0, 0.0]
                if held is not None:
                    parts = held.split(passes.micro_batch)
                    sums = [passes.log_likelihood(architecture, parts), float(len(held))]
                parts = clips.split(passes.micro_batch)
                likelihood: Tensor | None = None
                if len(parts) == 1:
                    likelihood = passes.likelihood(architecture, clips)
                    sums += [likelihood.detach(), float(len(clips))]
                else:
                    online.set_aside()
                    total = passes.backpropagate(architecture, parts, 1 / len(clips), place)
                    sums += [total, float(len(clips))]
                other, others, total_, size = passes.sum_over_ranks(sums)
                if not size or (held is not None and not others):
                    raise ValueError("a step needs a clip or more, in each half")
                per_clip = total_ / size, (other / others if held is not None else total_ / size)
                if not all(map(isfinite, per_clip)):
                    raise not_finite("likelihood", per_clip, architecture)
                scores[architecture] = per_clip
                log_weight = self._log_weight(per_clip[0], size)
                if likelihood is None:
                    online.add(log_weight, count, by=len(clips) / size)
                else:
                    # The mean over the clips of all ranks.
                    passes.backward(likelihood, online.factor(log_weight, count) / size)
                    place()
                del likelihood, parts, sums
        online.finish()
        norm = passes.finish()
        sizes = size, (others if held is not None else size)
        halves = [[scores[a][half] for a in architectures] for half in (0, 1)]
        weights = [
            _softmax([self._log_weight(ll, n) for ll in half])
            for half, n in zip(halves, sizes, strict=True)
        ]
        return ParsecGradients(halves[0], weights[0], halves[1], weights[1], norm)

    def _alpha_gradient(
        self, now: Categoricals, architectures: Sequence[Architecture], stepped: ParsecGradients
    ) -> np.ndarray[Any, np.dtype[np.float64]]:
        chosen = now.choose(architectures)
        factors = -np.array(stepped.alpha_weights)
        if self.baseline:
            factors += 1 / len(architectures)
        gradient = now.gradient(chosen, factors)
        if self.term is not None:
            gradient = gradient + self.term.gradient(now, chosen)
        for term in self.terms:
            gradient = gradient + term.gradient(now, chosen)
        return gradient

    def _log_weight(self, per_clip: float, clips: float) -> float:
        return per_clip * (clips if self.reading == "sum" else 1.0) / self.temperature


def _softmax(logs: Sequence[float]) -> list[float]:
    shifted = np.exp(np.array(logs) - max(logs))
    return list((shifted / shifted.sum()).tolist())
