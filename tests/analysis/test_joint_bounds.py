"""Bounds of the mass within several windows contain the true mass."""

from __future__ import annotations

import numpy as np
import pytest
from cases import cases
from random_spaces import brute_cost, enumerated

from tsdsl.analysis.costs.counted import ELEMENTS, MACS, PARAMS
from tsdsl.analysis.elimination.cache import query_cache
from tsdsl.analysis.windows.cost_distribution import CostDistribution
from tsdsl.analysis.windows.joint_bounds import polynomials


@pytest.mark.parametrize("seed", cases(16, sweep=40))
def test_polynomials_are_a_majorant_and_a_minorant(seed: int) -> None:
    rng = np.random.default_rng(seed)
    period = int(rng.integers(50, 5000))
    a, b = np.sort(rng.uniform(0, 0.95 * period, 2)).tolist()
    theta = float(rng.choice([0.0, 0.3, 3.0, 40.0, -0.3, -3.0, -40.0])) / period
    count = int(rng.integers(2, 80))
    found = polynomials(a, b, theta, period, count)
    x = np.concatenate([np.linspace(0, period, 1500), [a + 1e-9, b - 1e-9]])
    n = np.arange(1 - count, count)
    phases = np.exp(2j * np.pi * np.outer(x, n) / period)
    right = np.where((x > a) & (x < b), np.exp(theta * (x - (b if theta > 0 else a))), 0.0)
    near, above, below = ((phases @ c) for c in found)
    assert np.abs(above.imag).max() < 1e-9
    assert (above.real >= right - 1e-9).all()
    assert (below.real <= right + 1e-9).all()
    assert ((below.real <= near.real + 1e-9) & (near.real <= above.real + 1e-9)).all()


@pytest.mark.parametrize("seed", cases(16, sweep=40))
def test_joint_bounds_contain_the_true_mass(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, found = enumerated(seed)
    if not found:
        return
    cache = query_cache(graph)
    names = (MACS, PARAMS, ELEMENTS)[: 2 + seed % 2]
    made = cache.bucket_tree(*names)
    ends = [cache.cost_range(name) for name in names]
    rng = np.random.default_rng(seed)
    tables = [ok * rng.uniform(0.1, 2.0, ok.shape) for ok in cache.allowed(*names)]
    both = np.array([brute_cost(graph, at) for at in found])
    if len(names) == 3:
        elements = cache.lookup(ELEMENTS).assigned(np.array(found))
        both = np.column_stack([both, elements])
    weights = np.ones(len(found))
    for table, potential in zip(tables, made.potentials, strict=True):
        weights *= [table[tuple(at[v] for v in potential.scope)] for at in found]
    monkeypatch.setattr(
        "tsdsl.analysis.windows.cost_distribution.FREQUENCIES", int(rng.choice([20, 400, 4000]))
    )
    every = CostDistribution(made, tables, ends, len(found))
    for share in (0.02, 0.3, 0.8):
        windows = []
        for column in both.T:
            cut = rng.uniform(0, 1 - share)
            low, high = np.quantile(column, [cut, cut + share], method="nearest").tolist()
            windows.append((low, high))
        inside = np.ones(len(found), bool)
        for column, (low, high) in zip(both.T, windows, strict=True):
            inside &= (column >= low) & (column <= high)
        mass = every.inside_all(windows)
        right = weights[inside].sum() / weights.sum()
        estimate, low, high = mass.of(1.0)
        assert low - 1e-9 <= right <= high + 1e-9
        assert low <= estimate <= high
