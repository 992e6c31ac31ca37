"""The specs of X3D and SlowFast are pytorchvideo's networks: same weights, same logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from cases import swept
from random_weights import randomise
from torch import Tensor, nn

import tsdsl
from tsdsl.weights.weight_files import StoredWeights, load_into

SPECS = Path(__file__).resolve().parents[2] / "specs"
TOLERANCE = 1e-10

#: Name -> arguments of pytorchvideo's builder.
X3D_FAMILY: dict[str, dict[str, Any]] = {
    "x3d_xs": {"input_clip_length": 4, "depth_factor": 2.2},
    "x3d_s": {"input_clip_length": 13, "depth_factor": 2.2},
    "x3d_m": {"input_clip_length": 16, "depth_factor": 2.2},
    "x3d_l": {"input_clip_length": 16, "depth_factor": 5.0},
}
#: Name -> (alpha, lateral kernel).
SLOWFAST_FAMILY = {"slowfast_r50_4x16": (8, 5), "slowfast_r50_8x8": (4, 7)}


def x3d(name: str, crop: int, **changes: Any) -> nn.Module:
    from pytorchvideo.models.x3d import create_x3d

    # Releases differ in whether the head ends in a softmax by default.
    options = {"head_activation": None, **X3D_FAMILY[name], **changes}
    return create_x3d(input_crop_size=crop, **options)


def slowfast(name: str, crop: int, **changes: Any) -> nn.Module:
    from pytorchvideo.models.slowfast import create_slowfast

    alpha, kernel = SLOWFAST_FAMILY[name]
    side = -(-crop // 32)
    return create_slowfast(
        slowfast_channel_reduction_ratio=(8,),
        slowfast_fusion_conv_kernel_size=(kernel, 1, 1),
        slowfast_fusion_conv_stride=(alpha, 1, 1),
        head_pool_kernel_sizes=((32 // alpha, side, side), (32, side, side)),
        **changes,
    )


def moved(theirs: nn.Module, spec: str, **params: Any) -> nn.Module:
    """The compiled spec with the weights of ``theirs``, in float64."""
    randomise(theirs.double().eval(), seed=len(spec))
    ours = tsdsl.compile(tsdsl.load(SPECS / f"{spec}.tsnet", set=params)).double().eval()
    load_into(ours, StoredWeights(theirs.state_dict()))
    return ours


def clip(frames: int, crop: int) -> Tensor:
    """Two clips that differ in contrast, so that their logits differ."""
    generator = torch.Generator().manual_seed(crop)
    clip_NCTHW = torch.randn(2, 3, frames, crop, crop, generator=generator, dtype=torch.float64)
    clip_NCTHW[1] *= 3
    return clip_NCTHW


@torch.no_grad()
def assert_equal_logits(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    # Guards against two networks that agree because neither depends on its input.
    assert (theirs[0] - theirs[1]).abs().max() > 1e-2 * theirs.abs().max()
    assert (ours - theirs).abs().max() <= TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "crop"),
    [
        ("x3d_xs", 64),
        ("x3d_s", 64),
        ("x3d_s", 160),
        ("x3d_m", 64),
        ("x3d_l", 64),
        swept("x3d_m", 224),
        swept("x3d_l", 312),
    ],
)
def test_x3d_of_pytorchvideo(name: str, crop: int) -> None:
    theirs = x3d(name, crop)
    ours = moved(theirs, name, crop=crop, pytorchvideo_shortcut=True)
    clip_NCTHW = clip(X3D_FAMILY[name]["input_clip_length"], crop)
    assert_equal_logits(ours(clip_NCTHW), theirs(clip_NCTHW))


@torch.no_grad()
def test_x3d_with_every_shortcut_normalised() -> None:
    """SlowFast's variant is pytorchvideo's with one more normalisation."""
    theirs = x3d("x3d_s", 64)
    theirs.blocks[1].res_blocks[0].branch1_norm = nn.BatchNorm3d(24)
    ours = moved(theirs, "x3d_s", crop=64)
    clip_NCTHW = clip(13, 64)
    assert_equal_logits(ours(clip_NCTHW), theirs(clip_NCTHW))


@torch.no_grad()
def test_x3d_tested_with_the_pool_of_the_train_crop() -> None:
    theirs = x3d("x3d_xs", 160, head_activation=nn.Softmax)
    ours = moved(
        theirs, "x3d_xs", crop=182, pytorchvideo_shortcut=True, head_pool_of_train_crop=True
    )
    clip_NCTHW = clip(4, 182)
    scores = ours(clip_NCTHW)
    assert_equal_logits(scores, theirs(clip_NCTHW))
    torch.testing.assert_close(scores.sum(1), torch.ones(2, dtype=torch.float64))


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "crop"),
    [
        ("slowfast_r50_4x16", 32),
        ("slowfast_r50_8x8", 48),
        swept("slowfast_r50_4x16", 224),
        swept("slowfast_r50_8x8", 224),
    ],
)
def test_slowfast_of_pytorchvideo(name: str, crop: int) -> None:
    theirs = slowfast(name, crop)
    ours = moved(theirs, name, crop=crop)
    clip_NCTHW = clip(32, crop)
    alpha, _ = SLOWFAST_FAMILY[name]
    # pytorchvideo modifies the list that it is given.
    assert_equal_logits(ours(clip_NCTHW), theirs([clip_NCTHW[:, :, ::alpha], clip_NCTHW]))


@torch.no_grad()
def test_slowfast_tested_with_the_pool_of_the_train_crop() -> None:
    name = "slowfast_r50_4x16"
    theirs = slowfast(name, 32, head_activation=nn.Softmax)
    ours = moved(theirs, name, crop=48, train_crop=32, head_pool_of_train_crop=True)
    clip_NCTHW = clip(32, 48)
    scores = ours(clip_NCTHW)
    assert_equal_logits(scores, theirs([clip_NCTHW[:, :, ::8], clip_NCTHW]))
    torch.testing.assert_close(scores.sum(1), torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("name", X3D_FAMILY)
def test_parameters_of_x3d(name: str) -> None:
    """A single normalisation of 24 channels is the difference between the code bases."""
    theirs = sum(p.numel() for p in x3d(name, 160).parameters())
    path = SPECS / f"{name}.tsnet"
    assert tsdsl.load(path, set={"pytorchvideo_shortcut": True}).params() == theirs
    assert tsdsl.load(path).params() == theirs + 2 * 24


@pytest.mark.parametrize("name", SLOWFAST_FAMILY)
def test_parameters_of_slowfast(name: str) -> None:
    theirs = sum(p.numel() for p in slowfast(name, 224).parameters())
    assert tsdsl.load(SPECS / f"{name}.tsnet").params() == theirs
