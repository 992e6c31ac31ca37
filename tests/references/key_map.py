"""From state-dict keys of pytorchvideo to those of the compiled specs.

The maps are written down here by hand, pattern by pattern; nothing is matched by order or shape.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

Rules = Sequence[tuple[str, str]]

_BLOCK: Rules = (
    (r"branch1_conv", "projection.conv"),
    (r"branch1_norm", "projection.bn"),
    (r"branch2\.conv_a", "conv1"),
    (r"branch2\.norm_a", "bn1"),
    (r"branch2\.conv_b", "conv2"),
    (r"branch2\.norm_b\.1\.block\.0", "squeeze_excite.conv1"),
    (r"branch2\.norm_b\.1\.block\.2", "squeeze_excite.conv2"),
    (r"branch2\.norm_b(\.0)?", "bn2"),
    (r"branch2\.conv_c", "conv3"),
    (r"branch2\.norm_c", "bn3"),
)

#: pytorchvideo calls the spatial convolution of the stem conv_t, and the other one conv_xy.
X3D: Rules = (
    (r"blocks\.0\.conv\.conv_t", "main.stem.conv1"),
    (r"blocks\.0\.conv\.conv_xy", "main.stem.conv2"),
    (r"blocks\.0\.norm", "main.stem.bn"),
    (r"blocks\.([1-4])\.res_blocks\.(\d+)", r"main.s\1.\2"),
    *_BLOCK,
    (r"blocks\.5\.pool\.pre_conv", "head.x3d_head.conv1"),
    (r"blocks\.5\.pool\.pre_norm", "head.x3d_head.bn"),
    (r"blocks\.5\.pool\.post_conv", "head.x3d_head.conv2"),
    (r"blocks\.5\.proj", "head.x3d_head.linear"),
)

SLOWFAST: Rules = (
    (r"blocks\.(\d)\.multipathway_blocks\.0", r"slow.\1"),
    (r"blocks\.(\d)\.multipathway_blocks\.1", r"fast.\1"),
    (r"blocks\.(\d)\.multipathway_fusion", r"fuse.fast_to_slow.\1"),
    (r"(slow|fast|fast_to_slow)\.0", r"\1.stem"),
    (r"(slow|fast|fast_to_slow)\.1", r"\1.res2"),
    (r"(slow|fast|fast_to_slow)\.2", r"\1.res3"),
    (r"(slow|fast|fast_to_slow)\.3", r"\1.res4"),
    (r"(slow|fast|fast_to_slow)\.4", r"\1.res5"),
    (r"res_blocks\.(\d+)", r"\1"),
    *_BLOCK,
    (r"conv_fast_to_slow", "conv"),
    (r"norm", "bn"),
    (r"blocks\.6\.proj", "head.slowfast_head.linear"),
)


def renamed(key: str, rules: Rules) -> str:
    """A key after all rules, in order. A pattern matches whole segments of a key."""
    for pattern, replacement in rules:
        key = re.sub(rf"(?<![^.]){pattern}(?![^.])", replacement, key)
    return key


def translate(state: Mapping[str, Tensor], rules: Rules) -> dict[str, Tensor]:
    """A state dict under the compiled network's keys; no two keys become one."""
    translated = {renamed(key, rules): tensor for key, tensor in state.items()}
    assert len(translated) == len(state)
    return translated


@torch.no_grad()
def randomise(net: nn.Module, seed: int) -> None:
    """Random weights everywhere, statistics and affine parameters of normalisation included, of a
    size that keeps activations near 1."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(tensor: Tensor, low: float, high: float) -> None:
        values = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
        tensor.copy_(values * (high - low) + low)

    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm3d):
            assert module.running_mean is not None and module.running_var is not None
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
