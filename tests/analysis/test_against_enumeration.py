"""Costs, bounds, counts and samples of small spaces equal brute force over all architectures."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import numpy as np
import pytest
from cases import cases
from random_spaces import brute_cost, decisions_of, enumerated, structures

from tsdsl.analysis.costs.assignments import assignments
from tsdsl.analysis.costs.counted import MACS, PARAMS
from tsdsl.analysis.elimination.bounds import bounds
from tsdsl.analysis.elimination.count import count
from tsdsl.analysis.sampling.sampler import sample
from tsdsl.diagnostics import ArchitectureError, SpecError
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.resolve import architecture_at
from tsdsl.ir.space import SpaceGraph
from tsdsl.space import Space

COSTS = (MACS, PARAMS)


@pytest.mark.parametrize("seed", cases(24, sweep=60))
def test_the_count_is_exact(seed: int) -> None:
    space, found = enumerated(seed)
    assert count(space) == len(found)
    assert Space(space).size == len(found)


@pytest.mark.parametrize("seed", cases(24, sweep=60))
def test_bounds_are_exact_and_attained(seed: int) -> None:
    space, found = enumerated(seed)
    if not found:
        with pytest.raises(SpecError):
            bounds(space, MACS)
        return
    brute = {architecture_at(space, at): brute_cost(space, at) for at in found}
    for k, cost in enumerate(COSTS):
        ends = bounds(space, cost)
        values = [both[k] for both in brute.values()]
        assert (ends.min.value, ends.max.value) == (min(values), max(values))
        for end in ends:
            assert brute[end.architecture][k] == end.value


@pytest.mark.parametrize("seed", cases(24, sweep=60))
def test_costs_of_given_architectures_are_exact(seed: int) -> None:
    graph, found = enumerated(seed)
    some = found[:: max(1, len(found) // 60)]
    archs = [architecture_at(graph, at) for at in some]
    assert assignments(graph, archs).tolist() == some
    for k, cost in enumerate(COSTS):
        assert Space(graph).value(cost.name, archs).tolist() == [
            brute_cost(graph, at)[k] for at in some
        ]
    space = Space(graph)
    for at, arch in zip(some[:3], archs, strict=False):
        assert (space.flops(arch), space.params(dict(arch))) == brute_cost(graph, at)
    assert Space(graph).value("macs", []).tolist() == []


def odds(space: SpaceGraph, found: list[list[int]]) -> dict[Architecture, float]:
    """The probability of each architecture under the weights of the spec."""
    weight: dict[Architecture, float] = {}
    for at in found:
        chosen = decisions_of(space, at)
        p = 1.0
        for d in space.decisions:
            if d.path in chosen:
                weights = d.weights or (1.0,) * len(d.options)
                p *= weights[at[d.variable.index]] / sum(weights)
        weight[Architecture(chosen)] = p
    total = sum(weight.values())
    return {arch: p / total for arch, p in weight.items()}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("weights", ["initial", "architectures"])
def test_samples_have_the_distribution(
    seed: int, weights: Literal["initial", "architectures"]
) -> None:
    space, found = enumerated(seed)
    if not found:
        with pytest.raises(SpecError):
            sample(space, 1, 1, weights)
        return
    p = odds(space, found)
    if weights == "architectures":
        p = dict.fromkeys(p, 1 / len(p))
    n = 3000
    drawn = Counter(sample(space, 1, n, weights, distinct=False))
    assert drawn.keys() <= p.keys()
    # Rare ones in one cell, so that the statistic is nearly chi-squared.
    rare = [arch for arch in p if p[arch] * n < 5]
    cells = [(drawn[arch], p[arch] * n) for arch in p if p[arch] * n >= 5]
    if rare:
        cells.append((sum(drawn[a] for a in rare), sum(p[a] for a in rare) * n))
    statistic = sum((seen - wanted) ** 2 / wanted for seen, wanted in cells)
    freedom = max(len(cells) - 1, 1)
    assert statistic < freedom + 4.5 * (2 * freedom) ** 0.5 + 8


@pytest.mark.parametrize("seed", range(12))
def test_samples_are_distinct_and_reproducible(seed: int) -> None:
    space, found = enumerated(seed)
    if not found:
        return
    drawn = sample(space, 5, 10)
    assert drawn == sample(space, 5, 10)
    every = [architecture_at(space, at) for at in found]
    networks = set(structures(space, every))
    assert len(set(structures(space, drawn))) == len(drawn) == min(10, len(networks))
    assert sample(space, 5, 5) == drawn[:5]
    everything = sample(space, 5, len(found) + 1)
    assert set(everything) <= set(every)
    assert set(structures(space, everything)) == networks and len(everything) == len(networks)
    # Distinct by architecture: each one comes once.
    everything = sample(space, 5, len(found) + 1, distinct="architectures")
    assert set(everything) == set(every) and len(everything) == len(every)


def test_weights_by_decision_path_are_used_and_checked() -> None:
    space, _ = enumerated(2)
    first = space.decisions[0]
    last = [0.0] * (len(first.options) - 1) + [1.0]
    for arch in sample(space, 0, 5, {first.path: last}):
        assert arch[first.path] == first.options[-1]
    with pytest.raises(ValueError, match="weights"):
        sample(space, 0, 1, {first.path: [1.0] * 9})


def test_costs_of_an_invalid_architecture_are_refused() -> None:
    space, found = enumerated(4)
    good = architecture_at(space, found[0])
    bad = Architecture({**good, "s0.width": 5})
    with pytest.raises(ArchitectureError):
        Space(space).value("macs", [good, bad])
    with pytest.raises(ArchitectureError):
        Space(space).value("macs", [{}])
    extra = Architecture({**good, "s9.width": 5})
    with pytest.raises(ArchitectureError):
        Space(space).value("macs", [extra])
    written = {k: float(o) if isinstance(o, int) else o for k, o in good.items()}
    assert (
        Space(space).value("macs", [written]).tolist()
        == Space(space).value("macs", [good]).tolist()
    )


@pytest.mark.parametrize("seed", range(0, 60, 3))
def test_costs_of_an_architecture_that_violates_a_requirement_are_refused(seed: int) -> None:
    space, found = enumerated(seed)
    allowed = {architecture_at(space, at) for at in found}
    free = SpaceGraph(
        **{
            name: () if name == "requirements" else getattr(space, name)
            for name in SpaceGraph.__annotations__
        }
    )
    for arch in sample(free, 0, 20):
        if arch in allowed:
            assert Space(space).value("macs", [arch])[0] == Space(free).value("macs", [arch])[0]
        else:
            with pytest.raises(ArchitectureError):
                Space(space).value("macs", [arch])


@pytest.mark.parametrize("seed", range(20))
def test_decoding_inverts_encoding(seed: int) -> None:
    graph, found = enumerated(seed)
    space = Space(graph)
    archs = [architecture_at(graph, at) for at in found][:50]
    options = space.encode(archs)
    assert options.shape == (len(archs), len(space.decisions))
    assert space.decode(options) == archs
    assert space.flops(options).tolist() == space.flops(archs).tolist()
    if not archs or not space.decisions:
        return
    with pytest.raises(ValueError, match="has no option"):
        space.decode(options + 99)
    with pytest.raises(ValueError, match="columns"):
        space.decode(options[:, 1:])
    allowed = set(archs) if len(found) <= 50 else None
    for row in np.random.default_rng(seed).integers(0, 2, (20, options.shape[1])):
        row = np.minimum(row, [len(d.options) - 1 for d in space.decisions])
        try:
            (made,) = space.decode(row[None])
        except ArchitectureError as error:
            assert {d.code for d in error.diagnostics} == {"E0715"}
        else:
            assert allowed is None or made in allowed
