"""Distributions and their files; means, variances and gradients against sums over all
architectures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cases import cases
from random_spaces import brute_cost, chain, decisions_of, enumerated, made

from tsdsl.analysis import distribution_file
from tsdsl.analysis.costs.counted import MACS
from tsdsl.analysis.distribution import Distribution
from tsdsl.analysis.elimination.cache import query_cache
from tsdsl.analysis.logits import softmax
from tsdsl.diagnostics import FileError, SpecError
from tsdsl.ir.resolve import architecture_at
from tsdsl.ir.space import SpaceGraph
from tsdsl.space import Space


def brute(space: SpaceGraph, found: list[list[int]], p: np.ndarray, k: int) -> tuple[float, float]:
    """Mean and variance of a cost."""
    weights, values = [], []
    starts = Distribution.initial(space).layout.starts
    for at in found:
        chosen = decisions_of(space, at)
        weight = 1.0
        for n, d in enumerate(space.decisions):
            if d.path in chosen:
                weight *= p[starts[n] + at[d.variable.index]]
        weights.append(weight)
        values.append(brute_cost(space, at)[k])
    w, v = np.array(weights), np.array(values, float)
    if not w.sum() > 0:
        return float("nan"), float("nan")
    mean = (w * v).sum() / w.sum()
    return mean, (w * (v - mean) ** 2).sum() / w.sum()


@pytest.mark.parametrize("seed", cases(24, sweep=60))
def test_moments_equal_sums_over_all_architectures(seed: int) -> None:
    graph, found = enumerated(seed)
    space = Space(graph)
    for distribution in (Distribution.initial(graph), made(graph, seed)):
        for k, cost in enumerate(("macs", "params")):
            mean, variance = brute(graph, found, distribution.flat_probabilities, k)
            if mean != mean:
                with pytest.raises(SpecError):
                    space.expectation(cost, distribution)
                continue
            assert space.expectation(cost, distribution) == pytest.approx(mean, rel=1e-12)
            assert space.variance(cost, distribution) == pytest.approx(variance, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("seed", cases(24, sweep=60))
def test_the_gradient_equals_finite_differences(seed: int) -> None:
    graph, found = enumerated(seed)
    if not found:
        return
    space = Space(graph)
    rng = np.random.default_rng(seed)
    start = Distribution.initial(graph)
    flat = rng.normal(size=start.flat.shape)
    exact = np.concatenate(list(space.gradient("macs", Distribution(graph, flat)).values()))
    means = query_cache(graph).expectation(MACS)
    scale = max(1.0, float(np.abs(exact).max()))
    for k in rng.choice(len(flat), min(len(flat), 8), replace=False):
        ends = []
        for step in (1e-5, -1e-5):
            moved = flat.copy()
            moved[k] += step
            ends.append(means.mean(softmax(moved, start.layout)))
        assert exact[k] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5, abs=1e-6 * scale)


def test_the_gradient_is_zero_for_an_impossible_option() -> None:
    graph, _ = enumerated(2)
    distribution = made(graph, 2)
    for seed in range(30):
        distribution = made(graph, seed)
        if np.isinf(distribution.flat).any():
            break
    _, pull = query_cache(graph).expectation(MACS).gradient(distribution.flat_probabilities)
    assert np.isfinite(pull).all()
    assert (pull[np.isinf(distribution.flat)] == 0).all()


def test_moments_of_a_long_chain_agree_with_samples() -> None:
    graph = chain(80)
    space = Space(graph)
    drawn = space.flops(space.sample(400, seed=3))
    deviation = space.std("macs")
    assert abs(drawn.mean() - space.expectation("macs")) < 4 * deviation / 20
    assert drawn.std() == pytest.approx(deviation, rel=0.2)


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    graph, _ = enumerated(3)
    distribution = made(graph, 4)
    distribution.save(tmp_path / "d.json")
    again = Distribution.load(graph, tmp_path / "d.json")
    assert (again.flat == distribution.flat).all()
    assert json.loads(distribution.dump())["format"] == "tsnet-dist/1"
    with pytest.raises(FileError):
        Distribution.load(graph, tmp_path / "none.json")


def test_a_file_that_does_not_fit_is_a_finding() -> None:
    graph, _ = enumerated(3)
    good = json.loads(Distribution.initial(graph).dump())
    path = graph.decisions[0].path
    for change, message in (
        ({"format": "tsnet-dist/2"}, "format"),
        ({"more": 1}, "more"),
        ({"decisions": {}}, "no logits"),
        ({"decisions": {**good["decisions"], "s9.width": good["decisions"][path]}}, "s9.width"),
        ({"decisions": {**good["decisions"], path: {"options": [1], "logits": [0.0]}}}, path),
    ):
        with pytest.raises(SpecError, match=message.replace("[", r"\[")) as caught:
            Distribution.parse(graph, json.dumps({**good, **change}))
        assert caught.value.diagnostics[0].code == "E0721"
    for text in ("{", "[]", '{"format": NaN}', "[" * 100_000):
        with pytest.raises(SpecError):
            Distribution.parse(graph, text)


@pytest.mark.parametrize("error", [ValueError, RecursionError, KeyError])
@pytest.mark.parametrize("part", ["_decision_rows", "_joint_rows", "LogitLayout"])
def test_an_error_inside_of_the_reader_surfaces(
    part: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not taken for a fault of the file (E0721)."""

    class Broken:
        def __call__(self, *_: object) -> None:
            raise error("of ours")

        of = __call__

    graph, _ = enumerated(3)
    text = Distribution.initial(graph).dump()
    monkeypatch.setattr(distribution_file, part, Broken())
    with pytest.raises(error, match="of ours"):
        Distribution.parse(graph, text)


def test_decisions_that_cannot_be_a_group_are_a_finding() -> None:
    graph, _ = next((g, f) for g, f in map(enumerated, range(60)) if len(g.decisions) > 1)
    document = json.loads(Distribution.initial(graph).dump())
    path = graph.decisions[0].path
    count = len(graph.decisions[0].options)
    document["joint"] = [{"decisions": [path, path], "logits": [0.0] * count**2}]
    with pytest.raises(SpecError, match="cannot be a group") as caught:
        Distribution.parse(graph, json.dumps(document))
    assert caught.value.diagnostics[0].code == "E0721"


def test_invalid_logits_and_weights_are_refused() -> None:
    graph, _ = enumerated(3)
    other, _ = enumerated(4)
    size = len(Distribution.initial(graph).flat)
    with pytest.raises(ValueError, match="logits"):
        Distribution(graph, np.zeros(size + 1))
    with pytest.raises(ValueError, match="no distribution"):
        Distribution(graph, np.full(size, np.nan))
    with pytest.raises(ValueError, match="no decision"):
        Distribution.from_weights(graph, {"nothing": [1.0]})
    with pytest.raises(ValueError, match="does not belong to space"):
        Space(graph).expectation("macs", Distribution.initial(other))


@pytest.mark.parametrize("seed", cases(24, sweep=60))
def test_costs_of_options_equal_brute_force(seed: int) -> None:
    graph, found = enumerated(seed)
    some = found[:: max(1, len(found) // 40)]
    options = np.array([[at[d.variable.index] for d in graph.decisions] for at in some])
    space = Space(graph)
    for k, cost in enumerate((space.flops, space.params)):
        right = [brute_cost(graph, at)[k] for at in some]
        if some:
            assert cost(options).tolist() == right
        assert [cost(architecture_at(graph, at)) for at in some] == right
