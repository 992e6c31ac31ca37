"""Invalid arguments of queries are refused with a message, not interpreted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from random_spaces import enumerated

from tsdsl.analysis.costs.counted import MACS
from tsdsl.analysis.windows.window import windows_of
from tsdsl.diagnostics import SpecError
from tsdsl.space import Space

CASES: dict[str, tuple[Callable[[Space], Any], str]] = {
    "fewer than none": (lambda s: s.sample(-1, seed=0), "not -1"),
    "no best": (lambda s: s.most_probable(k=0), "not 0"),
    "reversed": (lambda s: s.count(flops=(2, 1)), "low to its high"),
    "no number": (lambda s: s.count(flops=(float("nan"), 1)), "low to its high"),
    "a text": (lambda s: s.count(flops="1G..2G"), "two numbers"),
    "one end": (lambda s: s.mass(params=(1,)), "two numbers"),
    "three ends": (lambda s: s.mass(params=(1, 2, 3)), "two numbers"),
    "a number": (lambda s: s.count(within={"macs": 7}), "two numbers"),
    "twice": (lambda s: s.count(flops=(0, 1), within={"macs": (0, 1)}), "two windows"),
    "a share": (lambda s: s.quantiles("macs", [0.5, 1.5]), "from 0 to 1"),
    "bins": (lambda s: s.histogram("macs", 0), "1 bin or more"),
    "by": (lambda s: s.breakdown("macs", by="colour"), "not by colour"),
    "weights": (lambda s: s.sample(2, seed=0, weights="uniform"), "no distribution"),
    "real indices": (lambda s: s.flops(np.zeros((1, len(s.decisions)))), "integers"),
}


@pytest.mark.parametrize("case", CASES)
def test_an_invalid_argument_is_refused(case: str) -> None:
    graph, _ = next((g, f) for g, f in map(enumerated, range(60)) if len(f) > 9)
    query, message = CASES[case]
    with pytest.raises(ValueError, match=message):
        query(Space(graph))


def test_an_unknown_cost_is_a_finding() -> None:
    graph, _ = enumerated(1)
    for query in (
        lambda s: s.bounds("watts"),
        lambda s: s.count(within={"latency": (0, 1)}),
        lambda s: s.value("watts"),
    ):
        with pytest.raises(SpecError) as caught:
            query(Space(graph))
        assert caught.value.diagnostics[0].code == "E0723"


def test_windows_are_rounded_to_integers_inside() -> None:
    assert windows_of({MACS: (0.2, 3.9)}) == {MACS: (1, 3)}
    low, high = windows_of({MACS: (-float("inf"), float("inf"))})[MACS]
    assert low < -(10**70) and high > 10**70
