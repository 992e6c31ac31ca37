"""The expected cost as a torch function."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from random_spaces import enumerated

from tsdsl.analysis.costs.counted import MACS, PARAMS
from tsdsl.backends.expectation import ExpectedCost
from tsdsl.space import Space


@pytest.mark.parametrize("seed", range(12))
def test_gradcheck(seed: int) -> None:
    graph, found = enumerated(seed)
    if not found:
        return
    cost = ExpectedCost(graph, PARAMS)
    torch.manual_seed(seed)
    logits = torch.randn(int(cost.layout.starts[-1]), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(cost, logits, eps=1e-5, atol=1e-2, rtol=1e-6)


def test_the_value_is_that_of_the_space() -> None:
    graph, _ = enumerated(2)
    space = Space(graph)
    start = space.distribution()
    cost = ExpectedCost(graph, MACS)
    logits = {
        path: torch.tensor(row, dtype=torch.float64, requires_grad=True)
        for path, row in start.logits.items()
    }
    value = cost(logits)
    assert value.item() == space.expectation("macs")
    (2 * value).backward()
    for path, row in space.gradient("macs").items():
        grad = logits[path].grad
        assert grad is not None
        torch.testing.assert_close(grad, 2 * torch.from_numpy(row.copy()))
    assert cost(torch.from_numpy(start.flat.copy()).float()).dtype == torch.float32
    with pytest.raises(ValueError, match="logits"):
        cost(torch.zeros(1))
