"""Gradients that go straight to their place, beside those of autograd's slices."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
import torch
from torch import Tensor, nn

import tsdsl
from tsdsl.backends.placed import PlacedGradients
from tsdsl.backends.supernet import placing

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from text_spaces import MORE, PAIRS, SPARSE, TEXT, every_architecture

A, B = (slice(0, 3), slice(1, 3)), (slice(2, 5), slice(0, 4))


@pytest.mark.parametrize("held", [False, True])
def test_by_hand(held: bool) -> None:
    """Parts that overlap, in several passes, beside slices."""
    gradients, x = PlacedGradients(), nn.Parameter(torch.randn(5, 4, dtype=torch.float64))
    other = x.detach().clone().requires_grad_()
    if held:
        x.grad, other.grad = torch.ones_like(x), torch.ones_like(x)
    with gradients.placing():
        for at in (A, B, A):
            # Twice the same part in one pass, and one that nothing comes from.
            (gradients.part(x, at).square().sum() + gradients.part(x, B).exp().sum()).backward()
            gradients.part(x, A)
            gradients.place()
            (other[at].square().sum() + other[B].exp().sum()).backward()
            assert x.grad is not None and other.grad is not None
            assert torch.allclose(x.grad, other.grad, rtol=1e-14, atol=0)
    assert gradients.part(x, A).grad_fn is not None


def test_what_is_no_leaf() -> None:
    gradients, x = PlacedGradients(), nn.Parameter(torch.randn(5, 4))
    with gradients.placing():
        with torch.no_grad():
            assert gradients.part(x, A)._base is x
        assert not gradients.part(x.detach(), A).requires_grad
        part = gradients.part(x, A)
        assert part.is_leaf and part.requires_grad and part.data_ptr() == x[A].data_ptr()
        gradients.place()
        assert x.grad is None
    with pytest.raises(KeyError), gradients.placing():
        gradients.part(x, A)
        raise KeyError
    assert not gradients.part(x, A).is_leaf


@pytest.mark.parametrize("kind", range(0, len(PAIRS), 3))
def test_of_a_supernet(kind: int, tmp_path: Path) -> None:
    """In training mode, of some architectures after one another; untouched weights have none."""
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
    """Autograd's warning of gradients with gaps is not for users; it comes once in a process."""
    program = """
import torch
from torch import nn
from tsdsl.backends.placed import PlacedGradients
gradients, x = PlacedGradients(), nn.Parameter(torch.randn(5, 4))
with gradients.placing():
    for _ in range(2):
        gradients.part(x, (slice(0, 2), slice(0, 2))).sum().backward()
        gradients.place()
assert float(x.grad.sum()) == 8
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
