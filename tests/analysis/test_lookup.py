"""One architecture by tables: the same cost as many, and nothing for what is not plainly valid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from random_spaces import Maker, decisions_of, enumerated

from tsdsl.analysis.costs.counted import MACS
from tsdsl.analysis.costs.lookup import CostLookup
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.graph import Edge
from tsdsl.ir.space import SpaceGraph
from tsdsl.ir.values import constant


@pytest.mark.parametrize("seed", range(20))
def test_one_architecture_costs_the_same_as_among_many(seed: int) -> None:
    space, found = enumerated(seed)
    if not found:
        return
    lookup = CostLookup(space, MACS)
    sums = lookup.assigned(np.array(found)).tolist()
    for at, cost in list(zip(found, sums, strict=True))[:: max(1, len(found) // 12)]:
        decisions = decisions_of(space, at)
        assert lookup.one(Architecture(decisions)) == cost
        for path in decisions:
            rest = {key: option for key, option in decisions.items() if key != path}
            assert lookup.one(Architecture(rest)) is None


@pytest.fixture(name="space")
def _space() -> SpaceGraph:
    maker = Maker()
    maker.decide("depth", "int", (0, 1, 2))
    maker.decide("se", "bool", (False, True))
    maker.decide("kernel", "dims", ((1, 3, 3), (3, 3, 3)), ("1x3x3", "3x3x3"))
    clip = Edge(constant((3, 2, 6, 6)))
    return maker.space(clip, (), clip)


GOOD: dict[str, Any] = {"depth": 1, "se": True, "kernel": "3x3x3"}


@pytest.mark.parametrize(
    "change",
    [
        {"depth": True},
        {"se": 1},
        {"depth": 3},
        {"depth": "1"},
        {"depth": float("nan")},
        {"kernel": ["3x3x3"]},
        {"kernel": (["3x3x3"],)},
        {"kernel": None},
        {"colour": 1},
    ],
    ids=str,
)
def test_an_unusual_option_has_no_cost_by_tables(space: SpaceGraph, change: Any) -> None:
    lookup = CostLookup(space, MACS)
    assert lookup.one(Architecture(GOOD)) == 0
    assert lookup.one(Architecture(GOOD | {"depth": 1.0})) == 0
    assert lookup.one(Architecture(GOOD | change)) is None


@pytest.mark.parametrize("error", [KeyError, ValueError, AttributeError])
def test_an_error_of_an_option_itself_surfaces(space: SpaceGraph, error: type[Exception]) -> None:
    class Broken:
        def __hash__(self) -> int:
            raise error("injected")

    with pytest.raises(error, match="injected"):
        CostLookup(space, MACS).one(Architecture(GOOD | {"kernel": Broken()}))
