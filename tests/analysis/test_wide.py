"""A query that is too coupled is an error with names and sizes; other queries still answer."""

from __future__ import annotations

import pytest
from random_spaces import Maker, brute_cost

from tsdsl.analysis.elimination import bucket_tree as module
from tsdsl.ir.graph import Edge
from tsdsl.ir.ordering import TooCoupled
from tsdsl.ir.values import constant, lift
from tsdsl.space import Space


def wide() -> Space:
    """A space in which every pair of six widths shares an operation."""
    maker = Maker()
    clip = Edge(constant((3, 2, 4, 4)), "clip")
    nodes, widths = [], []
    for k in range(6):
        widths.append(maker.decide(f"w{k}", "int", (4, 6, 8)))
    for i in range(6):
        for j in range(i):
            both = lift(lambda a, b: a * b, widths[i], widths[j])
            nodes.append(maker.op("conv", f"conv{i}_{j}", clip, out=both, kernel=(1, 1, 1)))
    return Space(maker.space(clip, nodes, nodes[-1].output))


def test_queries_that_need_too_large_a_table_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ENTRIES", 300)
    space = wide()
    for query in (
        lambda: space.bounds("macs"),
        lambda: space.expectation("macs"),
        lambda: space.sample(3, seed=0, flops=(0, 10**9)),
        lambda: space.count(flops=(0, 5000)),
        lambda: space.most_probable(flops=(0, 5000)),
    ):
        with pytest.raises(TooCoupled) as caught:
            query()
        assert caught.value.size == 3**6
        assert set(caught.value.names) == {f"w{k}" for k in range(6)}
        assert caught.value.diagnostics[0].code == "E0592"
    assert space.size == 3**6
    drawn = space.sample(20, seed=0)
    assert len(drawn) == 20
    costs = space.flops(drawn)
    assert [space.flops(a) for a in drawn] == costs.tolist()
    at = [drawn[0][f"w{k}"] for k in range(6)]
    assert costs[0] == brute_cost(space.graph, [(4, 6, 8).index(w) for w in at])[0]
    assert space.most_probable() == space.most_probable()
