"""Cost tables at the edges: sums beyond 64 bits, operations that depend on too much."""

from __future__ import annotations

import numpy as np
import pytest
from random_spaces import Maker, brute_cost

from tsdsl.analysis.costs.counted import MACS
from tsdsl.analysis.costs.factors import cost_factors
from tsdsl.analysis.elimination.bounds import bounds
from tsdsl.diagnostics import ArchitectureError
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.freeze import assignment
from tsdsl.ir.graph import Edge
from tsdsl.ir.values import constant
from tsdsl.space import Space


def test_costs_beyond_64_bits_are_exact() -> None:
    maker = Maker()
    width = maker.decide("width", "int", (1 << 20, (1 << 20) - 1))
    clip = Edge(constant((1 << 20, 1 << 10, 1 << 10, 1 << 10)))
    conv = maker.op("conv", "conv", clip, out=width, kernel=(1, 1, 1))
    space = maker.space(clip, (conv,), conv.output)
    ends = bounds(space, MACS)
    assert ends.max.value == 1 << 70
    assert ends.min.value == ((1 << 20) - 1) << 50
    for end in ends:
        at = assignment(space, end.architecture)
        assert brute_cost(space, at)[0] == end.value
    assert Space(space).flops([ends.max.architecture]).tolist() == [1 << 70]


def test_factors_whose_variables_nest_are_one() -> None:
    maker = Maker()
    width = maker.decide("width", "int", (4, 8))
    kernel = maker.decide("kernel", "dims", ((1, 1, 1), (3, 3, 3)), ("1x1x1", "3x3x3"))
    clip = Edge(constant((3, 4, 8, 8)))
    one = maker.op("conv", "conv1", clip, out=width, kernel=(1, 1, 1))
    two = maker.op("conv", "conv2", one.output, out=width, kernel=kernel)
    three = maker.op("conv", "conv3", clip, out=7, kernel=(1, 1, 1))
    space = maker.space(clip, (one, two, three), two.output)
    (factor,) = cost_factors(space, MACS)
    assert factor.scope == (0, 1)
    for w in range(2):
        for k in range(2):
            assert factor.table[w, k] == brute_cost(space, [w, k])[0]


def test_a_space_without_decisions() -> None:
    maker = Maker()
    clip = Edge(constant((3, 4, 8, 8)))
    conv = maker.op("conv", "conv", clip, out=8, kernel=(3, 3, 3))
    space = Space(maker.space(clip, (conv,), conv.output))
    assert space.size == 1
    assert space.flops() == space.flops({}) == 8 * 3 * 27 * 4 * 8 * 8
    assert space.params() == 8 * 3 * 27
    assert space.bounds("macs").min == space.bounds("macs").max
    assert space.bounds("macs").min == (space.flops(), Architecture({}))
    assert dict(space.sample(seed=0)) == {}
    assert len(space.sample(3, seed=0)) == 1
    assert space.input_shape == (3, 4, 8, 8)
    assert space.flops(np.zeros((2, 0), int)).tolist() == [space.flops()] * 2


def test_an_architecture_is_needed_where_decisions_remain() -> None:
    maker = Maker()
    width = maker.decide("width", "int", (4, 8))
    clip = Edge(constant((3, 4, 8, 8)))
    conv = maker.op("conv", "conv", clip, out=width, kernel=(3, 3, 3))
    space = Space(maker.space(clip, (conv,), conv.output))
    for question in (space.network, space.flops, space.params):
        with pytest.raises(ArchitectureError):
            question()
    assert space.network({"width": 4}).decisions == {"width": 4}
