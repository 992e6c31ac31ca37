"""Weights of PySlowFast run in the compiled specs: same logits. And back: same state dict."""

from __future__ import annotations

from pathlib import Path

import pyslowfast
import pytest
import torch
from cases import swept
from random_weights import randomise
from torch import nn

import tsdsl
from tsdsl.weights.matching import export_tensors
from tsdsl.weights.scheme import Scheme
from tsdsl.weights.schemes import (
    PYSLOWFAST_SLOWFAST,
    PYSLOWFAST_X3D,
    PYTORCHVIDEO_SLOWFAST,
    PYTORCHVIDEO_X3D,
)
from tsdsl.weights.weight_files import LoadedWeights, StoredWeights, load_into

SPECS = Path(__file__).resolve().parents[2] / "specs"
CROP = 32


def compiled(spec: str, **params: object) -> nn.Module:
    return tsdsl.compile(tsdsl.load(SPECS / f"{spec}.tsnet", set={"crop": CROP, **params}))


@torch.no_grad()
def assert_equal_logits(theirs: nn.Module, spec: str, frames: int) -> LoadedWeights:
    """Assert equal logits in float64 after random weights were loaded; returns what was loaded."""
    randomise(theirs.double().eval(), seed=len(spec))
    ours = compiled(spec).double().eval()
    loaded = load_into(ours, StoredWeights(theirs.state_dict()))
    generator = torch.Generator().manual_seed(frames)
    clip_NCTHW = torch.randn(2, 3, frames, CROP, CROP, generator=generator, dtype=torch.float64)
    clip_NCTHW[1] *= 3
    expected = theirs(clip_NCTHW)
    # Guards against two networks that agree because neither depends on its input.
    assert (expected[0] - expected[1]).abs().max() > 1e-2 * expected.abs().max()
    assert (ours(clip_NCTHW) - expected).abs().max() <= 1e-10
    return loaded


@pytest.mark.parametrize(
    ("spec", "frames", "depth"),
    [
        ("x3d_xs", 4, 2.2),
        swept("x3d_m", 16, 2.2),
        swept("x3d_l", 16, 5.0),
    ],
)
def test_x3d(spec: str, frames: int, depth: float) -> None:
    loaded = assert_equal_logits(pyslowfast.X3D(depth), spec, frames)
    assert loaded.scheme == "pyslowfast-x3d" and not loaded.filled and not loaded.left_out


def test_x3d_normalised_by_parts_of_a_batch() -> None:
    theirs = pyslowfast.X3D(2.2, norm=pyslowfast.SubBatchNorm)
    assert "s1.pathway0_stem.bn.split_bn.running_mean" in theirs.state_dict()
    with torch.no_grad():
        for module in theirs.modules():
            if isinstance(module, pyslowfast.SubBatchNorm):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
                module.split_bn.num_batches_tracked.fill_(7)
    loaded = assert_equal_logits(theirs, "x3d_xs", 4)
    assert loaded.tensors["main.stem.bn.num_batches_tracked"] == 7


@pytest.mark.parametrize(
    ("spec", "alpha", "kernel"),
    [
        ("slowfast_r50_4x16", 8, 5),
        swept("slowfast_r50_8x8", 4, 7),
    ],
)
def test_slowfast(spec: str, alpha: int, kernel: int) -> None:
    loaded = assert_equal_logits(pyslowfast.SlowFast(alpha, kernel), spec, 32)
    assert loaded.scheme == "pyslowfast-slowfast" and not loaded.filled


def test_pytorchvideo_in_the_spec_with_every_shortcut_normalised() -> None:
    """The normalisation that pytorchvideo lacks becomes the identity."""
    loaded = assert_equal_logits(pytorchvideo_x3d(), "x3d_xs", 4)
    assert loaded.filled == tuple(
        f"main.s1.0.projection.bn.{leaf}"
        for leaf in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    )


def pytorchvideo_x3d() -> nn.Module:
    from pytorchvideo.models.x3d import create_x3d

    return create_x3d(
        input_clip_length=4, input_crop_size=CROP, depth_factor=2.2, head_activation=None
    )


def pytorchvideo_slowfast() -> nn.Module:
    from pytorchvideo.models.slowfast import create_slowfast

    return create_slowfast(
        slowfast_channel_reduction_ratio=(8,),
        slowfast_fusion_conv_kernel_size=(5, 1, 1),
        slowfast_fusion_conv_stride=(8, 1, 1),
    )


@pytest.mark.parametrize(
    ("make", "spec", "scheme"),
    [
        (lambda: pyslowfast.X3D(2.2), "x3d_xs", PYSLOWFAST_X3D),
        (lambda: pyslowfast.SlowFast(8, 5), "slowfast_r50_4x16", PYSLOWFAST_SLOWFAST),
        (pytorchvideo_x3d, "x3d_xs", PYTORCHVIDEO_X3D),
        (pytorchvideo_slowfast, "slowfast_r50_4x16", PYTORCHVIDEO_SLOWFAST),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_there_and_back(make, spec: str, scheme: Scheme) -> None:
    """The map is a bijection: names and values survive a round trip."""
    theirs = make()
    randomise(theirs, seed=1)
    state = theirs.state_dict()
    ours = compiled(spec)
    loaded = load_into(ours, StoredWeights(state))
    assert loaded.scheme == scheme.name
    back = export_tensors(ours, scheme)
    assert sorted(back) == sorted(state)
    for name, tensor in state.items():
        assert torch.equal(back[name], tensor), name


def test_a_shortcut_that_pytorchvideo_cannot_have() -> None:
    net = compiled("x3d_xs")
    load_into(net, StoredWeights(pytorchvideo_x3d().state_dict()))
    assert len(export_tensors(net, PYTORCHVIDEO_X3D)) == len(net.state_dict()) - 5
    net.get_submodule("main.s1.0.projection.bn").weight.data[3] = 1.5
    with pytest.raises(tsdsl.DiagnosticError, match=r"has no main\.s1\.0\.projection\.bn"):
        export_tensors(net, PYTORCHVIDEO_X3D)
