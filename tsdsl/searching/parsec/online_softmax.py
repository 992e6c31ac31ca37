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
    end. What no sample touched stays None. ``slack`` 0 keeps every factor at most ``count``.

    For a sample in parts: `set_aside`, backward passes of the parts of ``f``, then `add`."""

    def __init__(self, parameters: Iterable[Tensor], slack: float = SLACK) -> None:
        self._parameters = list(parameters)
        self._slack = slack
        self._reference = -inf
        #: log of the sum of all count * exp(l - reference).
        self._sum = -inf
        #: By parameter, while ``.grad`` holds the gradient of one sample alone.
        self._aside: list[Tensor | None] | None = None

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

    def set_aside(self) -> None:
        """Make ``.grad`` None, for that of one sample alone."""
        self._aside = [p.grad for p in self._parameters]
        for parameter in self._parameters:
            parameter.grad = None

    def add(self, log_weight: float, count: int = 1, by: float = 1.0) -> None:
        """Add the gradient in ``.grad``, times ``by``, of a sample that `factor` would be asked
        of, to what was set aside."""
        factor = by * self.factor(log_weight, count)
        assert self._aside is not None
        sums, own, alone = [], [], []
        for parameter, held in zip(self._parameters, self._aside, strict=True):
            if held is None:
                alone += [parameter.grad] if parameter.grad is not None else []
                continue
            if parameter.grad is not None:
                sums.append(held)
                own.append(parameter.grad)
            parameter.grad = held
        self._aside = None
        if alone:
            torch._foreach_mul_(alone, factor)
        if own:
            torch._foreach_add_(sums, own, alpha=factor)

    def finish(self) -> None:
        """Divide by the sum of all weights. At least one sample is needed."""
        self._scale(exp(-self._sum))

    def _scale(self, by: float) -> None:
        held = [g for g in self._aside if g is not None] if self._aside else self.held
        if not held:
            return
        if by == 0.0:
            torch._foreach_zero_(held)
        elif by != 1.0:
            torch._foreach_mul_(held, by)


def _log_add(a: float, b: float) -> float:
    high, low = max(a, b), min(a, b)
    return high if low == -inf else high + log(1.0 + exp(low - high))
