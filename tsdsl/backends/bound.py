"""An operation in one of its configurations, ready to run on its part of the tensors that all
architectures share."""

from __future__ import annotations

from copy import copy
from typing import Any, cast

import torch
from torch import Tensor, nn

from tsdsl.analysis.costs.cost_table import Configuration
from tsdsl.backends.elastic import Elastic, run, template
from tsdsl.backends.placed import Leaf, PlacedGradients


class Bound:
    """``bound(*inputs)``, the operation's result.

    Usually the part is cut out anew by slices that autograd knows of. Inside of `placing`, a layer
    of its own has it: made once, out of views."""

    def __init__(self, asked: Configuration, elastic: Elastic, gradients: PlacedGradients) -> None:
        self._template = template(asked)
        self._elastic = elastic
        self._parts = elastic.parts(asked)
        self._gradients = gradients

    def __call__(self, *inputs: Tensor) -> Tensor:
        gradients = self._gradients
        if not gradients.active:
            return run(self._template, self._elastic, self._parts, *inputs)
        module, layer, leaves = gradients.keep(self, self._made)
        if torch.is_grad_enabled():
            for leaf in leaves:
                gradients.take(leaf)
        if layer.training is not self._elastic.training:
            layer.training = self._elastic.training
        result: Tensor = module.forward(*inputs)
        return result

    def _made(self) -> tuple[Any, Any, list[Leaf]]:
        """A module, its layer, and what of that learns and is a part only."""
        module, layer = _twin(self._template), _twin(cast(nn.Module, self._template.layer))
        module._modules["layer"] = layer
        leaves = []
        for name, learned, at in self._parts:
            whole = (self._elastic._parameters if learned else self._elastic._buffers)[name]
            assert whole is not None
            if at is None:
                part = whole
            elif learned and whole.requires_grad:
                leaves.append(leaf := Leaf(whole, at))
                part = leaf.part
            else:
                part = whole.detach()[at]
            (layer._parameters if learned else layer._buffers)[name] = cast(Any, part)
        return module, layer, leaves


def _twin(module: nn.Module) -> nn.Module:
    """A module of the same attributes, with tensors and modules of its own."""
    twin = copy(module)
    for name in ("_parameters", "_buffers", "_modules"):
        twin.__dict__[name] = dict(module.__dict__[name])
    return twin
