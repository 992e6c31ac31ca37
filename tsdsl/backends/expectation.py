"""The expected cost of a space as a differentiable torch function of the logits of its decisions.

Value and gradient are exact. Both are computed in float64 by the elimination that
`Space.expectation` runs; the result has the dtype and device of the logits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from tsdsl.analysis.costs.cost import Cost
from tsdsl.analysis.elimination.cache import query_cache
from tsdsl.analysis.elimination.expectation import Expectation
from tsdsl.analysis.logits import Floats, LogitLayout, log_softmax, softmax
from tsdsl.ir.space import SpaceGraph


class ExpectedCost:
    """``ExpectedCost(space.graph, MACS)(logits)``: a scalar that can be differentiated once.

    ``logits`` is a mapping from decision path to tensor, or one tensor of all logits concatenated.
    The probability of an architecture is the product of the probabilities of its active decisions'
    options, conditioned on all requirements.
    """

    def __init__(self, space: SpaceGraph, cost: Cost) -> None:
        self.layout = LogitLayout.of(space)
        self._means = query_cache(space).expectation(cost)

    def __call__(self, logits: Tensor | Mapping[str, Tensor]) -> Tensor:
        if isinstance(logits, Mapping):
            logits = torch.cat([logits[path].reshape(-1) for path in self.layout.paths])
        if logits.shape != (int(self.layout.starts[-1]),):
            wanted = int(self.layout.starts[-1])
            raise ValueError(f"{wanted} logits are needed, not {tuple(logits.shape)}")
        result: Tensor = _Expected.apply(logits, self._means, self.layout)  # type: ignore[no-untyped-call]
        return result


class _Expected(Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, means: Expectation, layout: LogitLayout) -> Tensor:
        flat = logits.detach().to("cpu", torch.float64).numpy()
        probabilities = softmax(np.asarray(flat), layout)

        def logs() -> Floats:
            return log_softmax(np.asarray(flat), layout)

        if ctx.needs_input_grad[0]:
            mean, pull = means.gradient(probabilities, logs)
            ctx.save_for_backward(torch.from_numpy(pull).to(logits.device, logits.dtype))
        else:
            mean = means.mean(probabilities, logs)
        return logits.new_tensor(mean)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None, None]:
        (pull,) = ctx.saved_tensors
        return above * pull, None, None
