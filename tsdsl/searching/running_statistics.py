"""Running statistics of batch normalisations, estimated anew for one architecture.

Those in a supernet are what all architectures have left in them; a network that is frozen from it
needs its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from math import ceil

import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from tsdsl.data.loader import TrainLoader
from tsdsl.data.transforms import normalise


def reestimate(
    net: nn.Module, loader: TrainLoader, batches: int, first: int, device: torch.device
) -> None:
    """Give batch normalisations the running statistics of ``batches`` training batches: those of
    the epochs from ``first`` on. Parameters stay."""
    dtype = next(net.parameters()).dtype

    def clips() -> Iterator[torch.Tensor]:
        for epoch in range(ceil(batches / len(loader))):
            for batch in loader.epoch(first + epoch):
                yield normalise(batch.clips_NCTHW.to(device), dtype)

    update_bn(islice(clips(), batches), net)
