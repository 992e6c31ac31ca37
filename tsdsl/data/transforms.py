"""What happens to a clip between the decoder and the network. Clips are uint8 until `normalise`.

Training, as the recipe of Auto-TSNet has it (Gong et al., ICCV 2021, supplement, section 3): the
short side is resized to a length drawn from a range, a square is cropped at random, half of the
clips are flipped, AutoAugment with one draw. Where AutoAugment stands is not in print; here it
comes last, on the fewest pixels. Evaluation: the short side is resized, to the crop's if nothing
else is said, one or three crops.

Resizing is bilinear *with antialiasing*, rounded to uint8. PySlowFast interpolates without it,
which differs when a video is made smaller.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tsdsl.data.augmentations import AUGMENTATIONS
from tsdsl.record import Record

#: Mean and standard deviation of Kinetics, for each of R, G, B in [0, 1]: DATA.MEAN and DATA.STD of
#: slowfast/config/defaults.py (facebookresearch/SlowFast).
MEAN, STD = 0.45, 0.225


def normalise(clips: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Returns (x / 255 - mean) / std, of the same shape. Best called on the device of the
    network."""
    return clips.to(dtype).div_(255.0).sub_(MEAN).div_(STD)


def resize_short_side(clip_CTHW: Tensor, size: int) -> Tensor:
    """Resize so that the shorter side has ``size`` pixels; the longer side is rounded down."""
    height, width = clip_CTHW.shape[-2:]
    if min(height, width) == size:
        return clip_CTHW
    shape = (height * size // min(height, width), width * size // min(height, width))
    frames_TCHW = clip_CTHW.transpose(0, 1)
    resized = F.interpolate(
        frames_TCHW, shape, mode="bilinear", align_corners=False, antialias=True
    )
    return resized.transpose(0, 1)


def crop(clip_CTHW: Tensor, top: int, left: int, size: int) -> Tensor:
    """A square of ``size`` pixels, as a view."""
    height, width = clip_CTHW.shape[-2:]
    assert 0 <= top <= height - size and 0 <= left <= width - size, (top, left, size)
    return clip_CTHW[..., top : top + size, left : left + size]


def center_crop(clip_CTHW: Tensor, size: int) -> Tensor:
    return three_crops(clip_CTHW, size)[1]


def three_crops(clip_CTHW: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Three squares along the longer side: left, centre, right (top, centre, bottom in portrait
    format).

    The centre is rounded up, as in ``uniform_crop`` of slowfast/datasets/transform.py.
    """
    height, width = clip_CTHW.shape[-2:]
    top, left = (height - size + 1) // 2, (width - size + 1) // 2
    if height > width:
        return tuple(crop(clip_CTHW, at, left, size) for at in (0, top, height - size))  # type: ignore[return-value]
    return tuple(crop(clip_CTHW, top, at, size) for at in (0, left, width - size))  # type: ignore[return-value]


class TrainTransform(Record, eq=True):
    """Random transform for training. The short side is drawn from ``low`` to ``high`` pixels, both
    included; ``size`` is the side of the square crop in pixels; ``flip`` is a probability."""

    size: int
    low: int
    high: int
    flip: float = 0.5
    #: A key of `AUGMENTATIONS`.
    augment: str = "none"

    def __call__(self, clip_CTHW: Tensor, generator: torch.Generator) -> Tensor:
        """Transform clip_CTHW (uint8) into a square one. The number of draws is constant."""
        assert self.size <= self.low <= self.high
        jitter, down, right, mirror = torch.rand(
            4, generator=generator, dtype=torch.float64
        ).tolist()
        clip = resize_short_side(clip_CTHW, self.low + int(jitter * (self.high - self.low + 1)))
        height, width = clip.shape[-2:]
        top, left = (int(at * (n - self.size + 1)) for at, n in ((down, height), (right, width)))
        clip = crop(clip, top, left, self.size)
        if mirror < self.flip:
            clip = clip.flip(-1)
        return AUGMENTATIONS[self.augment](clip, generator).contiguous()


class EvalTransform(Record, eq=True):
    """Resizes the short side to ``short_side`` pixels (default: ``size``) and takes the centre crop
    or three crops of ``size`` pixels."""

    size: int
    crops: int = 1
    short_side: int | None = None

    def __call__(self, clip_CTHW: Tensor) -> list[Tensor]:
        """clip_CTHW of each crop."""
        assert self.crops in (1, 3)
        clip = resize_short_side(clip_CTHW, self.short_side or self.size)
        views = three_crops(clip, self.size) if self.crops == 3 else (center_crop(clip, self.size),)
        return [view.contiguous() for view in views]
