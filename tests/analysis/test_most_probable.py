"""The most probable architectures within windows equal those of enumeration."""

from __future__ import annotations

import numpy as np
import pytest
from cases import cases
from random_spaces import brute_cost, chain, decisions_of, enumerated, structures

from tsdsl.analysis.distribution import Distribution
from tsdsl.diagnostics import SpecError
from tsdsl.ir.architecture import Architecture
from tsdsl.space import Space


@pytest.mark.parametrize("seed", cases(20, sweep=60))
@pytest.mark.parametrize("kind", ["initial", "random", "holes"])
def test_the_most_probable_are_found_and_proven(seed: int, kind: str) -> None:
    graph, found = enumerated(seed)
    if not found:
        return
    space = Space(graph)
    rng = np.random.default_rng(seed)
    distribution = Distribution.initial(graph)
    if kind != "initial":
        flat = rng.normal(size=distribution.flat.shape)
        if kind == "holes":
            for row in distribution.layout.split(flat):
                if len(row) > 2:
                    row[rng.integers(len(row))] = -np.inf
        distribution = Distribution(graph, flat)
    rows = distribution.probabilities
    logs: dict[Architecture, float] = {}
    costs: dict[Architecture, tuple[int, int]] = {}
    for at in found:
        chosen = decisions_of(graph, at)
        p = 1.0
        for d in graph.decisions:
            if d.path in chosen:
                p *= rows[d.path][at[d.variable.index]]
        architecture = Architecture(chosen)
        if p > 0:
            logs[architecture] = float(np.log(p))
        costs[architecture] = brute_cost(graph, at)
    both = np.array(list(costs.values()))
    a, b = np.quantile(both, [rng.uniform(0, 0.4), rng.uniform(0.5, 1)], axis=0, method="nearest")
    windows = (
        {},
        {"flops": (int(a[0]), int(b[0]))},
        {"flops": (int(a[0]), int(b[0])), "params": (0, int(b[1]))},
        {"flops": (int(both[0, 0]), int(both[0, 0]))},
    )
    for k, window in enumerate(windows):
        inside = {
            arch: log
            for arch, log in logs.items()
            if all(
                low <= cost <= high
                for cost, (low, high) in zip(
                    costs[arch],
                    (window.get("flops", (0, 1 << 60)), window.get("params", (0, 1 << 60))),
                    strict=True,
                )
            )
        }
        if not inside:
            with pytest.raises(SpecError):
                space.most_probable(distribution, **window)
            continue
        # The most probable architecture of each network.
        firsts: dict[object, float] = {}
        for network, log in zip(structures(graph, list(inside)), inside.values(), strict=True):
            firsts[network] = max(log, firsts.get(network, log))
        best = sorted(firsts.values(), reverse=True)[: 3 + k]
        made = space.most_probable(distribution, k=3 + k, **window)
        assert len(set(structures(graph, made))) == len(made) == len(best)
        assert [inside[arch] for arch in made] == pytest.approx(best)
        assert all(arch.provenance["proven"] for arch in made)
        assert made[0].provenance["log_probability"] == pytest.approx(best[0])


def test_a_window_of_a_long_chain_is_kept() -> None:
    graph = chain(24)
    space = Space(graph)
    flat = np.random.default_rng(0).normal(size=space.distribution().flat.shape)
    distribution = Distribution(graph, flat)
    ends = space.bounds("macs")
    free = space.most_probable(distribution)
    budget = (ends.min.value, (ends.min.value + space.flops(free)) // 2)
    best = space.most_probable(distribution, flops=budget)
    assert budget[0] <= space.flops(best) <= budget[1]
    assert best.provenance["log_probability"] <= free.provenance["log_probability"]
