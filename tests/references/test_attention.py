"""Attention and fusion of the standard library against plain torch, written from the equations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from random_weights import randomise
from torch import Tensor, nn
from torch.nn import functional

import tsdsl

C, T, H, W = 12, 4, 6, 5
P = T * H * W
Weights = dict[str, Tensor]

SPEC = """
tsnet 1
import "std/video" as v
space Alone {{
  input clip(channels={channels}, frames={frames}, height=6, width=5)
  stream main(clip) {{ stage s(stride=1x1x1) {{ use {call} }} }}
  head main -> global_avg_pool
}}
"""

TWO_STREAMS = """
tsnet 1
import "std/video" as v
space Fused {{
  input clip(channels=3, frames=8, height=6, width=5)
  stream sparse(clip, every=4) {{ stem conv(12, 1x1x1) }}
  stream dense(clip) {{ stem conv(4, 1x1x1) }}
  fuse dense -> sparse after stem = {call}
  head concat(sparse -> global_avg_pool, dense -> global_avg_pool)
}}
"""

Load = Callable[..., tuple[tsdsl.Space, nn.Module]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """A space with one block, and its network with random weights, in float64."""

    def loaded(text: str, **holes: Any) -> tuple[tsdsl.Space, nn.Module]:
        path = tmp_path / "alone.tsnet"
        path.write_text(text.format(**holes))
        space = tsdsl.load(path)
        net = tsdsl.compile(space).double().eval()
        randomise(net, seed=1)
        return space, net

    return loaded


def weights_of(net: nn.Module, place: str) -> Weights:
    module = net.get_submodule(place)
    return {key: value.detach() for key, value in module.state_dict().items()}


def tensor(channels: int, frames: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, channels, frames, H, W, generator=generator, dtype=torch.float64)


def linear_map(x_NCP: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A 1x1x1 convolution as a matrix product."""
    y_NCP = torch.einsum("oc,ncp->nop", weight.flatten(1), x_NCP)
    return y_NCP if bias is None else y_NCP + bias[:, None]


def normalised(x_NCP: Tensor, w: Weights, name: str, eps: float = 1e-5) -> Tensor:
    scale = w[f"{name}.weight"] / (w[f"{name}.running_var"] + eps).sqrt()
    return (x_NCP - w[f"{name}.running_mean"][:, None]) * scale[:, None] + w[f"{name}.bias"][
        :, None
    ]


def assert_same(ours: Tensor, expected: Tensor) -> None:
    assert (ours - expected).abs().max() <= 1e-10


@torch.no_grad()
@pytest.mark.parametrize(
    ("call", "m"), [("v.glore()", 6), ("v.glore(0.4)", 4), ("v.glore(1.0)", 12)]
)
def test_glore(load: Load, call: str, m: int) -> None:
    """arXiv 1811.12814: V = B X, Z = ((I + A) V) W with a ReLU between, Y = X + B^T Z."""
    space, net = load(SPEC, call=call, channels=C, frames=T)
    w = weights_of(net, "main.s.0")
    x_NCTHW = tensor(C, T)
    x_NCP = x_NCTHW.flatten(2)
    states_NSP = linear_map(x_NCP, w["conv1.weight"], w["conv1.bias"])
    share_NMP = linear_map(x_NCP, w["conv2.weight"], w["conv2.bias"])
    v_NSM = torch.einsum("nsp,nmp->nsm", states_NSP, share_NMP)
    graph = torch.einsum("km,nsm->nsk", w["linear1.weight"], v_NSM) + w["linear1.bias"]
    z_NSM = torch.einsum("ts,nsm->ntm", w["linear2.weight"], (v_NSM + graph).relu())
    y_NCP = linear_map(torch.einsum("nsm,nmp->nsp", z_NSM, share_NMP), w["conv3.weight"])
    expected = x_NCP + normalised(y_NCP, w, "bn", eps=1e-4)
    ours = net.get_submodule("main.s.0")(x_NCTHW)
    assert (ours - x_NCTHW).abs().max() > 1e-3
    assert_same(ours, expected.unflatten(2, (T, H, W)))

    assert space.flops() == P * (5 * C * m + 4 * m**2) + 6 * m**3
    assert space.params() == 5 * C * m + 5 * m**2 + 4 * m + 2 * C


@torch.no_grad()
@pytest.mark.parametrize(
    ("call", "m", "pool"),
    [
        ("v.nonlocal()", 6, (1, 1, 1)),
        ("v.nonlocal(5)", 5, (1, 1, 1)),
        ("v.nonlocal(pool=1x2x2)", 6, (1, 2, 2)),
    ],
)
def test_nonlocal(load: Load, call: str, m: int, pool: tuple[int, int, int]) -> None:
    """arXiv 1711.07971, embedded Gaussian: y_i = sum_j softmax_j(theta_i . phi_j) g_j."""
    space, net = load(SPEC, call=call, channels=C, frames=T)
    w = weights_of(net, "main.s.0")
    x_NCTHW = tensor(C, T)
    x_NCP = x_NCTHW.flatten(2)
    seen_NCQ = functional.max_pool3d(x_NCTHW, pool).flatten(2)
    theta = linear_map(x_NCP, w["conv1.weight"], w["conv1.bias"])
    phi = linear_map(seen_NCQ, w["conv2.weight"], w["conv2.bias"])
    g = linear_map(seen_NCQ, w["conv3.weight"], w["conv3.bias"])
    likeness_NPQ = torch.einsum("ncp,ncq->npq", theta, phi).exp()
    looks_NPQ = likeness_NPQ / likeness_NPQ.sum(2, keepdim=True)
    y_NCP = torch.einsum("npq,ncq->ncp", looks_NPQ, g)
    y_NCP = linear_map(y_NCP, w["conv4.weight"], w["conv4.bias"])
    expected = x_NCP + normalised(y_NCP, w, "bn")
    ours = net.get_submodule("main.s.0")(x_NCTHW)
    assert (ours - x_NCTHW).abs().max() > 1e-3
    assert_same(ours, expected.unflatten(2, (T, H, W)))

    seen = seen_NCQ.shape[2]
    assert space.flops() == 2 * C * m * P + 2 * C * m * seen + 2 * m * P * seen
    assert space.params() == 4 * C * m + 3 * m + C + 2 * C


@torch.no_grad()
@pytest.mark.parametrize(("call", "r"), [("v.se(16)", 8), ("v.se(2)", 16)])
def test_squeeze_and_excitation(load: Load, call: str, r: int) -> None:
    """arXiv 1709.01507: x * sigmoid(W2 relu(W1 mean(x)))."""
    channels = 32
    space, net = load(SPEC, call=call, channels=channels, frames=T)
    w = {
        key.removeprefix("squeeze_excite."): value
        for key, value in weights_of(net, "main.s.0").items()
    }
    x_NCTHW = tensor(channels, T)
    mean_NC1 = x_NCTHW.flatten(2).mean(2, keepdim=True)
    inner = linear_map(mean_NC1, w["conv1.weight"], w["conv1.bias"]).relu()
    scale = linear_map(inner, w["conv2.weight"], w["conv2.bias"]).sigmoid()
    ours = net.get_submodule("main.s.0")(x_NCTHW)
    assert_same(ours, x_NCTHW * scale[..., None, None])

    assert space.flops() == 2 * channels * r
    assert space.params() == 2 * channels * r + r + channels


def strided(x_NCTHW: Tensor, w: Weights) -> Tensor:
    """A 5x1x1 convolution with temporal stride 4, tap by tap."""
    padded = functional.pad(x_NCTHW, (0, 0, 0, 0, 2, 2))
    taps = w["conv1.weight"][..., 0, 0]
    frames = [
        sum(torch.einsum("oc,nchw->nohw", taps[..., k], padded[:, :, 4 * t + k]) for k in range(5))
        for t in range(2)
    ]
    y_NCP = torch.stack([f for f in frames if isinstance(f, Tensor)], dim=2).flatten(2)
    return normalised(y_NCP, w, "bn1")


def sampled(x_NCTHW: Tensor, w: Weights) -> Tensor:
    return torch.stack([x_NCTHW[:, :, 0], x_NCTHW[:, :, 4]], dim=2).flatten(2)


def packed(x_NCTHW: Tensor, w: Weights) -> Tensor:
    groups = [torch.cat([x_NCTHW[:, :, 4 * t + k] for k in range(4)], dim=1) for t in range(2)]
    return torch.stack(groups, dim=2).flatten(2)


@torch.no_grad()
@pytest.mark.parametrize(
    ("call", "gathered", "conv", "bn", "macs"),
    [
        ("v.t_conv(5x1x1)", strided, "conv2", "bn2", 4 * 4 * 5 + 4 * 12),
        ("v.t_sample", sampled, "conv", "bn", 4 * 12),
        ("v.t_to_channel", packed, "conv", "bn", 4 * 4 * 12),
    ],
)
def test_fusion(
    load: Load,
    call: str,
    gathered: Callable[[Tensor, Weights], Tensor],
    conv: str,
    bn: str,
    macs: int,
) -> None:
    """The candidates of Auto-TSNet's supplement, section 2: temporal match to the sparse stream's
    frames, then a map to its channels, then the sum. 8 frames into 2, 4 channels into 12."""
    space, net = load(TWO_STREAMS, call=call)
    w = weights_of(net, "fuse.dense_to_sparse.stem")
    dense_NCTHW, sparse_NCTHW = tensor(4, 8), tensor(12, 2)
    fused_NCP = linear_map(gathered(dense_NCTHW, w), w[f"{conv}.weight"])
    expected = sparse_NCTHW + normalised(fused_NCP, w, bn).unflatten(2, (2, H, W))
    assert_same(net.get_submodule("fuse.dense_to_sparse.stem")(dense_NCTHW, sparse_NCTHW), expected)

    stems = 3 * 12 * 2 * H * W + 3 * 4 * 8 * H * W
    assert space.flops() == stems + macs * 2 * H * W
