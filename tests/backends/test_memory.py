"""The peak memory of a call, against values computed by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tsdsl.backends.memory import peak_memory

CPU = torch.device("cpu")
#: Bytes of one tensor in these tests: 4 x 4 x 64 x 64 float32.
S = 4 * 4 * 64 * 64 * 4


class Known(nn.Module):
    """A module with ``held`` tensors of its input's size at its peak."""

    def __init__(self, held: int) -> None:
        super().__init__()
        self.held = held

    def forward(self, x: Tensor) -> Tensor:
        made = [-x for _ in range(self.held)]
        return made[0]


class Released(nn.Module):
    """Holds one tensor, then two (the first and its double), then the second with one of double
    size: 1, 2, 3 tensors at a time, although five are made."""

    def forward(self, x: Tensor) -> Tensor:
        first = x + 1
        second = first * 2
        del first
        double = torch.cat([second, second])
        del second
        return double.add_(1)


@pytest.mark.parametrize("held", [1, 2, 7])
def test_what_is_held_counts(held: int) -> None:
    module, x = Known(held), torch.rand(4, 4, 64, 64)
    assert peak_memory(lambda: module(x), CPU) == held * S


def test_what_is_released_does_not() -> None:
    module, x = Released(), torch.rand(4, 4, 64, 64)
    assert peak_memory(lambda: module(x), CPU) == 3 * S


def test_input_and_weights_do_not() -> None:
    big = nn.Linear(1000, 1).eval()
    x = torch.rand(2, 1000)
    big(x)
    assert 2 * 4 <= peak_memory(lambda: big(x), CPU) < 1000 * 4


def test_a_network_by_hand() -> None:
    """Two normalisations with an activation between them, each with its input and its result: two
    maps at a time."""
    module = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4)).eval()
    x = torch.rand(4, 4, 64, 64)
    with torch.inference_mode():
        module(x)
    small = 4 * 4 * 2 * 4
    assert 2 * S <= peak_memory(lambda: module(x), CPU) <= 2 * S + small


def test_half_the_size_of_numbers_is_half_the_memory() -> None:
    module, x = Known(3), torch.rand(4, 4, 64, 64).to(torch.bfloat16)
    assert peak_memory(lambda: module(x), CPU) == 3 * S // 2


def test_threads_are_left_as_they_were() -> None:
    before = torch.get_num_threads()
    seen: list[int] = []
    peak_memory(lambda: seen.append(torch.get_num_threads()), CPU)
    assert seen == [1] and torch.get_num_threads() == before


def test_nothing_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    peak_memory(lambda: torch.rand(10), CPU)
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu() -> None:
    device = torch.device("cuda")
    x = torch.rand(4, 4, 64, 64, device=device)
    for module, held in ((Known(5), 5), (Released(), 3)):
        peak_memory(lambda module=module: module(x), device)  # type: ignore[misc]
        assert peak_memory(lambda module=module: module(x), device) == held * S  # type: ignore[misc]
