"""Gradients accumulated in place, against those of autograd's slices."""

from __future__ import annotations

import copy
import gc
import pickle
import subprocess
import sys
import weakref
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tsdsl
from tsdsl.backends.slice_gradients import SliceGradients, WeightSlice
from tsdsl.backends.supernet import placing

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from text_spaces import MORE, PAIRS, SPARSE, TEXT, every_architecture

A, B = (slice(0, 3), slice(1, 3)), (slice(2, 5), slice(0, 4))


@pytest.mark.parametrize("held", [None, "plain", "transposed"])
def test_by_hand(held: str | None) -> None:
    """Overlapping slices, in several passes, with whatever strides the gradient has."""
    x = nn.Parameter(torch.randn(5, 4, dtype=torch.float64))
    gradients = SliceGradients(lambda: [x])
    other = x.detach().clone().requires_grad_()
    if held:
        ones = torch.ones(5, 4) if held == "plain" else torch.ones(4, 5).T
        x.grad, other.grad = ones.double(), torch.ones_like(x)
    leaves = [(at, WeightSlice(x, at)) for at in (A, B)]

    def part(at: Any) -> Tensor:
        leaf = next(leaf for own, leaf in leaves if own == at)
        gradients.take([leaf])
        return leaf.part

    with gradients.placing():
        for at in (A, B, A):
            # The same slice twice in a pass, and a slice without a gradient.
            (part(at).square().sum() + part(B).exp().sum()).backward()
            part(A)
            gradients.place()
            (other[at].square().sum() + other[B].exp().sum()).backward()
            assert x.grad is not None and other.grad is not None
            assert torch.allclose(x.grad, other.grad, rtol=1e-14, atol=0)
        with torch.no_grad():
            x *= 2
            other *= 2
        # A cached slice follows the optimiser's step.
        part(A).square().sum().backward()
        gradients.place()
        other[A].square().sum().backward()
        assert other.grad is not None and torch.allclose(x.grad, other.grad, rtol=1e-14, atol=0)


def test_a_part_of_a_part() -> None:
    """A whole that is a view itself, so that its gradient has another storage offset."""
    store = torch.randn(60, dtype=torch.float64)
    x = store[7:27].view(5, 4).requires_grad_()
    gradients, leaf = SliceGradients(lambda: [x]), WeightSlice(x, A)
    with gradients.placing():
        for _ in range(2):
            gradients.take([leaf])
            leaf.part.exp().sum().backward()
            gradients.place()
    wanted = torch.zeros(5, 4, dtype=torch.float64)
    wanted[A] = 2 * x.detach()[A].exp()
    assert x.grad is not None and torch.allclose(x.grad, wanted, rtol=1e-14, atol=0)


def test_a_pass_that_fails() -> None:
    x = nn.Parameter(torch.randn(5, 4))
    gradients, leaf = SliceGradients(lambda: [x]), WeightSlice(x, A)
    x.grad = torch.zeros(5, 4)
    with pytest.raises(KeyError), gradients.placing():
        gradients.take([leaf])
        leaf.part.sum().backward()
        raise KeyError
    assert leaf.part.grad is None and not gradients.active
    with gradients.placing():
        gradients.take([leaf])
        gradients.place()
        # Without a backward pass, the gradient is unchanged.
        assert x.grad.sum() == 6


def test_what_is_kept_follows_the_tensors(tmp_path: Path) -> None:
    """After the tensors are moved, loaded, replaced, frozen or trained, a step uses the present
    ones, keeps nothing of earlier ones, and leaves no tensor of a graph behind."""
    (tmp_path / "a.tsnet").write_text(TEXT.format(sparse=SPARSE[1], dense="8", more=""))
    space = tsdsl.load(tmp_path / "a.tsnet")
    arch = next(a for a in every_architecture(space) if a["sparse.s1.wide"] == 8)
    supernet = tsdsl.compile(space).train()
    clip = torch.randn(2, *space.input_shape)

    def step(net: nn.Module) -> dict[str, Tensor]:
        net.zero_grad()
        with placing(net) as place:
            net(clip.to(next(net.parameters()).dtype), arch).square().sum().backward()
            place()
        found = {n: p.grad.double() for n, p in net.named_parameters() if p.grad is not None}
        twin = copy.deepcopy(net)
        twin.zero_grad()
        twin(clip.to(next(net.parameters()).dtype), arch).square().sum().backward()
        wanted = {n: p.grad.double() for n, p in twin.named_parameters() if p.grad is not None}
        assert found.keys() == wanted.keys()
        for name, grad in wanted.items():
            assert torch.allclose(found[name], grad, rtol=1e-4, atol=1e-4), name
        return found

    first = step(supernet)
    with torch.no_grad():
        for p in supernet.parameters():
            p += 0.1 * torch.randn_like(p)
    assert any(not torch.equal(g, first[n]) for n, g in step(supernet).items())
    supernet.double()
    step(supernet)
    state = {
        n: torch.randn_like(t) if t.is_floating_point() else t
        for n, t in supernet.state_dict().items()
        if "running_var" not in n
    }
    supernet.load_state_dict(state, assign=True, strict=False)
    step(supernet)
    seen: list[Tensor] = []
    hooked = next(name for name, grad in first.items() if grad.dim() == 5)
    hook = supernet.get_parameter(hooked).register_hook(seen.append)
    step(supernet)
    assert len(seen) == 1
    hook.remove()
    step(supernet)
    assert len(seen) == 1
    supernet.get_parameter(hooked).requires_grad_(False)
    assert hooked not in step(supernet)
    kept = [weakref.ref(t.untyped_storage()) for t in supernet.parameters()]
    supernet.float()
    del state
    gc.collect()
    assert not any(ref() for ref in kept)


@pytest.mark.parametrize("kind", range(0, len(PAIRS), 3))
def test_of_a_supernet(kind: int, tmp_path: Path) -> None:
    """In training mode, for several architectures; unused weights have no gradient."""
    sparse, more = PAIRS[kind]
    text = TEXT.format(sparse=SPARSE[sparse], dense="8", more=MORE[more])
    (tmp_path / "a.tsnet").write_text(text)
    space = tsdsl.load(tmp_path / "a.tsnet")
    torch.manual_seed(kind)
    supernet = tsdsl.compile(space).double().train()
    twin = copy.deepcopy(supernet)
    every = list(every_architecture(space))
    clip = torch.randn(2, *space.input_shape, dtype=torch.float64)

    def loss(net: nn.Module, arch: object) -> Tensor:
        found: Tensor = net(clip, arch).square().sum()
        return found

    with placing(nn.ModuleList([supernet])) as place:
        for arch in Random(kind).sample(every, min(4, len(every))):
            torch.manual_seed(1)
            loss(supernet, arch).backward()
            place()
            torch.manual_seed(1)
            loss(twin, arch).backward()
            for (name, p), q in zip(supernet.named_parameters(), twin.parameters(), strict=True):
                assert (p.grad is None) == (q.grad is None), name
                if p.grad is not None and q.grad is not None:
                    assert torch.allclose(p.grad, q.grad, rtol=1e-12, atol=1e-13), name
        assert isinstance(pickle.loads(pickle.dumps(supernet)), type(supernet))
    for p, q in zip(supernet.buffers(), twin.buffers(), strict=True):
        assert torch.equal(p, q)


def test_nothing_is_said() -> None:
    """Autograd's warning of non-contiguous gradients is suppressed. It comes once in a process."""
    program = """
import torch
from torch import nn
from tsdsl.backends.slice_gradients import WeightSlice, SliceGradients
x = nn.Parameter(torch.randn(5, 4))
gradients, leaf = SliceGradients(lambda: [x]), WeightSlice(x, (slice(0, 2), slice(0, 2)))
with gradients.placing():
    for _ in range(2):
        gradients.take([leaf])
        leaf.part.sum().backward()
        gradients.place()
assert float(x.grad.sum()) == 8
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
