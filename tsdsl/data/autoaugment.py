"""AutoAugment's ImageNet policy on clips: one draw for all frames, with Pillow's operations.

Cubuk et al., CVPR 2019 (arXiv 1805.09501), table 9, as ClassyVision carries it
(facebookresearch/ClassyVision, classy_vision/dataset/transforms/autoaugment.py), whose recipe this
is: 24 sub-policies, where torchvision lists 25 (it has ``equalize 0.8, equalize 0.6`` a second time
at the end; four others are there twice in both). Of two operations, each is applied with its
probability; the sign of a magnitude that has one is drawn.

Where the two libraries differ, ours is named here: solarize has thresholds from 256 to 0
(ClassyVision; torchvision from 255), shear is bicubic around the left edge and fills with grey 128,
rotation fills with grey 128 and goes *either way* (torchvision and the paper's code; ClassyVision
always turns the same way).
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

_GREY = (128, 128, 128)

#: (operation, level from 0 to 9, probability).
Operation = tuple[str, int, float]
SUB_POLICIES: tuple[tuple[Operation, Operation], ...] = (
    (("posterize", 8, 0.4), ("rotate", 9, 0.6)),
    (("solarize", 5, 0.6), ("autocontrast", 5, 0.6)),
    (("equalize", 8, 0.8), ("equalize", 3, 0.6)),
    (("posterize", 7, 0.6), ("posterize", 6, 0.6)),
    (("equalize", 7, 0.4), ("solarize", 4, 0.2)),
    (("equalize", 4, 0.4), ("rotate", 8, 0.8)),
    (("solarize", 3, 0.6), ("equalize", 7, 0.6)),
    (("posterize", 5, 0.8), ("equalize", 2, 1.0)),
    (("rotate", 3, 0.2), ("solarize", 8, 0.6)),
    (("equalize", 8, 0.6), ("posterize", 6, 0.4)),
    (("rotate", 8, 0.8), ("color", 0, 0.4)),
    (("rotate", 9, 0.4), ("equalize", 2, 0.6)),
    (("equalize", 7, 0.0), ("equalize", 8, 0.8)),
    (("invert", 4, 0.6), ("equalize", 8, 1.0)),
    (("color", 4, 0.6), ("contrast", 8, 1.0)),
    (("rotate", 8, 0.8), ("color", 2, 1.0)),
    (("color", 8, 0.8), ("solarize", 7, 0.8)),
    (("sharpness", 7, 0.4), ("invert", 8, 0.6)),
    (("shear_x", 5, 0.6), ("equalize", 9, 1.0)),
    (("color", 0, 0.4), ("equalize", 3, 0.6)),
    (("equalize", 7, 0.4), ("solarize", 4, 0.2)),
    (("solarize", 5, 0.6), ("autocontrast", 5, 0.6)),
    (("invert", 4, 0.6), ("equalize", 8, 1.0)),
    (("color", 4, 0.6), ("contrast", 8, 1.0)),
)


def _shear_x(image: Image.Image, level: int, sign: int) -> Image.Image:
    matrix = (1.0, sign * 0.3 * level / 9, 0.0, 0.0, 1.0, 0.0)
    return image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC, fillcolor=_GREY
    )


#: Operation -> the function that applies it at a level and with a sign (+1 or -1).
OPERATIONS: dict[str, Callable[[Image.Image, int, int], Image.Image]] = {
    "shear_x": _shear_x,
    "rotate": lambda image, level, sign: image.rotate(sign * 30 * level / 9, fillcolor=_GREY),
    "color": lambda image, level, sign: ImageEnhance.Color(image).enhance(1 + sign * level / 10),
    "contrast": lambda image, level, sign: ImageEnhance.Contrast(image).enhance(
        1 + sign * level / 10
    ),
    "sharpness": lambda image, level, sign: ImageEnhance.Sharpness(image).enhance(
        1 + sign * level / 10
    ),
    "posterize": lambda image, level, sign: ImageOps.posterize(image, round(8 - 4 * level / 9)),
    "solarize": lambda image, level, sign: ImageOps.solarize(image, ceil(256 * (9 - level) / 9)),
    "autocontrast": lambda image, level, sign: ImageOps.autocontrast(image),
    "equalize": lambda image, level, sign: ImageOps.equalize(image),
    "invert": lambda image, level, sign: ImageOps.invert(image),
}


def auto_augment(clip_CTHW: Tensor, generator: torch.Generator) -> Tensor:
    """Apply one randomly chosen sub-policy to all frames of a uint8 clip with 3 channels. Draws
    five numbers from the generator, whatever is applied."""
    assert clip_CTHW.dtype == torch.uint8 and clip_CTHW.shape[0] == 3, clip_CTHW.shape
    draws = torch.rand(5, generator=generator, dtype=torch.float64).tolist()
    policy = SUB_POLICIES[int(draws[0] * len(SUB_POLICIES))]
    chosen = [
        (OPERATIONS[name], level, 1 if sign < 0.5 else -1)
        for (name, level, chance), draw, sign in zip(policy, draws[1:3], draws[3:], strict=True)
        if draw < chance
    ]
    if not chosen:
        return clip_CTHW
    frames = []
    for frame_HWC in clip_CTHW.permute(1, 2, 3, 0).contiguous().numpy():
        image = Image.fromarray(frame_HWC)
        for operation, level, sign in chosen:
            image = operation(image, level, sign)
        frames.append(np.asarray(image))
    return torch.from_numpy(np.stack(frames)).permute(3, 0, 1, 2)
