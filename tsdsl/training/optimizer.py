"""torch optimisers for the optimiser settings of `tsdsl.sema.sections`."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tsdsl.backends.elastic import Elastic
from tsdsl.sema.sections import Optimizer, Sgd

#: Layers whose scales and shifts have no weight decay, as in the recipe's library
#: (``bn_weight_decay`` of ClassyVision's classy_vision/tasks/classification_task.py) and in
#: PySlowFast (``BN.WEIGHT_DECAY`` of slowfast/config/defaults.py).
NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


def make_optimizer(net: nn.Module, asked: Optimizer, lr: float) -> torch.optim.Optimizer:
    """An optimiser with weight decay for all parameters except those of normalisation layers. In a
    supernet, the tensors of a layer are in an `Elastic`, which knows the layer's class."""
    norms = {
        id(p)
        for module in net.modules()
        if _normalises(module)
        for p in module.parameters(recurse=False)
    }
    parameters = [p for p in net.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if id(p) not in norms]},
        {"params": [p for p in parameters if id(p) in norms], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    decay = asked.weight_decay
    if isinstance(asked, Sgd):
        # torch rejects Nesterov momentum without momentum. Both then are plain SGD.
        nesterov = asked.nesterov and asked.momentum > 0
        return torch.optim.SGD(
            groups, lr=lr, momentum=asked.momentum, weight_decay=decay, nesterov=nesterov
        )
    betas = (asked.beta1, asked.beta2)
    return torch.optim.Adam(groups, lr=lr, betas=betas, weight_decay=decay)


def _normalises(module: nn.Module) -> bool:
    if isinstance(module, Elastic):
        return any(issubclass(layer, NORMS) for layer in module.layers)
    return isinstance(module, NORMS)


def moving_average(net: nn.Module, decay: float) -> AveragedModel:
    """A copy of the network for its exponential moving average: after each step, parameters and
    running statistics become ``decay`` x their own + (1 - ``decay``) x the network's. The first
    step copies them."""
    rule = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(net, multi_avg_fn=rule, use_buffers=True)
