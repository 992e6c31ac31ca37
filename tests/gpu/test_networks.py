"""Compiled networks and supernets on a GPU: beside the CPU, each other, in half precision."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tsdsl

ROOT = Path(__file__).resolve().parents[2]
FIXED = ["x3d_xs", "x3d_s", "x3d_m", "slowfast_r50_4x16", "slowfast_r50_8x8"]
SPACES = ["specs/auto_tsnet_s", "examples/two_stream", "examples/glyphs_space"]


def stirred(net: Any, seed: int = 0) -> Any:
    """Randomise statistics and scales per channel."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for tensor in (*net.parameters(), *net.buffers()):
            if tensor.dim() == 1 and tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5)
    return net


def relative(found: Tensor, wanted: Tensor) -> float:
    found, wanted = found.double().cpu(), wanted.double().cpu()
    assert found.isfinite().all()
    return float((found - wanted).norm() / wanted.norm())


def space_of(spec: str) -> tsdsl.Space:
    return tsdsl.load(ROOT / f"{spec}.tsnet", set={"crop": 48})


@pytest.mark.parametrize("spec", FIXED)
def test_fixed_networks_beside_the_cpu(spec: str) -> None:
    space = space_of(f"specs/{spec}")
    net = stirred(tsdsl.compile(space)).eval().double()
    clip = torch.randn(2, *space.input_shape, dtype=torch.float64)
    with torch.no_grad():
        wanted = net(clip)
        assert relative(net.cuda()(clip.cuda()), wanted) < 1e-11
        assert relative(net.float()(clip.cuda().float()), wanted) < 1e-4
        for dtype in (torch.float16, torch.bfloat16):
            with torch.autocast("cuda", dtype=dtype):
                cast = net(clip.cuda().float())
            assert 0 < relative(cast, wanted) < 0.1


@pytest.mark.parametrize("spec", SPACES)
def test_supernets_beside_frozen_networks(spec: str) -> None:
    """Bit for bit on the GPU, in both precisions and both modes; equal to the CPU in float64."""
    space = space_of(spec)
    supernet = stirred(tsdsl.compile(space)).double()
    assert isinstance(supernet, tsdsl.Supernet)
    clip = torch.randn(2, *space.input_shape, dtype=torch.float64)
    archs = space.sample(8, seed=1)
    with torch.no_grad():
        wanted = [supernet.eval()(clip, arch) for arch in archs]
    supernet.cuda()
    for dtype in (torch.float64, torch.float32):
        supernet.to(dtype)
        on_gpu = clip.to("cuda", dtype)
        for arch, expected in zip(archs, wanted, strict=True):
            with torch.no_grad():
                found = supernet.eval()(on_gpu, arch)
                assert torch.equal(found, space.freeze(supernet, arch)(on_gpu))
            assert relative(found, expected) < (1e-11 if dtype == torch.float64 else 1e-3)
        # Training changes statistics, so a copy is trained.
        trained = deepcopy(supernet).train()
        for arch in archs[:3]:
            twin = space.freeze(trained, arch)
            # Dropout draws from the same generator in both.
            torch.cuda.manual_seed(0)
            one = trained(on_gpu, arch)
            torch.cuda.manual_seed(0)
            assert torch.equal(one, twin(on_gpu))


def test_an_emitted_supernet() -> None:
    space = space_of("examples/glyphs_space")
    module = ModuleType("emitted")
    exec(compile(tsdsl.emit(space), "emitted", "exec"), module.__dict__)
    made = getattr(module, space.name)().cuda().eval()
    supernet = stirred(tsdsl.compile(space)).cuda().eval()
    made.load_state_dict(supernet.state_dict())
    clip = torch.randn(2, *space.input_shape, device="cuda")
    for arch in space.sample(5, seed=2):
        with torch.no_grad():
            assert torch.equal(made(clip, dict(arch)), supernet(clip, arch))


def test_gradients_beside_the_cpu() -> None:
    space = space_of("examples/two_stream")
    supernet = stirred(tsdsl.compile(space)).double().eval()
    other = deepcopy(supernet).cuda()
    clip = torch.randn(2, *space.input_shape, dtype=torch.float64)
    for arch in space.sample(3, seed=3):
        grads: list[dict[str, Tensor]] = []
        for net, given in ((supernet, clip), (other, clip.cuda())):
            net.zero_grad()
            net(given, arch).square().sum().backward()
            grads.append({n: p.grad for n, p in net.named_parameters() if p.grad is not None})
        assert grads[0].keys() == grads[1].keys()
        largest = max(float(g.abs().max()) for g in grads[0].values())
        for name, grad in grads[0].items():
            assert float((grads[1][name].cpu() - grad).abs().max()) < 1e-10 * largest, name


def test_a_compiled_network() -> None:
    """torch.compile of a frozen network computes the same."""
    space = tsdsl.load(ROOT / "examples/glyphs.tsnet")
    net = stirred(tsdsl.compile(space)).cuda().eval()
    clip = torch.randn(2, *space.input_shape, device="cuda")
    compiled: nn.Module = torch.compile(net)  # type: ignore[assignment]
    with torch.no_grad():
        assert relative(compiled(clip), net(clip)) < 1e-4
