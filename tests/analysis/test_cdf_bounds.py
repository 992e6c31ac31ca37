"""Bounds from a characteristic function contain the true masses of known distributions."""

from __future__ import annotations

import numpy as np
import pytest
from cases import cases
from random_spaces import brute_cost, enumerated

from tsdsl.analysis.costs.counted import MACS, PARAMS
from tsdsl.analysis.elimination.cache import query_cache
from tsdsl.analysis.windows import distinct_costs, window
from tsdsl.analysis.windows.cdf_bounds import CdfBounds
from tsdsl.analysis.windows.characteristic import CharacteristicFunction
from tsdsl.analysis.windows.cost_distribution import CostDistribution, WindowMass


def frequencies(values: np.ndarray, weights: np.ndarray, period: int, count: int) -> np.ndarray:
    """The characteristic function at 0 ... count - 1, by definition."""
    turns = np.outer(np.arange(count), values) / period
    return np.exp(2j * np.pi * turns) @ weights


@pytest.mark.parametrize("seed", cases(16, sweep=40))
def test_bounds_hold_for_atoms_anywhere(seed: int) -> None:
    rng = np.random.default_rng(seed)
    span, empty = int(rng.integers(3, 10_000)), int(rng.integers(2, 400))
    size = int(rng.integers(1, 60))
    values = rng.integers(0, span + 1, size)
    weights = rng.dirichlet(np.full(size, 0.3))
    count = int(rng.integers(2, 300))
    edges = CdfBounds(frequencies(values, weights, span + empty, count), span + empty, empty)

    def below(x: float, itself: bool) -> float:
        return float(weights[values <= x if itself else values < x].sum())

    points, mass, low, high = edges.below()
    # At an atom, both sides of the jump are within the bounds.
    for k in rng.integers(0, len(points), 40).tolist():
        if points[k] <= span:
            assert low[k] <= below(points[k], False) + 1e-9
            assert below(points[k], True) <= high[k] + 1e-9
            assert low[k] <= mass[k] <= high[k]
    some = np.sort(np.concatenate([rng.uniform(0, span, 20), rng.choice(values, 5)]))
    _, _, low, high = edges.below(some)
    for x, a, b in zip(some.tolist(), low, high, strict=True):
        assert a - 1e-9 <= below(x, False) <= below(x, True) <= b + 1e-9
    for _ in range(20):
        a, b = np.sort(rng.integers(0, span + 1, 2)).tolist()
        estimate, least, most = edges.between(a - 0.5, b + 0.5)
        right = weights[(values >= a) & (values <= b)].sum()
        assert least - 1e-9 <= right <= most + 1e-9
        assert least <= estimate <= most


def test_the_width_of_bounds_is_density_times_period_over_count() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(5000, 800, 200_000).clip(0, 10_000).round().astype(int)
    values, counts = np.unique(values, return_counts=True)
    weights = counts / counts.sum()
    for count in (64, 256, 1024):
        period = 10_500
        edges = CdfBounds(frequencies(values, weights, period, count), period, 500)
        estimate, least, most = edges.between(4799.5, 5200.5)
        right = weights[(values >= 4800) & (values <= 5200)].sum()
        density = np.exp(-0.5 * 0.25**2) / (800 * np.sqrt(2 * np.pi))
        assert most - least == pytest.approx(2 * density * period / count, rel=0.1)
        assert abs(estimate - right) < 0.1 * (most - least)


@pytest.mark.parametrize("seed", cases(10, sweep=30))
@pytest.mark.parametrize("tilt", [0.0, 3.0, -40.0])
def test_the_characteristic_function_is_the_mean_of_phases(seed: int, tilt: float) -> None:
    graph, found = enumerated(seed)
    if not found:
        return
    cache = query_cache(graph)
    made = cache.bucket_tree(MACS)
    ends = cache.cost_range(MACS)
    every = CharacteristicFunction(made, [ok.astype(float) for ok in cache.allowed(MACS)], [ends])
    costs = np.array([brute_cost(graph, at)[0] for at in found]) - ends[0]
    span = max(ends[1] - ends[0], 1)
    every = every.tilted(tilt / span)
    weights = np.exp(-tilt / span * costs)
    assert every.log_total == pytest.approx(np.log(weights.sum()), abs=1e-9)
    period = int(span * 1.1) + 2
    right = frequencies(costs, weights / weights.sum(), period, 40)
    assert np.abs(every.values([period], [40]) - right).max() < 1e-10
    mean = (weights @ costs) / weights.sum()
    assert every.mean() == pytest.approx(mean, abs=1e-4 * span)


@pytest.mark.parametrize("seed", range(12))
def test_the_joint_characteristic_function_is_the_mean_of_phases(seed: int) -> None:
    graph, found = enumerated(seed)
    if not found:
        return
    cache = query_cache(graph)
    made = cache.bucket_tree(MACS, PARAMS)
    ends = [cache.cost_range(MACS), cache.cost_range(PARAMS)]
    weights = [ok.astype(float) for ok in cache.allowed(MACS, PARAMS)]
    costs = np.array([brute_cost(graph, at) for at in found]) - np.array(ends)[:, 0]
    theta = [2.0 / max(ends[0][1] - ends[0][0], 1), -3.0 / max(ends[1][1] - ends[1][0], 1)]
    every = CharacteristicFunction(made, weights, ends).tilted(*theta)
    tilt = np.exp(-costs @ np.array(theta))
    assert every.log_total == pytest.approx(np.log(tilt.sum()), abs=1e-9)
    periods = [int(high - low) + 5 for low, high in ends]
    values = every.values(periods, [5, 4])
    assert values.shape == (5, 7)
    for a in range(5):
        for b in range(-3, 4):
            turns = costs @ np.array([a / periods[0], b / periods[1]])
            right = (tilt * np.exp(2j * np.pi * turns)).sum() / tilt.sum()
            assert abs(values[a, b + 3] - right) < 1e-10
    for k in range(2):
        mean = (tilt @ costs[:, k]) / tilt.sum()
        assert every.mean(k) == pytest.approx(mean, abs=1e-4 * periods[k])


@pytest.mark.parametrize("seed", cases(10, sweep=30))
@pytest.mark.parametrize("count", [3, 60, 5000])
def test_masses_of_windows_are_bounded_also_in_tails(
    seed: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, found = enumerated(seed)
    if not found:
        return
    cache = query_cache(graph)
    ends = cache.cost_range(MACS)
    costs = np.array([brute_cost(graph, at)[0] for at in found])
    monkeypatch.setattr("tsdsl.analysis.windows.cost_distribution.FREQUENCIES", count)
    every = CostDistribution(
        cache.bucket_tree(MACS),
        [ok.astype(float) for ok in cache.allowed(MACS)],
        [ends],
        len(found),
    )
    rng = np.random.default_rng(seed)
    windows = [tuple(np.sort(rng.choice(costs, 2)).tolist()) for _ in range(4)]
    windows += [(ends[0], ends[0]), (ends[1], ends[1])]
    windows.append((ends[0], int(np.quantile(costs, 0.05, method="nearest"))))
    windows.append((int(np.quantile(costs, 0.95, method="nearest")), ends[1]))
    for low, high in windows:
        mass: WindowMass = every.inside(low, high)
        scale = np.exp(mass.log) * len(found)
        right = ((costs >= low) & (costs <= high)).sum()
        assert mass.low * scale <= right * (1 + 1e-9) + 1e-9
        assert right <= mass.high * scale * (1 + 1e-9) + 1e-9


def test_bounds_are_refined_to_a_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, found = next((g, f) for g, f in map(enumerated, range(60)) if len(f) > 200)
    monkeypatch.setattr(distinct_costs, "MAX_SUMS", -1)
    monkeypatch.setattr(window, "MAX_LISTED", -1)
    query_cache.cache_clear()
    costs = np.sort([brute_cost(graph, at)[0] for at in found])
    half = {MACS: (int(costs[0]), int(costs[len(costs) // 2]))}
    coarse = window.mass(graph, half, "architectures")
    fine = window.mass(graph, half, "architectures", precision=0.01)
    right = (costs <= half[MACS][1]).mean()
    assert fine.high - fine.low <= 0.01 * fine.high
    assert coarse.low <= right <= coarse.high
    assert fine.low <= right <= fine.high
    query_cache.cache_clear()
