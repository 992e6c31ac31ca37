"""Expected costs by group equal sums over all architectures."""

from __future__ import annotations

import sys
from collections import defaultdict
from math import prod
from pathlib import Path

import numpy as np
import pytest
from cases import cases, swept
from random_spaces import chain, decisions_of, enumerated, made
from text_spaces import MORE, QUICK_PAIRS, SLOW_PAIRS, SPARSE, TEXT, every_architecture

import tsdsl
from tsdsl.analysis.costs.configuration import Configuration
from tsdsl.analysis.costs.cost_table import CostTable
from tsdsl.analysis.costs.counted import MACS
from tsdsl.analysis.costs.items import cost_items, group_path, grouped
from tsdsl.analysis.distribution import Distribution
from tsdsl.diagnostics import SpecError
from tsdsl.ir.graph import walk
from tsdsl.ir.space import SpaceGraph
from tsdsl.space import Space

LEVELS = ("stream", "stage", "block", "op")


COSTS = ("macs", "params", "elements")
#: Spaces with more architectures would take minutes.
MAX_ARCHITECTURES = 800


def probabilities(graph: SpaceGraph, found: list[list[int]], p: np.ndarray) -> np.ndarray:
    """The weight of each architecture, not normalised."""
    starts = Distribution.initial(graph).layout.starts
    weights = np.ones(len(found))
    for row, at in enumerate(found):
        chosen = decisions_of(graph, at)
        for n, d in enumerate(graph.decisions):
            if d.path in chosen:
                weights[row] *= p[starts[n] + at[d.variable.index]]
    return weights


def placed_costs(graph: SpaceGraph, found: list[list[int]]) -> dict[tuple[str, str], np.ndarray]:
    """The costs of each operation, by its path and name: [architecture, cost]."""
    known: dict[tuple, tuple[int, ...]] = {}
    sums: dict[tuple[str, str], np.ndarray] = {}
    for placed in walk(graph.root):
        node, op = placed.node, placed.node.op
        into = sums.setdefault((placed.path, op.name), np.zeros((len(found), len(COSTS))))
        for row, at in enumerate(found):
            if not all(g.selector.at(at) == g.case for g in placed.guards):
                continue
            args = {k: v.at(at) for k, v in node.args.items()}
            shapes = [edge.shape.at(at) for edge in node.inputs]
            key = (op.name, *args.items(), *shapes)
            if key not in known:
                made = op.Args(**args)
                params = sum(prod(q.shape) for q in op.params(made, *shapes))
                known[key] = (op.macs(made, *shapes), params)
            into[row] += (*known[key], prod(node.output.shape.at(at)))
    return sums


@pytest.mark.parametrize("seed", cases(12, sweep=50))
def test_groups_of_generated_spaces_equal_sums_over_all_architectures(seed: int) -> None:
    graph, found = next(
        (graph, found)
        for graph, found in map(enumerated, range(seed, 1000, 50))
        if len(found) <= MAX_ARCHITECTURES
    )
    space = Space(graph)
    placed = placed_costs(graph, found)
    for distribution in (Distribution.initial(graph), made(graph, seed)):
        weights = probabilities(graph, found, distribution.flat_probabilities)
        if not weights.sum() > 0:
            with pytest.raises(SpecError):
                space.breakdown("macs", "stage", distribution)
            continue
        weights /= weights.sum()
        for by in LEVELS:
            right: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(len(COSTS)))
            for (path, op), values in placed.items():
                right[".".join(group_path(path, op, by))] += weights @ values
            for k, cost in enumerate(COSTS):
                parts = space.breakdown(cost, by, distribution)
                assert list(parts) == list(right)
                for name, value in parts.items():
                    assert value == pytest.approx(right[name][k], rel=1e-10, abs=1e-6)
                whole = space.expectation(cost, distribution)
                assert sum(parts.values()) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize(("sparse", "more"), [*QUICK_PAIRS, *(swept(*p) for p in SLOW_PAIRS)])
def test_groups_are_those_of_one_architecture(sparse: int, more: int, tmp_path: Path) -> None:
    """For spaces with streams, fusion, attention, depths and requirements, and a measured cost."""
    file = tmp_path / "small.tsnet"
    file.write_text(TEXT.format(sparse=SPARSE[sparse], dense="width", more=MORE[more]))
    space = tsdsl.load(file)
    weighed = every_architecture(space)
    values = {
        Configuration.of(call.op, call.args, call.shapes): 7 + 3 * (k % 11)
        for arch in weighed
        for k, (_, call) in enumerate(space.network(arch).ops())
    }
    table = CostTable("latency", "ns", values)
    space = space.with_costs(table)
    networks = [(cost_items(space.network(a), [table]), weight) for a, weight in weighed.items()]
    for by in LEVELS:
        sums: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(3))
        for network, weight in networks:
            for row in grouped(network, by):
                sums[row.name] += weight * np.array([row.macs, row.params, row.costs[0]])
        for k, cost in enumerate(("macs", "params", "latency")):
            parts = space.breakdown(cost, by)
            assert parts.keys() == sums.keys()
            for name, value in parts.items():
                assert value == pytest.approx(sums[name][k], rel=1e-10)


def test_a_space_without_decisions_has_the_costs_of_its_network() -> None:
    space = tsdsl.load(Path(__file__).resolve().parents[2] / "specs" / "x3d_xs.tsnet")
    for by in LEVELS:
        rows = grouped(cost_items(space.network()), by)
        assert space.breakdown("macs", by) == {row.name: row.macs for row in rows}


def test_groups_are_in_order_of_appearance(tmp_path: Path) -> None:
    file = tmp_path / "small.tsnet"
    file.write_text(TEXT.format(sparse=SPARSE[0], dense="8", more=MORE[1]))
    names = list(tsdsl.load(file).breakdown("macs", "stream"))
    assert names == ["sparse", "dense", "fuse", "attend", "head"]


def test_uniform_moments_are_those_of_all_architectures() -> None:
    """Also where the number of architectures overflows a float."""
    for seed in range(12):
        graph, found = enumerated(seed)
        if not found:
            continue
        space = Space(graph)
        costs = space.flops([tsdsl.Architecture(decisions_of(graph, at)) for at in found])
        uniform = space.query_cache.expectation(MACS).uniform_moments()
        assert uniform.mean == pytest.approx(costs.mean(), rel=1e-12)
        assert uniform.variance == pytest.approx(costs.var(), rel=1e-9, abs=1e-6)
    long = Space(chain(blocks=240))
    assert long.size > sys.float_info.max
    uniform = long.query_cache.expectation(MACS).uniform_moments()
    ends = long.bounds("macs")
    assert ends.min.value < uniform.mean < ends.max.value and uniform.variance > 0
