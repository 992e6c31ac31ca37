"""Counts, masses, histograms, quantiles and samples within windows agree with enumeration."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from cases import cases
from random_spaces import brute_cost, chain, decisions_of, enumerated, structures

from tsdsl.analysis.costs.configuration import Configuration
from tsdsl.analysis.costs.cost_table import CostTable
from tsdsl.analysis.costs.counted import MACS, PARAMS
from tsdsl.analysis.distribution import Distribution
from tsdsl.analysis.elimination.cache import query_cache
from tsdsl.analysis.sampling import sampler
from tsdsl.analysis.sampling.sampler import sample
from tsdsl.analysis.windows import cost_distribution, distinct_costs, window
from tsdsl.analysis.windows.enumeration import Enumerator
from tsdsl.diagnostics import SpecError
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.freeze import freeze
from tsdsl.ir.resolve import architecture_at
from tsdsl.ir.space import SpaceGraph
from tsdsl.space import Space


@pytest.fixture(params=["listed", "resolved"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How queries are answered: exactly, as small spaces are, or as if they were large, from few
    frequencies and on a coarse grid."""
    query_cache.cache_clear()
    if request.param == "resolved":
        monkeypatch.setattr(distinct_costs, "MAX_SUMS", -1)
        monkeypatch.setattr(window, "MAX_LISTED", -1)
        monkeypatch.setattr(cost_distribution, "FREQUENCIES", 150)
        monkeypatch.setattr(sampler, "MAX_LISTED", -1)
        monkeypatch.setattr(sampler, "BINS", (20, 100))
        monkeypatch.setattr(sampler, "PLAIN", 0)
        monkeypatch.setattr(sampler, "COMMON", 2.0)
    return str(request.param)


def odds(space: SpaceGraph, found: list[list[int]], p: Distribution) -> np.ndarray:
    """The weight of each architecture."""
    rows = p.probabilities
    result = []
    for at in found:
        chosen = decisions_of(space, at)
        weight = 1.0
        for d in space.decisions:
            if d.path in chosen:
                weight *= rows[d.path][at[d.variable.index]]
        result.append(weight)
    return np.array(result)


def cuts(values: np.ndarray, seed: int) -> list[tuple[int, int]]:
    """Windows: between two costs, of a single cost, at an end, empty, and beyond an end."""
    rng = np.random.default_rng(seed)
    a, b = sorted(rng.choice(values, 2).tolist())
    ends = np.sort(values)
    return [(a, b), (a, a), (ends[0], ends[len(ends) // 10]), (a + 1, a), (ends[-1], 10**12)]


@pytest.mark.parametrize("seed", cases(24, sweep=60))
def test_counts_and_masses_are_exact_or_contained(seed: int, way: str) -> None:
    graph, found = enumerated(seed)
    if not found:
        assert window.count(graph, {MACS: (0, 10**9)}) == 0
        return
    space = Space(graph)
    both = np.array([brute_cost(graph, at) for at in found])
    p = odds(graph, found, Distribution.initial(graph))
    for low, high in cuts(both[:, 0], seed):
        inside = (both[:, 0] >= low) & (both[:, 0] <= high)
        windows = {"flops": (low, high)}
        check(space, inside, p, windows if low <= high else None, way)
        middle = int(np.median(both[:, 1]))
        inside &= both[:, 1] <= middle
        if low <= high:
            check(space, inside, p, {**windows, "params": (0, middle)}, way)


def check(space: Space, inside: np.ndarray, p: np.ndarray, windows: dict | None, way: str) -> None:
    if windows is None:
        return
    counted = space.count(**windows)
    mass = space.mass(**windows)
    right = p[inside].sum() / p.sum()
    if way == "listed":
        assert counted == inside.sum()
        assert mass.low == mass.high == pytest.approx(right)
    else:
        low, high = (counted, counted) if isinstance(counted, int) else counted
        assert low <= inside.sum() <= high
        assert mass.low - 1e-9 <= right <= mass.high + 1e-9


@pytest.mark.parametrize("seed", cases(24, sweep=60))
def test_histograms_and_quantiles_are_exact_or_contained(seed: int, way: str) -> None:
    graph, found = enumerated(seed)
    if not found:
        return
    space = Space(graph)
    values = np.array([brute_cost(graph, at)[0] for at in found], float)
    for weighting in (None, "architectures"):
        p = odds(graph, found, Distribution.initial(graph))
        p = np.ones(len(p)) if weighting else p
        made = space.histogram("macs", 8, weighting)
        if values.min() == values.max():
            assert made.share.sum() == pytest.approx(1)
            continue
        right, _ = np.histogram(values, made.edges, weights=p / p.sum())
        assert (made.low <= right + 1e-9).all()
        assert (right <= made.high + 1e-9).all()
        assert made.share.sum() == pytest.approx(1)
        order = np.argsort(values)
        sums = np.cumsum(p[order]) / p.sum()
        for share, between in zip(
            (0.1, 0.5, 0.9), space.quantiles("macs", (0.1, 0.5, 0.9), weighting), strict=True
        ):
            exact = values[order][min(np.searchsorted(sums, share * (1 - 1e-12)), len(p) - 1)]
            assert between.low <= exact <= between.high
            if way == "listed":
                assert made.exact and between.exact


@pytest.mark.parametrize("seed", cases(8, sweep=24))
@pytest.mark.parametrize("kind", ["initial", "architectures", "own"])
def test_samples_have_the_conditional_distribution(seed: int, kind: str, way: str) -> None:
    graph, found = enumerated(seed)
    if not found:
        return
    own = Distribution(
        graph, np.random.default_rng(seed).normal(size=len(Space(graph).distribution().flat))
    )
    weighting = own if kind == "own" else kind
    both = np.array([brute_cost(graph, at) for at in found])
    low, high = np.quantile(both[:, 0], [0.3, 0.6], method="nearest").tolist()
    windows = {MACS: (low, high)}
    inside = (both[:, 0] >= low) & (both[:, 0] <= high)
    if seed % 2:
        most = int(np.quantile(both[inside, 1], 0.7, method="nearest"))
        windows[PARAMS] = (0, most)
        inside &= both[:, 1] <= most
    if kind == "architectures":
        p = np.ones(len(found))
    else:
        p = odds(graph, found, own if kind == "own" else Distribution.initial(graph))
    p = np.where(inside, p, 0)
    p /= p.sum()
    n = 4000
    drawn = sample(graph, seed, n, weighting, windows, distinct=False)
    assert len(drawn) == n
    seen = Counter(drawn)
    wanted = {architecture_at(graph, at): q * n for at, q in zip(found, p, strict=True) if q > 0}
    assert seen.keys() <= wanted.keys()
    assert chi_square(seen, wanted)


def chi_square(seen: Counter[Architecture], wanted: dict[Architecture, float]) -> bool:
    """Whether counts are as expected, with rare ones in one cell."""
    cells = [(seen[a], w) for a, w in wanted.items() if w >= 5]
    rare = [a for a, w in wanted.items() if w < 5]
    if rare and sum(wanted[a] for a in rare) > 1e-9:
        cells.append((sum(seen[a] for a in rare), sum(wanted[a] for a in rare)))
    statistic = sum((s - w) ** 2 / w for s, w in cells)
    freedom = max(len(cells) - 1, 1)
    return statistic < freedom + 4.5 * (2 * freedom) ** 0.5 + 8


@pytest.mark.parametrize("seed", range(12))
def test_samples_are_distinct_and_reproducible(seed: int) -> None:
    graph, found = enumerated(seed)
    if not found:
        return
    space = Space(graph)
    both = np.array([brute_cost(graph, at)[0] for at in found])
    budget = (int(both.min()), int(np.median(both)))
    inside = {
        architecture_at(graph, at) for at, c in zip(found, both, strict=True) if c <= budget[1]
    }
    drawn = space.sample(7, seed=1, flops=budget)
    assert drawn == space.sample(7, seed=1, flops=budget)
    networks = set(structures(graph, list(inside)))
    assert len(set(structures(graph, drawn))) == len(drawn) == min(7, len(networks))
    every = space.sample(len(inside) + 5, seed=1, flops=budget)
    assert set(every) <= inside and len(every) == len(networks)
    assert set(structures(graph, every)) == networks
    assert space.sample(seed=1, flops=budget) == drawn[0]
    with pytest.raises(SpecError):
        space.sample(seed=1, flops=(0, int(both.min()) - 1))


def test_enumeration_within_windows_is_complete() -> None:
    for seed in range(12):
        graph, found = enumerated(seed)
        if not found:
            continue
        cache = query_cache(graph)
        ours = [d.variable.index for d in graph.decisions]
        every = Enumerator(cache, ()).assignments({})[:, ours].tolist()
        assert sorted(every) == sorted([at[v] for v in ours] for at in found)
        both = np.array([brute_cost(graph, at) for at in found])
        a, b = np.quantile(both, [0.2, 0.7], axis=0, method="nearest")
        listed = Enumerator(cache, (MACS, PARAMS)).assignments(
            {MACS: (int(a[0]), int(b[0])), PARAMS: (int(a[1]), int(b[1]))}
        )
        right = [at for at, c in zip(found, both, strict=True) if (a <= c).all() and (c <= b).all()]
        picked = listed[:, ours].tolist()
        assert sorted(picked) == sorted([at[v] for v in ours] for at in right)


def test_samples_in_the_tail_of_a_long_chain_are_inside() -> None:
    graph = chain(80)
    space = Space(graph)
    ends = space.bounds("macs")
    far = ends.min.value + (ends.max.value - ends.min.value) // 8
    budget = (far, int(far * 1.02))
    drawn = space.sample(200, seed=0, flops=budget)
    costs = space.flops(drawn)
    assert budget[0] <= costs.min() and costs.max() <= budget[1]
    assert len(set(drawn)) == 200
    low, high = space.mass(flops=budget)
    assert 0 <= low < high < 1e-4


def test_costs_beyond_64_bits_are_exact_while_they_are_few() -> None:
    graph, found = next((g, f) for g, f in map(enumerated, range(60)) if 20 < len(f) < 2000)
    space = Space(graph)
    values: dict[Configuration, int] = {}
    rng = np.random.default_rng(0)
    for at in found:
        for _, call in freeze(graph, architecture_at(graph, at)).ops():
            key = Configuration.of(call.op, call.args, call.shapes)
            values.setdefault(key, int(rng.integers(0, 2**62)) * 2**20 + 1)
    space = space.with_costs(CostTable("huge", "x", values))
    archs = [architecture_at(graph, at) for at in found]
    costs = sorted(space.value("huge", arch) for arch in archs)
    assert costs[-1] > 2**64
    assert space.bounds("huge").max.value == costs[-1]
    low, high = costs[len(costs) // 4], costs[len(costs) // 2]
    inside = sum(low <= cost <= high for cost in costs)
    assert space.count(within={"huge": (low, high)}) == inside
    assert space.mass("architectures", within={"huge": (low, high)}).low == inside / len(costs)
    assert space.histogram("huge", 5, "architectures").exact
    (median,) = space.quantiles("huge", [0.5], "architectures")
    assert median.exact and median.low == costs[(len(costs) + 1) // 2 - 1]
    drawn = space.sample(5, seed=0, within={"huge": (low, high)})
    assert all(low <= space.value("huge", arch) <= high for arch in drawn)
