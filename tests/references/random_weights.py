"""Random weights, statistics of normalisation included."""

from __future__ import annotations

import torch
from torch import Tensor, nn


@torch.no_grad()
def randomise(net: nn.Module, seed: int) -> None:
    """Randomise all weights, including statistics and affine parameters of normalisations, with a
    scale that keeps activations near 1."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(tensor: Tensor, low: float, high: float) -> None:
        values = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
        tensor.copy_(values * (high - low) + low)

    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm3d):
            assert module.running_mean is not None and module.running_var is not None
            if module.affine:
                uniform(module.weight, 0.5, 1.5)
                uniform(module.bias, -0.5, 0.5)
            uniform(module.running_mean, -0.5, 0.5)
            uniform(module.running_var, 0.5, 1.5)
        elif isinstance(module, nn.Conv3d | nn.Conv1d | nn.Linear):
            fan_in = module.weight[0].numel()
            size = (3 / fan_in) ** 0.5
            uniform(module.weight, -size, size)
            if module.bias is not None:
                uniform(module.bias, -0.5, 0.5)
