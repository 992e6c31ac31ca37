"""Queries of written spaces equal sums over all architectures, each frozen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from text_spaces import MORE, SPARSE, TEXT, every_architecture

import tsdsl
from tsdsl.analysis.costs.items import cost_items
from tsdsl.ir.architecture import Architecture


@pytest.mark.parametrize("sparse", range(len(SPARSE)))
@pytest.mark.parametrize("dense", ["8", "width"])
@pytest.mark.parametrize("more", range(len(MORE)))
def test_every_query_equals_enumeration(sparse: int, dense: str, more: int, tmp_path: Path) -> None:
    file = tmp_path / "small.tsnet"
    file.write_text(TEXT.format(sparse=SPARSE[sparse], dense=dense, more=MORE[more]))
    space = tsdsl.load(file)
    odds = every_architecture(space)
    costs: dict[Architecture, tuple[int, int]] = {}
    for arch in odds:
        found = cost_items(space.network(arch))
        costs[arch] = (sum(i.macs for i in found), sum(i.params for i in found))
    weights = np.array(list(odds.values()))
    both = np.array(list(costs.values()))
    assert space.size == len(costs)
    for k, cost in enumerate(("macs", "params")):
        ends = space.bounds(cost)
        assert (ends.min.value, ends.max.value) == (both[:, k].min(), both[:, k].max())
        assert space.expectation(cost) == pytest.approx(float(weights @ both[:, k]))
    low, high = np.quantile(both[:, 0], [0.2, 0.6], method="nearest").tolist()
    inside = (both[:, 0] >= low) & (both[:, 0] <= high)
    assert space.count(flops=(low, high)) == inside.sum()
    assert space.mass(flops=(low, high)).estimate == pytest.approx(weights[inside].sum())
    drawn = space.sample(len(costs) + 1, seed=0, flops=(low, high))
    assert {a for a, fits in zip(costs, inside, strict=True) if fits} == set(drawn)
    best = space.most_probable(flops=(low, high))
    right = max(o for o, fits in zip(odds.values(), inside, strict=True) if fits)
    assert odds[best] == pytest.approx(right)
    assert space.flops(list(costs)).tolist() == both[:, 0].tolist()
