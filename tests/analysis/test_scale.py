"""Queries of a large space: a chain of 80 blocks with a width, a kernel and an expansion each, and
a depth for each stage."""

from __future__ import annotations

from random_spaces import brute_cost, chain

from tsdsl.analysis.costs.counted import MACS
from tsdsl.analysis.costs.factors import cost_factors
from tsdsl.analysis.elimination.bounds import bounds
from tsdsl.analysis.elimination.count import count
from tsdsl.ir.freeze import assignment
from tsdsl.space import Space


def test_counts_of_a_chain_have_a_closed_form() -> None:
    space = chain(80, requirement=False)
    assert count(space) == sum((5 * 4 * 3) ** depth for depth in range(10, 21)) ** 4


def test_bounds_of_a_chain_are_attained() -> None:
    space = chain(80)
    factors = cost_factors(space, MACS)
    ends = bounds(space, MACS)
    size = count(space)
    assert max(f.table.size for f in factors) < 5000
    assert size > 10**140
    for end in ends:
        assert brute_cost(space, assignment(space, end.architecture))[0] == end.value
    drawn = Space(space).sample(50, seed=0)
    values = Space(space).flops(drawn)
    assert ends.min.value < values.min() < values.max() < ends.max.value
    assert [Space(space).flops(arch) for arch in drawn[:5]] == values[:5].tolist()
