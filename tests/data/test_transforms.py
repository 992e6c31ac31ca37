"""Transforms against slicing, Pillow, and each other."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from tsdsl.data import transforms
from tsdsl.data.augmentations import AUGMENTATIONS
from tsdsl.data.autoaugment import OPERATIONS, SUB_POLICIES, auto_augment
from tsdsl.data.dataset import generator_of
from tsdsl.data.transforms import (
    EvalTransform,
    TrainTransform,
    center_crop,
    normalise,
    resize_short_side,
    three_crops,
)
from tsdsl.sema.sections import Train


def clip(height: int, width: int, frames: int = 3) -> torch.Tensor:
    """clip_CTHW of noise."""
    generator = torch.Generator().manual_seed(height * width)
    return torch.randint(0, 256, (3, frames, height, width), generator=generator, dtype=torch.uint8)


def test_crops_are_slices() -> None:
    wide, tall = clip(20, 33), clip(33, 20)
    left, middle, right = three_crops(wide, 20)
    assert torch.equal(left, wide[..., :20]) and torch.equal(right, wide[..., 13:])
    assert torch.equal(middle, wide[..., 7:27])
    top, middle, bottom = three_crops(tall, 20)
    assert torch.equal(top, tall[..., :20, :]) and torch.equal(bottom, tall[..., 13:, :])
    assert torch.equal(middle, tall[..., 7:27, :])
    assert torch.equal(center_crop(wide, 10), wide[..., 5:15, 12:22])


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [((48, 64), 24, (24, 32)), ((64, 48), 24, (32, 24)), ((47, 65), 20, (20, 27)),
     ((30, 30), 45, (45, 45)), ((24, 31), 24, (24, 31))],
)  # fmt: skip
def test_resize(shape: tuple[int, int], size: int, expected: tuple[int, int]) -> None:
    """Pillow's bilinear filter is antialiased, too."""
    source = clip(*shape)
    found = resize_short_side(source, size)
    assert found.dtype == torch.uint8 and tuple(found.shape[-2:]) == expected
    for t in range(3):
        image = Image.fromarray(source[:, t].permute(1, 2, 0).numpy())
        other = np.asarray(image.resize(expected[::-1], Image.Resampling.BILINEAR)).astype(int)
        assert np.abs(found[:, t].permute(1, 2, 0).numpy() - other).max() <= 2


def test_normalise() -> None:
    found = normalise(torch.tensor([0, 51, 255], dtype=torch.uint8))
    assert found.tolist() == pytest.approx([-2.0, (0.2 - 0.45) / 0.225, 0.55 / 0.225])


def test_training_draws_everything_from_the_generator() -> None:
    source = clip(40, 60)
    transform = TrainTransform(24, 28, 36, augment="autoaugment")
    first = transform(source, generator_of(1, 2))
    torch.manual_seed(99)
    assert torch.equal(first, transform(source, generator_of(1, 2)))
    assert first.shape == (3, 3, 24, 24) and first.dtype == torch.uint8
    assert any(not torch.equal(first, transform(source, generator_of(1, k))) for k in range(3, 6))


def test_without_jitter_a_training_crop_is_a_slice_or_its_mirror() -> None:
    source = clip(10, 14)
    slices = {}
    for top in range(3):
        for left in range(7):
            view = source[..., top : top + 8, left : left + 8]
            slices[view.numpy().tobytes()] = (top, left, False)
            slices[view.flip(-1).contiguous().numpy().tobytes()] = (top, left, True)
    transform = TrainTransform(8, 10, 10)
    met = {slices[transform(source, generator_of(0, k)).numpy().tobytes()] for k in range(300)}
    assert len(met) > 35, "42 places and directions"
    for size in (TrainTransform(8, 10, 10, flip=0.0), TrainTransform(8, 10, 10, flip=1.0)):
        places = {slices[size(source, generator_of(0, k)).numpy().tobytes()][2] for k in range(20)}
        assert places == {size.flip == 1.0}


def test_jitter_takes_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def noted(clip_CTHW: torch.Tensor, size: int) -> torch.Tensor:
        sizes.append(size)
        return resize_short_side(clip_CTHW, size)

    monkeypatch.setattr(transforms, "resize_short_side", noted)
    for k in range(60):
        TrainTransform(16, 20, 24)(clip(30, 40), generator_of(0, k))
    assert set(sizes) == {20, 21, 22, 23, 24}


def test_evaluation_views() -> None:
    source = clip(20, 33)
    assert [v.tolist() for v in EvalTransform(20, 3)(source)] == [
        v.tolist() for v in three_crops(source, 20)
    ]
    (one,) = EvalTransform(10)(source)
    assert torch.equal(one, center_crop(resize_short_side(source, 10), 10))


def test_autoaugment_treats_every_frame_alike() -> None:
    source = clip(32, 32, frames=1).repeat(1, 4, 1, 1)
    changed = 0
    for k in range(60):
        found = auto_augment(source, generator_of(7, k))
        assert found.shape == source.shape and found.dtype == torch.uint8
        assert all(torch.equal(found[:, 0], found[:, t]) for t in range(4))
        changed += not torch.equal(found, source)
    assert changed > 30


def test_autoaugment_draws_as_many_numbers_whatever_happens() -> None:
    source = clip(8, 8, frames=1)
    after = set()
    for k in range(20):
        generator = generator_of(3, k)
        auto_augment(source, generator)
        fresh = generator_of(3, k)
        torch.rand(5, generator=fresh, dtype=torch.float64)
        after.add(
            torch.rand(1, generator=generator).item() == torch.rand(1, generator=fresh).item()
        )
    assert after == {True}


def test_policy() -> None:
    assert len(SUB_POLICIES) == 24
    assert len(set(SUB_POLICIES)) == 20
    assert {name for pair in SUB_POLICIES for name, _, _ in pair} == set(OPERATIONS)


def test_operations() -> None:
    image = Image.fromarray(clip(16, 16)[:, 0].permute(1, 2, 0).numpy())
    assert np.array_equal(OPERATIONS["solarize"](image, 0, 1), image)
    assert np.array_equal(OPERATIONS["solarize"](image, 9, 1), ImageOps.invert(image))
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).convert("RGB")
    for level in range(10):
        turned = np.asarray(OPERATIONS["solarize"](ramp, level, 1))[..., 0].ravel()
        below = np.arange(256) < np.linspace(256, 0, 10)[level]
        assert np.array_equal(turned, np.where(below, np.arange(256), 255 - np.arange(256)))
        bits = np.unique(np.asarray(OPERATIONS["posterize"](ramp, level, 1))).size
        assert bits == 2 ** round(np.linspace(8, 4, 10)[level])
    assert np.array_equal(OPERATIONS["posterize"](image, 9, 1), np.asarray(image) & 0xF0)
    for name in ("rotate", "shear_x", "color", "contrast", "sharpness"):
        assert np.array_equal(OPERATIONS[name](image, 0, 1), image), name
        one, other = (np.asarray(OPERATIONS[name](image, 9, sign)) for sign in (1, -1))
        assert not np.array_equal(one, other), name


def test_the_spec_can_name_exactly_the_registered_augmentations() -> None:
    assert get_args(Train.model_fields["augment"].annotation) == tuple(AUGMENTATIONS)
