"""A frozen network is the space at an assignment."""

from __future__ import annotations

import pytest
from random_spaces import brute_cost, decisions_of, enumerated

from tsdsl.diagnostics import ArchitectureError
from tsdsl.ir.freeze import assignment, freeze
from tsdsl.ir.graph import walk
from tsdsl.ir.network import Body, Branch, OpCall

SEEDS = range(50)


@pytest.mark.parametrize("seed", SEEDS)
def test_frozen_equals_the_space_at_the_assignment(seed: int) -> None:
    space, found = enumerated(seed)
    for at in found[:: max(1, len(found) // 12)]:
        decisions = decisions_of(space, at)
        assert assignment(space, decisions) == at
        network = freeze(space, decisions)
        assert network.decisions == decisions
        assert sum(call.macs for _, call in network.ops()) == brute_cost(space, at)[0]
        placed = [p for p in walk(space.root) if all(g.selector.at(at) == g.case for g in p.guards)]
        assert [path for path, _ in network.ops()] == [p.path for p in placed]
        for (_, call), p in zip(network.ops(), placed, strict=True):
            assert call.op is p.node.op
            assert call.op.infer(call.args, *call.shapes) == call.output.shape
            assert call.output.shape == p.node.output.shape.at(at)


@pytest.mark.parametrize("seed", [3, 7, 11])
def test_edges_connect(seed: int) -> None:
    space, found = enumerated(seed)
    network = freeze(space, decisions_of(space, found[-1])) if found else None

    def check(body: Body, known: set[int]) -> None:
        for call in body.calls:
            if isinstance(call, OpCall):
                assert all(id(t) in known for t in call.inputs)
            elif isinstance(call, Branch):
                assert 0 <= call.case < call.cases
                check(call.body, known)
                assert call.output.shape == call.body.result.shape
            else:
                assert [t.shape for t in call.inputs] == [t.shape for t in call.formals]
                check(call.body, known | {id(t) for t in call.formals})
                assert call.output.shape == call.body.result.shape
            known.add(id(call.output))
        assert id(body.result) in known

    if network is not None:
        check(network.body, {id(network.clip)})


def test_freezing_validates() -> None:
    space, _ = enumerated(4)
    with pytest.raises(ArchitectureError):
        freeze(space, {})
