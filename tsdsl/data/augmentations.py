"""The augmentations that ``train { augment = ... }`` can name.

An augmentation takes a square clip_CTHW (uint8) and a generator, and returns a clip of the same
shape. One draw applies to all frames. To add one, write it in a file of its own, add a line here,
and add its name to `Train.augment` in `tsdsl/sema/sections.py`, which cannot import this file
because checking a spec needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from tsdsl.data.autoaugment import auto_augment

Augmentation = Callable[[Tensor, torch.Generator], Tensor]


def keep(clip_CTHW: Tensor, generator: torch.Generator) -> Tensor:
    """Return the clip unchanged, without a draw."""
    return clip_CTHW


#: Name in the spec -> augmentation.
AUGMENTATIONS: Mapping[str, Augmentation] = {"none": keep, "autoaugment": auto_augment}
