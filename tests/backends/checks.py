"""Assertions that hold for every network: names and shapes of parameters, cost, and results."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from math import prod
from unittest import mock

import torch
import torch.nn.functional as F
from reference import run
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tsdsl.backends.network_module import build
from tsdsl.ir.naming import state_key
from tsdsl.ir.network import Network


def expected_parameters(network: Network) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all parameters of a network."""
    return {
        state_key(path, param.name): param.shape
        for path, call in network.ops()
        for param in call.params
    }


def scrambled(module: nn.Module, seed: int = 0) -> nn.Module:
    """A copy in float64 and evaluation mode, with random parameters and statistics."""
    module = copy.deepcopy(module).double().eval()
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            value = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
            fan = prod(tensor.shape[1:]) if tensor.ndim > 1 else 1
            if tensor.ndim > 1:
                value = (value - 0.5) * (12 / fan) ** 0.5
            elif not name.endswith("running_var"):
                value = value - 0.3
            else:
                value = value + 0.5
            tensor.copy_(value)
    return module


def assert_same_numbers(network: Network, module: nn.Module | None = None) -> None:
    """Assert that the emitted code computes, in float64, what the graph says."""
    module = scrambled(module or build(network))
    generator = torch.Generator().manual_seed(1)
    clip = torch.randn(2, *network.clip.shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        mine, theirs = module(clip), run(network, module.state_dict(), clip)
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


def assert_same_gradients(network: Network, module: nn.Module) -> None:
    """Assert that gradients are those of the reference in evaluation mode, and that operations in
    place change none of them in training mode."""
    module = scrambled(module)
    generator = torch.Generator().manual_seed(1)
    clip = torch.randn(2, *network.clip.shape, generator=generator, dtype=torch.float64)
    state = {n: t.requires_grad_(t.is_floating_point()) for n, t in _copied(module).items()}
    learned = [name for name, _ in module.named_parameters()]
    theirs = gradients(run(network, state, clip), [state[name] for name in learned])
    mine = gradients(module(clip), list(module.parameters()))
    for name, one, other in zip(learned, mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8, msg=name)
    module.train()
    found = []
    for plain in (False, True):
        twin = copy.deepcopy(module)
        with (
            mock.patch.object(F, "relu", lambda x, inplace=False: x.relu())
            if plain
            else nullcontext()
        ):
            found.append(gradients(twin(clip), list(twin.parameters())) + list(twin.buffers()))
    assert all(map(torch.equal, *found))


def gradients(result: torch.Tensor, wanted: list[torch.Tensor]) -> list[torch.Tensor]:
    """Gradients of a result, with zeros for tensors that it does not depend on."""
    generator = torch.Generator().manual_seed(2)
    weights = torch.randn(result.shape, generator=generator, dtype=result.dtype)
    if not wanted or not result.requires_grad:
        return [torch.zeros_like(one) for one in wanted]
    return list(
        torch.autograd.grad(result, wanted, weights, allow_unused=True, materialize_grads=True)
    )


def _copied(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def assert_same_parameters(network: Network, module: nn.Module | None = None) -> None:
    module = module or build(network)
    found = {name: tuple(p.shape) for name, p in module.named_parameters()}
    assert found == expected_parameters(network)


def assert_same_cost(network: Network) -> None:
    """Assert that analytic multiply-adds are half of what torch counts on the meta device."""
    with torch.device("meta"):
        module = build(network).eval()
        clip = torch.empty(1, *network.clip.shape)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(clip)
    assert counter.get_total_flops() == 2 * sum(call.macs for _, call in network.ops())


def assert_sound(network: Network) -> nn.Module:
    module = build(network)
    assert_same_parameters(network, module)
    assert_same_numbers(network, module)
    assert_same_cost(network)
    return module
