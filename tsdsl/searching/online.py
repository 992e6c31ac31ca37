"""An online softmax over gradients: sum_k w_k grad f_k, with w = softmax(l). One graph exists at a
time and each has one backward pass, though no w is known before the last l is.

``.grad`` of a parameter holds sum_k exp(l_k - r) grad f_k of the samples that touched it, with one
reference r for all parameters. r is the l of an earlier sample. It stays while a new l is at most
`SLACK` above it, as floats have room for exp(20); past that, everything held is rescaled to the new
one: one pass over the gradients, where likelihoods differ by more than 20 nats, and none where they
do not. What is far below r may underflow: then its weight is less than 1e-37 of the largest one's.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import exp, inf, log

import torch
from torch import Tensor

#: In nats. Gradients times exp(20) = 5e8 are far from the end of float32 and of bfloat16.
SLACK = 20.0


class OnlineSoftmax:
    """Over the ``.grad`` of some parameters, all of which have to be None at the start.

    For each sample: `factor` once its l is known, then ``(factor * f).backward()``. `finish` in the
    end. What no sample touched stays None. ``slack`` 0 keeps every factor at most ``count``."""

    def __init__(self, parameters: Iterable[Tensor], slack: float = SLACK) -> None:
        self._parameters = list(parameters)
        self._slack = slack
        self._reference = -inf
        #: log of the sum of all count * exp(l - reference).
        self._sum = -inf

    @property
    def held(self) -> list[Tensor]:
        """The gradients of what has been touched."""
        return [p.grad for p in self._parameters if p.grad is not None]

    def factor(self, log_weight: float, count: int = 1) -> float:
        """What the gradient of a sample, which stands for ``count`` equal ones, is multiplied by as
        it is added. ``log_weight`` has to be finite."""
        if log_weight > self._reference + self._slack:
            rescale = exp(self._reference - log_weight) if self._reference > -inf else 0.0
            self._scale(rescale)
            self._sum += self._reference - log_weight if self._reference > -inf else 0.0
            self._reference = log_weight
        above = log_weight - self._reference
        self._sum = _log_add(self._sum, above + log(count))
        return count * exp(above)

    def finish(self) -> None:
        """Divide by the sum of all weights. At least one sample is needed."""
        self._scale(exp(-self._sum))

    def _scale(self, by: float) -> None:
        held = self.held
        if not held:
            return
        if by == 0.0:
            torch._foreach_zero_(held)
        elif by != 1.0:
            torch._foreach_mul_(held, by)


def _log_add(a: float, b: float) -> float:
    high, low = max(a, b), min(a, b)
    return high if low == -inf else high + log(1.0 + exp(low - high))
