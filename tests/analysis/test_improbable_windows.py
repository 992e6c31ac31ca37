"""Queries and samples under peaked distributions, where probabilities underflow, equal those of
enumeration in logarithms."""

from __future__ import annotations

import json
from collections import Counter
from math import exp, log
from typing import Any

import numpy as np
import pytest
from random_spaces import brute_cost, decisions_of, enumerated

import tsdsl.analysis.sampling.improbable_windows as improbable
from tsdsl.analysis.costs.counted import MACS
from tsdsl.analysis.distribution import Distribution
from tsdsl.analysis.elimination.cache import query_cache
from tsdsl.analysis.sampling import sampler
from tsdsl.analysis.sampling.meet_in_the_middle import MeetInTheMiddleSampler
from tsdsl.analysis.sampling.most_probable import most_probable
from tsdsl.analysis.windows.enumeration import Enumerator
from tsdsl.diagnostics import SpecError
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.space import SpaceGraph
from tsdsl.space import Space

GAPS = (8.0, 100.0, 400.0, 1000.0, 1e5)


def peaked(graph: SpaceGraph, gap: float, seed: int) -> Distribution:
    """One option of each decision has the logit 0, the others between -gap - 1 and -gap."""
    random = np.random.default_rng(seed)
    flat = Distribution.uniform(graph).flat.copy()
    for row in Distribution.uniform(graph).layout.split(flat):
        row[:] = -gap - random.random(len(row))
        row[random.integers(len(row))] = 0.0
    return Distribution(graph, flat)


def log_weights(graph: SpaceGraph, found: list[list[int]], given: Distribution) -> dict[Any, Any]:
    """The logarithm of the weight and the MACs of each architecture."""
    made: dict[Architecture, tuple[float, int]] = {}
    for at in found:
        chosen = decisions_of(graph, at)
        total = 0.0
        for d in graph.decisions:
            if d.path in chosen:
                row = [float(x) for x in given.logits[d.path]]
                top = max(row)
                total += row[at[d.variable.index]] - top - log(sum(exp(x - top) for x in row))
        made[Architecture(chosen)] = total, brute_cost(graph, at)[0]
    return made


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize("seed", range(0, 16, 2))
def test_the_most_probable_and_moments_do_not_underflow(seed: int, gap: float) -> None:
    graph, found = enumerated(seed)
    if not found:
        return
    given, space = peaked(graph, gap, seed), Space(graph)
    logs = log_weights(graph, found, given)
    macs = sorted(m for _, m in logs.values())
    top = max(log for log, _ in logs.values())
    total = sum(exp(log - top) for log, _ in logs.values())
    mean = sum(exp(log - top) * m for log, m in logs.values()) / total
    assert space.expectation("macs", given) == pytest.approx(mean, rel=1e-9)
    for window in ((macs[0], macs[len(macs) // 5]), (macs[-1], macs[-1])):
        inside = {a: log for a, (log, m) in logs.items() if window[0] <= m <= window[1]}
        best = sorted(inside.values(), reverse=True)[:4]
        # Architectures, not networks: several can be the same network.
        made = most_probable(graph, 4, {MACS: window}, given)
        assert len(set(made)) == len(made) == len(best)
        assert [inside[a] for a in made] == pytest.approx(best, rel=1e-12, abs=1e-9)
        assert [a.provenance["log_probability"] for a in made] == pytest.approx(best, rel=1e-12)
        share = sum(exp(log - top) for log in inside.values()) / total
        mass = space.mass(given, flops=window)
        assert mass.low <= share * (1 + 1e-9) and share <= mass.high * (1 + 1e-9)
        assert mass.high > 0
        everything = sampler.sample(
            graph, 1, len(found) + 1, given, {MACS: window}, distinct="architectures"
        )
        assert set(everything) == inside.keys()


@pytest.mark.parametrize("gap", GAPS)
def test_draws_follow_the_weights(gap: float, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing is enumerated: a grid, and what takes over where a grid underflows.
    monkeypatch.setattr(sampler, "MAX_LISTED", 0)
    spaces = [made for seed in range(1, 12, 2) if (made := enumerated(seed))[1]]
    assert len(spaces) > 2
    for seed, (graph, found) in enumerate(spaces[:4]):
        given, space = peaked(graph, gap, seed), Space(graph)
        logs = log_weights(graph, found, given)
        macs = sorted(m for _, m in logs.values())
        window = (macs[0], macs[len(macs) // 5])
        inside = {a: log for a, (log, m) in logs.items() if m <= window[1]}
        top = max(inside.values())
        total = sum(exp(log - top) for log in inside.values())
        n = 2000
        drawn = Counter(sampler.sample(graph, 1, n, given, {MACS: window}, distinct=False))
        assert drawn.keys() <= inside.keys()
        cells = [(drawn[a], n * exp(log - top) / total) for a, log in inside.items()]
        often = [(seen, wanted) for seen, wanted in cells if wanted >= 5]
        statistic = sum((seen - wanted) ** 2 / wanted for seen, wanted in often)
        assert statistic < len(often) + 4.5 * (2 * len(often)) ** 0.5 + 8
        assert space.count(flops=window) == len(inside)


@pytest.mark.parametrize(
    "logit", ["1" + "0" * 400, "1e308", "-1e301", "NaN", "Infinity", "true", '"2"', "[1]"]
)
def test_an_invalid_logit_in_a_file_is_a_finding(logit: str) -> None:
    graph, _ = enumerated(2)
    document = json.loads(Distribution.initial(graph).dump())
    path = next(p for p, d in document["decisions"].items() if len(d["options"]) > 1)
    document["decisions"][path]["logits"][0] = "HERE"
    text = json.dumps(document).replace('"HERE"', logit)
    with pytest.raises(SpecError) as error:
        Distribution.parse(graph, text)
    assert [d.code for d in error.value.diagnostics] == ["E0721"]


@pytest.mark.parametrize("step", ["_densest_part", "_flatten", "_regrid", "_heaviest_windows"])
@pytest.mark.parametrize("error", [ValueError, KeyError, IndexError, np.linalg.LinAlgError])
def test_an_error_inside_of_meet_in_the_middle_surfaces(
    step: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not taken for "no part of this space can be completed"."""
    graph, found = enumerated(2)
    space = Space(graph)

    def broken(self: MeetInTheMiddleSampler) -> None:
        raise error("operands could not be broadcast together")

    monkeypatch.setattr(MeetInTheMiddleSampler, step, broken)
    monkeypatch.setattr(sampler, "MAX_LISTED", 0)
    monkeypatch.setattr(sampler, "TRIED", 0)
    monkeypatch.setattr(sampler, "RARE", 2.0)
    monkeypatch.setattr(sampler, "PLAIN", 0)
    monkeypatch.setattr(sampler, "COMMON", 2.0)
    costs = sorted(brute_cost(graph, at)[0] for at in found)
    window = (costs[1], costs[-2])
    with pytest.raises(error, match="broadcast"):
        sampler.sample(graph, 0, 100_000, "initial", {MACS: window}, distinct=False)
    assert space.count(flops=window) > 0


def test_an_open_end_is_shown_as_open(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, found = enumerated(2)
    most = max(brute_cost(graph, at)[0] for at in found)
    nothing = np.zeros((0, len(graph.variables)), np.int64)
    monkeypatch.setattr(sampler, "MAX_LISTED", 0)
    monkeypatch.setattr(sampler, "_inside", lambda *_: iter([(nothing, 3_000_000)]))
    with pytest.raises(SpecError) as error:
        Space(graph).sample(1, seed=0, flops=(-np.inf, most - 1))
    (found_one,) = error.value.diagnostics
    assert found_one.code == "E0594"
    assert f"macs ..{most - 1:,}" in found_one.message


def drawn(
    graph: SpaceGraph, given: Distribution, window: tuple[int, int], distinct: bool, n: int
) -> list[Architecture]:
    """``n`` architectures that `improbable` draws."""
    random = np.random.Generator(np.random.PCG64(7))
    rows = given.layout.split(given.flat_logs)
    made: list[Architecture] = []
    for at, _ in improbable.improbable(query_cache(graph), rows, {MACS: window}, random, distinct):
        made += sampler.architectures(graph, at)
        made = list(dict.fromkeys(made)) if distinct else made
        if len(made) >= n:
            break
    return made[:n]


@pytest.mark.parametrize("gap", (3.0, 30.0, 300.0))
def test_draws_from_powers_of_the_distribution_follow_the_weights(
    gap: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing is enumerated: draws are from powers of the distribution, with rejection.
    monkeypatch.setattr(Enumerator, "assignments", lambda *_: None)
    monkeypatch.setattr(improbable, "_likely", lambda *_: None)
    monkeypatch.setattr(improbable, "CHUNK", 512)
    spaces = [made for seed in range(1, 12, 2) if len((made := enumerated(seed))[1]) > 20]
    for seed, (graph, found) in enumerate(spaces[:3]):
        given = peaked(graph, gap, seed)
        logs = log_weights(graph, found, given)
        macs = sorted(m for _, m in logs.values())
        window = (macs[0], macs[len(macs) // 3])
        inside = {a: log for a, (log, m) in logs.items() if m <= window[1]}
        top = max(inside.values())
        total = sum(exp(log - top) for log in inside.values())

        n = 2000
        counts = Counter(drawn(graph, given, window, False, n))
        assert counts.keys() <= inside.keys()
        cells = [(counts[a], n * exp(log - top) / total) for a, log in inside.items()]
        often = [(seen, wanted) for seen, wanted in cells if wanted >= 5]
        statistic = sum((seen - wanted) ** 2 / wanted for seen, wanted in often)
        assert statistic < len(often) + 4.5 * (2 * len(often)) ** 0.5 + 8
        # What is less probable by far comes when all else has.
        some = drawn(graph, given, window, True, min(len(inside), 8))
        assert set(some) <= inside.keys()
        ranked = sorted(inside.values(), reverse=True)
        for k in range(1, len(some)):
            if ranked[k - 1] - ranked[k] > 25:
                assert sorted((inside[a] for a in some[:k]), reverse=True) == ranked[:k]
