"""Samples within windows have the conditional distribution, by every way to draw them."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from cases import cases, swept
from random_spaces import Maker, brute_cost, chain, decisions_of, enumerated, structures

import tsdsl
from tsdsl.analysis.costs.counted import ELEMENTS, MACS, PARAMS
from tsdsl.analysis.costs.lookup import CostLookup
from tsdsl.analysis.distribution import Distribution
from tsdsl.analysis.elimination import bucket_tree as program_module
from tsdsl.analysis.elimination.cache import query_cache
from tsdsl.analysis.sampling import sampler, subtree_keys, window_sampler
from tsdsl.analysis.sampling.meet_in_the_middle import MeetInTheMiddleSampler
from tsdsl.analysis.sampling.rejection import PARTS, RejectionSampler, _guide, _sums
from tsdsl.analysis.sampling.sampler import options_within, sample, stream
from tsdsl.analysis.sampling.window_sampler import WindowSampler
from tsdsl.analysis.windows.tilted import ExponentialTilt
from tsdsl.diagnostics import SpecError
from tsdsl.ir import constraints
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.graph import Edge
from tsdsl.ir.resolve import architecture_at
from tsdsl.ir.space import SpaceGraph
from tsdsl.ir.values import constant, lift
from tsdsl.space import Space

SPECS = Path(__file__).resolve().parents[2] / "specs"
COSTS = (MACS, PARAMS, ELEMENTS)


def all_costs(graph: SpaceGraph, found: list[list[int]]) -> np.ndarray:
    """MACs and parameters by brute force; elements from their tables."""
    at = np.array(found)
    known = CostLookup(graph, ELEMENTS)
    both = np.array([brute_cost(graph, row) for row in found])
    return np.column_stack([both, known.assigned(at)])


def odds(graph: SpaceGraph, found: list[list[int]], p: Distribution) -> np.ndarray:
    rows = p.probabilities
    weights = np.ones(len(found))
    for k, at in enumerate(found):
        chosen = decisions_of(graph, at)
        for d in graph.decisions:
            if d.path in chosen:
                weights[k] *= rows[d.path][at[d.variable.index]]
    return weights


def some_windows(values: np.ndarray, count: int, rng: np.random.Generator) -> dict:
    """Windows around an architecture, of different relative widths."""
    middle = values[rng.integers(len(values))]
    windows = {}
    for k in range(count):
        spread = (values[:, k].max() - values[:, k].min()) * rng.choice([0.02, 0.2, 0.5])
        windows[COSTS[k]] = (int(middle[k] - spread * rng.random()), int(middle[k] + spread))
    return windows


def inside_all(values: np.ndarray, windows: dict) -> np.ndarray:
    fits = np.ones(len(values), bool)
    for k, cost in enumerate(COSTS):
        if cost in windows:
            fits &= (values[:, k] >= windows[cost][0]) & (values[:, k] <= windows[cost][1])
    return fits


def chi_square(seen: Counter, wanted: dict[tuple, float]) -> bool:
    assert seen.keys() <= wanted.keys()
    cells = [(seen[a], w) for a, w in wanted.items() if w >= 5]
    rare = [a for a, w in wanted.items() if w < 5]
    if rare and sum(wanted[a] for a in rare) > 1e-9:
        cells.append((sum(seen[a] for a in rare), sum(wanted[a] for a in rare)))
    statistic = sum((s - w) ** 2 / w for s, w in cells)
    freedom = max(len(cells) - 1, 1)
    return statistic < freedom + 4.5 * (2 * freedom) ** 0.5 + 8


@pytest.mark.parametrize("seed", cases(12, sweep=40))
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("way", ["grid", "meet in the middle", "rejection"])
def test_draws_have_the_conditional_distribution(seed: int, count: int, way: str) -> None:
    graph, found = enumerated(seed)
    if len(found) < 2:
        return
    rng = np.random.default_rng([seed, count])
    cache = query_cache(graph)
    values = all_costs(graph, found)
    windows = some_windows(values, count, rng)
    fits = inside_all(values, windows)
    p = Distribution(graph, rng.normal(size=len(Space(graph).distribution().flat)))
    rows = p.layout.split(p.flat_probabilities)
    drawer: WindowSampler | MeetInTheMiddleSampler | RejectionSampler = WindowSampler(
        cache, rows, windows, (20, 60)
    )
    if way == "rejection":
        assert RejectionSampler.suits(cache, rows)
        drawer = RejectionSampler(cache, rows, windows)
    if way == "meet in the middle":
        meeting = MeetInTheMiddleSampler.of(drawer)
        if meeting is None:
            return
        drawer = meeting
    random = np.random.Generator(np.random.PCG64(seed))
    drawn: list[np.ndarray] = []
    for _ in range(100):
        drawn.append(drawer.draw(random, 5000 if way == "rejection" else 500))
        if sum(map(len, drawn)) > 2500:
            break
    n = sum(map(len, drawn))
    ours = [d.variable.index for d in graph.decisions]
    seen = Counter(map(tuple, np.concatenate(drawn)[:, ours].tolist()))
    weight = np.where(fits, odds(graph, found, p), 0)
    weight *= n / weight.sum()
    wanted = {tuple(at[v] for v in ours): w for at, w in zip(found, weight, strict=True) if w > 0}
    assert n > 100
    assert chi_square(seen, wanted)
    assert drawer.accepted == n


@pytest.mark.parametrize("seed", cases(4, sweep=20))
def test_samples_by_meet_in_the_middle_are_distinct_and_complete(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through `sample`, as if the space were large and draws from the grid were rare."""
    graph, found = enumerated(seed)
    if len(found) < 8:
        return
    monkeypatch.setattr(sampler, "MAX_LISTED", -1)
    monkeypatch.setattr(sampler, "PLAIN", 0)
    monkeypatch.setattr(sampler, "COMMON", 2.0)
    monkeypatch.setattr(sampler, "RARE", 2.0)
    monkeypatch.setattr(sampler, "CHUNKS", (16, 64, 256))
    monkeypatch.setattr(sampler, "TRIED", 100)
    values = all_costs(graph, found)
    rng = np.random.default_rng(seed)
    windows = some_windows(values, 2, rng)
    fits = inside_all(values, windows)
    right = {architecture_at(graph, at) for at, ok in zip(found, fits, strict=True) if ok}
    distinct = sample(graph, seed, len(found) + 1, "initial", windows, distinct="architectures")
    assert set(distinct) == right and len(distinct) == len(right)
    distinct = sample(graph, seed, len(found) + 1, "initial", windows)
    networks = set(structures(graph, list(right)))
    assert set(structures(graph, distinct)) == networks and set(distinct) <= right
    assert len(distinct) == len(networks)
    n = 1500
    drawn = Counter(sample(graph, seed, n, "architectures", windows, distinct=False))
    assert chi_square(drawn, dict.fromkeys(right, n / len(right)))


@pytest.mark.parametrize("seed", cases(12, sweep=30))
def test_a_tilt_brings_means_near_their_windows(seed: int) -> None:
    graph, found = enumerated(seed)
    if len(found) < 2:
        return
    rng = np.random.default_rng(seed)
    cache = query_cache(graph)
    values = all_costs(graph, found).astype(float)
    made = cache.bucket_tree(*COSTS)
    p = Distribution.initial(graph)
    rows = p.layout.split(p.flat_probabilities)
    ends = [cache.cost_range(cost) for cost in COSTS]
    windows = list(some_windows(values, 3, rng).values())
    tilt = ExponentialTilt(made, [q.weights(rows) for q in made.potentials], windows, ends)
    rates = np.array([tilt.rate(k) for k in range(3)])
    least = values.min(0)
    weight = odds(graph, found, p) * np.exp(-(values - least) @ rates)
    mean = np.average(values, axis=0, weights=weight)
    spread = np.cov(values.T, aweights=weight, bias=True)
    assert tilt.deviation**2 * np.array([h - a for a, h in ends]) ** 2 == pytest.approx(
        np.diag(spread), rel=0.2, abs=1e-3
    )
    # If any architecture is inside, the means are within or near the windows, and the bound holds.
    low, high = np.array(windows).T
    if inside_all(values, dict(zip(COSTS, windows, strict=True))).any():
        deviation = np.sqrt(np.diag(spread))
        assert (mean > low - 3 * deviation - 1).all() and (mean < high + 3 * deviation + 1).all()
        inside = inside_all(values, dict(zip(COSTS, windows, strict=True)))
        assert np.log(odds(graph, found, p)[inside].sum()) <= tilt.bound + 1e-9


@pytest.mark.parametrize("windows", [{}, {MACS: (0, 10**12)}], ids=["free", "within"])
def test_the_first_draws_do_not_depend_on_their_number(windows: dict) -> None:
    graph = chain(40)
    many = sample(graph, 5, 700, "initial", windows)
    assert len(set(many)) == 700
    for n in (1, 3, 511, 513):
        assert sample(graph, 5, n, "initial", windows) == many[:n]
    assert list(islice(stream(graph, 5, "initial", windows), 5)) == many[:5]
    assert sample(graph, 6, 5, "initial", windows) != many[:5]


@pytest.mark.parametrize("share", [swept(1e-7), 0.0])
def test_a_single_cost_of_a_long_chain_is_sampled(share: float) -> None:
    """Rejection of free draws would accept about one in ten million."""
    space = Space(chain(60))
    value = space.flops(space.sample(seed=3))
    budget = (value, int(value * (1 + share)))
    drawn = space.sample(10, seed=1, flops=budget)
    costs = space.flops(drawn)
    assert len(set(drawn)) == 10
    assert budget[0] <= costs.min() and costs.max() <= budget[1]


def test_windows_in_opposite_tails() -> None:
    """Together they contain about 1e-9 of all mass, and neither implies the other."""
    space = tsdsl.load(SPECS / "auto_tsnet_s.tsnet")
    within = {}
    for cost, far in (("macs", -3.0), ("params", 2.0)):
        mean, deviation = space.expectation(cost), space.std(cost)
        within[cost] = (mean + far * deviation, mean + (far + 0.5) * deviation)
    mass = space.mass(within=within)
    assert mass.high < 1e-8
    drawn = space.sample(100, seed=1, within=within)
    for cost, (low, high) in within.items():
        costs = space.value(cost, drawn)
        assert low <= costs.min() and costs.max() <= high
    assert len(set(drawn)) == 100


def bits(count: int, weights: tuple[float, ...] | None = None) -> tuple[Maker, list, Edge, list]:
    """A space of ``count`` convolutions, each with a width of 2 or 4."""
    maker = Maker()
    clip = Edge(constant((3, 2, 4, 4)), "clip")
    widths = [maker.decide(f"w{k}", "int", (2, 4), weights=weights) for k in range(count)]
    nodes = [
        maker.op("conv", f"conv{k}", clip, out=width, kernel=(1, 1, 1))
        for k, width in enumerate(widths)
    ]
    return maker, widths, clip, nodes


def test_spaces_with_no_and_with_one_decision_are_sampled() -> None:
    maker = Maker()
    clip = Edge(constant((3, 2, 4, 4)), "clip")
    only = maker.op("conv", "conv", clip, out=4, kernel=(1, 1, 1))
    space = Space(maker.space(clip, [only], only.output))
    assert space.sample(5, seed=0) == [Architecture({})]
    assert space.sample(5, seed=0, flops=(0, 10**6)) == [Architecture({})]
    with pytest.raises(SpecError, match="E0593"):
        space.sample(5, seed=0, flops=(1, 2))
    maker, _, clip, nodes = bits(1)
    space = Space(maker.space(clip, nodes, nodes[-1].output))
    assert len(space.sample(5, seed=0)) == 2
    assert len(space.sample(5, seed=0, flops=(0, space.bounds("macs").min.value))) == 1


def test_weights_that_are_zero_or_underflow() -> None:
    maker, _, clip, nodes = bits(12, (1.0, 0.0))
    space = Space(maker.space(clip, nodes, nodes[-1].output))
    assert len(space.sample(5, seed=0)) == 1
    assert len(space.sample(5, seed=0, weights="architectures")) == 5
    most = space.bounds("macs").max.value
    with pytest.raises(SpecError, match="weight above 0"):
        space.sample(2, seed=0, flops=(most, most))
    # The product of all weights underflows.
    maker, _, clip, nodes = bits(12, (1.0, 1e-300))
    space = Space(maker.space(clip, nodes, nodes[-1].output))
    assert len(space.sample(1, seed=0, flops=(most, most))) == 1
    assert len(space.sample(1 << 12, seed=0)) == 1 << 12
    maker, _, clip, nodes = bits(40, (1.0, 1e-300))
    space = Space(maker.space(clip, nodes, nodes[-1].output))
    ends = space.bounds("macs")
    # At least half of the convolutions are at the width of weight 1e-300: the architectures inside
    # with exactly half have all but 1e-300 of the weight.
    middle = (ends.min.value + ends.max.value) // 2
    for drawn in space.sample(20, seed=0, flops=(middle, ends.max.value)):
        assert list(drawn.values()).count(4) == 20 and space.flops(drawn) == middle


def test_draws_that_repeat_and_draws_that_are_rare_are_different_errors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sampler, "MAX_MISSES", 20_000)
    monkeypatch.setattr(sampler, "MAX_LISTED", -1)
    monkeypatch.setattr(sampler, "MAX_REST", -1)
    maker, _, clip, nodes = bits(20, (1.0, 1e-12))
    space = Space(maker.space(clip, nodes, nodes[-1].output))
    with pytest.raises(SpecError, match=r"weights of space .* hardly ever give more than the 1 "):
        space.sample(5, seed=0)
    monkeypatch.setattr(subtree_keys, "MAX_KEYS", -1)
    space = Space(chain(60))
    value = space.flops(space.sample(seed=3))
    with pytest.raises(SpecError, match="none was inside of macs") as rare:
        space.sample(5, seed=0, flops=(value, value))
    assert rare.value.diagnostics[0].code == "E0594"


def test_the_error_of_an_empty_window_names_the_nearest_costs() -> None:
    graph, found = enumerated(3)
    space = Space(graph)
    values = np.unique([brute_cost(graph, at)[0] for at in found])
    gap = int(np.argmax(np.diff(values)))
    low, high = int(values[gap]), int(values[gap + 1])
    with pytest.raises(SpecError) as none:
        space.sample(2, seed=0, flops=(low + 1, high - 1))
    assert none.value.diagnostics[0].code == "E0593"
    assert f"macs {low:,} and {high:,}" in str(none.value.diagnostics[0].help)
    with pytest.raises(SpecError) as none:
        space.sample(2, seed=0, flops=(0, int(values[0]) - 1))
    assert f"{values[0]:,}..{values[-1]:,}" in str(none.value.diagnostics[0].help)


def test_windows_that_exclude_each_other_are_proven_to() -> None:
    space = Space(chain(60))
    macs, params = space.bounds("macs"), space.bounds("params")
    with pytest.raises(SpecError, match="E0593"):
        space.sample(
            1,
            seed=0,
            flops=(macs.min.value, int(macs.min.value * 1.05)),
            params=(int(params.max.value * 0.95), params.max.value),
        )


def coupled(bound: int) -> Space:
    """A space whose only requirement bounds the sum of sixty widths."""
    maker, widths, clip, nodes = bits(60)
    total = widths[0]
    for k, width in enumerate(widths[1:]):
        total = maker.derive(f"total {k}", lift(lambda a, b: a + b, total, width))
    maker.require(lift(lambda t: t <= bound, total), f"total <= {bound}")
    return Space(maker.space(clip, nodes, nodes[-1].output))


@pytest.mark.parametrize("limit", [(program_module, "MAX_ENTRIES"), (constraints, "MAX_TIE")])
def test_requirements_too_coupled_to_plan_for_are_rejected_afterwards(
    limit: tuple[object, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*limit, 40)
    query_cache.cache_clear()
    space = coupled(176)
    drawn = space.sample(300, seed=1)
    assert len(set(drawn)) == 300
    assert all(sum(a.values()) <= 176 for a in drawn)
    values = space.flops(drawn)
    middle = int(np.median(values))
    inside = space.sample(30, seed=1, flops=(0, middle))
    assert space.flops(inside).max() <= middle and all(sum(a.values()) <= 176 for a in inside)
    monkeypatch.setattr(sampler, "MAX_MISSES", 20_000)
    with pytest.raises(SpecError, match="none met 'require total <= 122'") as rare:
        coupled(122).sample(3, seed=1)
    assert rare.value.diagnostics[0].code == "E0594"


def test_windows_of_costs_beyond_64_bits_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    maker = Maker()
    clip = Edge(constant((1 << 20, 1, 1 << 11, 1 << 11)), "clip")
    nodes = []
    for k in range(5):
        width = maker.decide(f"w{k}", "int", (1 << 20, (1 << 20) - 1 - k, (1 << 19) + k))
        nodes.append(maker.op("conv", f"conv{k}", clip, out=width, kernel=(1, 1, 1)))
    space = Space(maker.space(clip, nodes, nodes[-1].output))
    every = space.sample(1000, seed=0)
    assert len(every) == 3**5
    values = [space.flops(a) for a in every]
    assert max(values) > 1 << 64
    low, high = sorted(values)[60], sorted(values)[120]
    right = {a for a, value in zip(every, values, strict=True) if low <= value <= high}
    middle = sorted(space.params(a) for a in right)[30]
    both = {a for a in right if space.params(a) <= middle}
    for ways in (1 << 14, -1):
        monkeypatch.setattr(sampler, "MAX_LISTED", ways)
        assert set(space.sample(1000, seed=1, flops=(low, high))) == right
        assert set(space.sample(1000, seed=1, flops=(low, high), params=(0, middle))) == both


def test_assignments_are_those_of_the_sample() -> None:
    graph = chain(20)
    at = options_within(graph, 1, 50, {MACS: (0, 10**12)})
    assert [architecture_at(graph, row) for row in at.tolist()] == sample(graph, 1, 50)[
        :0
    ] + sample(graph, 1, 50, "initial", {MACS: (0, 10**12)})


def test_provenance_records_how_a_sample_was_drawn() -> None:
    space = Space(chain(20))
    drawn = space.sample(seed=4, flops=(10**6, float("inf")), weights="architectures")
    assert drawn.provenance == {
        "drawn": {"seed": 4, "weights": "architectures", "windows": {"macs": [10**6, None]}}
    }
    assert window_sampler.BINS[0] < window_sampler.BINS[1]


@pytest.mark.parametrize("row", [[1.0], [0.5, 0.5], [0.0, 1.0], [0.3, 0.0, 0.7], [1e-9, 1.0, 0.0]])
def test_the_guide_table_has_the_option_of_each_interval(row: list[float]) -> None:
    sums = _sums(np.array(row) / sum(row))
    guide = _guide(sums)
    ends = np.arange(PARTS) / PARTS
    inside = np.random.default_rng(0).random((8, PARTS)) / PARTS + ends
    exact = np.searchsorted(sums, inside, side="right")
    single = guide != 255
    assert (exact == guide)[:, single].all()
    assert (~single).sum() <= len(row)
    assert set(np.unique(exact)) <= {k for k, weight in enumerate(row) if weight > 0}
