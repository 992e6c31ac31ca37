"""The configurations of a space are exactly those of all of its architectures."""

from __future__ import annotations

import pytest
from cases import cases
from random_spaces import chain, enumerated

import tsdsl.analysis.elimination.configurations as module
from tsdsl.analysis.costs.configuration import Configuration
from tsdsl.analysis.costs.cost_table import CostTable
from tsdsl.analysis.elimination.configurations import configurations, of_network
from tsdsl.diagnostics import SpecError
from tsdsl.ir.freeze import freeze
from tsdsl.ir.graph import walk
from tsdsl.ir.ordering import TooCoupled
from tsdsl.ir.resolve import architecture_at
from tsdsl.ir.space import SpaceGraph
from tsdsl.space import Space

SEEDS = range(60)


def brute(space: SpaceGraph, found: list[list[int]]) -> set[Configuration]:
    """The configurations of all architectures, from each one's operations."""
    made: set[Configuration] = set()
    for at in found:
        for placed in walk(space.root):
            if all(g.selector.at(at) == g.case for g in placed.guards):
                node = placed.node
                args = node.op.Args(**{k: v.at(at) for k, v in node.args.items()})
                shapes = [edge.shape.at(at) for edge in node.inputs]
                made.add(Configuration.of(node.op, args, shapes))
    return made


@pytest.mark.parametrize("seed", cases(24, sweep=60))
def test_configurations_are_exactly_those_of_some_architecture(seed: int) -> None:
    space, found = enumerated(seed)
    if not found:
        with pytest.raises(SpecError):
            configurations(space)
        return
    asked = configurations(space)
    assert asked.exact
    assert len(set(asked.configurations)) == len(asked.configurations)
    assert set(asked.configurations) == brute(space, found)


def test_requirements_and_ties_exclude_configurations() -> None:
    """The product of the tables has more: the test above is not vacuous."""
    seen = 0
    for seed in SEEDS:
        space, found = enumerated(seed)
        if found:
            seen += len(_superset(space)) > len(brute(space, found))
    assert seen > 10


def _superset(space: SpaceGraph) -> set[Configuration]:
    with pytest.MonkeyPatch.context() as patch:

        def too_coupled(*_: object) -> None:
            raise TooCoupled(["a"], 2, 1, "an exact answer")

        patch.setattr(module, "bucket_tree", too_coupled)
        asked = configurations(space)
    assert not asked.exact
    return set(asked.configurations)


@pytest.mark.parametrize("seed", range(20))
def test_too_coupled_gives_a_superset(seed: int) -> None:
    space, found = enumerated(seed)
    assert _superset(space) >= brute(space, found)


@pytest.mark.parametrize("seed", range(6))
def test_configurations_of_a_network_are_its_own(seed: int) -> None:
    space, found = enumerated(seed)
    for at in found[:3]:
        network = freeze(space, architecture_at(space, at))
        assert set(of_network(network).configurations) == brute(space, [at])


@pytest.mark.parametrize("seed", range(12))
def test_a_table_of_them_costs_every_architecture(seed: int) -> None:
    graph, found = enumerated(seed)
    if not found:
        return
    asked = configurations(graph).configurations
    table = CostTable("energy", "uJ", {c: 3 + k for k, c in enumerate(asked)})
    space = Space(graph).with_costs(table)
    archs = [architecture_at(graph, at) for at in found[:50]]
    values = space.value("energy", archs).tolist()
    for at, value in zip(found, values, strict=False):
        network = freeze(graph, architecture_at(graph, at))
        calls = [Configuration.of(c.op, c.args, c.shapes) for _, c in network.ops()]
        assert value == sum(table.values[call] for call in calls)
    assert space.bounds("energy").min.value <= min(values)


def test_a_missing_measurement_is_a_finding() -> None:
    graph = next(space for space, found in map(enumerated, SEEDS) if len(found) > 10)
    asked = configurations(graph).configurations
    for left_out in asked:
        values = {c: 1 for c in asked if c != left_out}
        space = Space(graph).with_costs(CostTable("energy", "uJ", values))
        with pytest.raises(SpecError, match="E0722"):
            space.bounds("energy")


def test_configurations_of_a_long_chain_are_exact() -> None:
    asked = configurations(chain(blocks=20))
    assert asked.exact and len(asked.configurations) > 20
