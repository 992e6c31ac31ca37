"""pytorchvideo's networks, without the torchvision that it imports and they do not use."""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def _stub() -> Iterator[None]:
    vision, ops = types.ModuleType("torchvision"), types.ModuleType("torchvision.ops")
    stub = {} if "torchvision" in sys.modules else {vision.__name__: vision, ops.__name__: ops}
    vars(vision)["ops"] = ops
    vars(ops)["RoIAlign"] = object
    sys.modules.update(stub)
    try:
        with warnings.catch_warnings():
            # fvcore scripts a function when it is imported, which torch deprecates.
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        for name in stub:
            del sys.modules[name]


def x3d(frames: int, crop: int, depth_factor: float) -> Any:
    """An X3D network. Raises `ImportError`."""
    with _stub():
        from pytorchvideo.models.x3d import create_x3d
    return create_x3d(
        input_clip_length=frames,
        input_crop_size=crop,
        model_num_class=400,
        depth_factor=depth_factor,
        head_activation=None,
    )


def slowfast_4x16(crop: int) -> Any:
    """SlowFast 4x16 for 32 frames, of which the slow pathway takes every 8th. Raises
    `ImportError`."""
    with _stub():
        from pytorchvideo.models.slowfast import create_slowfast
    side = -(-crop // 32)
    return create_slowfast(
        slowfast_channel_reduction_ratio=(8,),
        slowfast_fusion_conv_kernel_size=(5, 1, 1),
        slowfast_fusion_conv_stride=(8, 1, 1),
        head_pool_kernel_sizes=((4, side, side), (32, side, side)),
    )
