"""Units of cost axes."""

from __future__ import annotations

import pytest

from tsdsl.analysis.costs.cost_table import CostTable
from tsdsl.analysis.costs.counted import ELEMENTS, MACS, PARAMS
from tsdsl.plots.units import AxisUnit, percent, plain, short

LATENCY = CostTable("latency", "ns", {})
ENERGY = CostTable("energy", "J", {})


@pytest.mark.parametrize(
    ("cost", "value", "text"),
    [
        (MACS, 2_778_000_000, "2.778 GFLOPs"),
        (MACS, 100_000_000, "0.100 GFLOPs"),
        (MACS, 99_000_000, "99.000 MFLOPs"),
        (MACS, 27_638_665_216, "27.639 GFLOPs"),
        (MACS, 9_999_400_000_000, "9,999 GFLOPs"),
        (MACS, 10**15, "1.000 PFLOPs"),
        (MACS, 10**22, "10,000 EFLOPs"),
        (MACS, 123, "123 FLOPs"),
        (MACS, 0, "0 GFLOPs"),
        (PARAMS, 3_794_322, "3.794 M"),
        (PARAMS, 942, "942"),
        (ELEMENTS, 5_000_000, "5.000 M"),
        (LATENCY, 8_000_000, "8.000 ms"),
        (LATENCY, 12, "12 ns"),
        (LATENCY, 20_000, "20.000 us"),
        (LATENCY, 10**13, "10,000 s"),
        (ENERGY, 12, "12 J"),
        (ENERGY, 123_456, "123.5 k J"),
    ],
)
def test_text(cost, value: int, text: str) -> None:
    assert AxisUnit.of(cost, value).text(value) == text


def test_small_values_in_a_large_unit() -> None:
    unit = AxisUnit.of(MACS, 10**9)
    assert unit.number(1) == "<0.001" and unit.number(0) == "0"
    assert unit.number(2_000_000) == "0.002"


def test_axis_above_the_minimum() -> None:
    unit = AxisUnit.between(MACS, 10**15, 10**15 + 5000)
    assert unit.place(10**15 + 2500) == 2.5
    assert unit.text(10**15 + 2500) == "2.500 kFLOPs above 1,000,000,000,000,000"
    assert AxisUnit.between(MACS, 10**9, 2 * 10**9).origin == 0


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0%"), (1.0, "100%"), (0.5, "50.0%"), (0.0864, "8.6%"), (0.00012, "0.012%")],
)
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text


def test_chosen_numbers_keep_their_digits() -> None:
    assert [short(v) for v in (2.4, 1.37, 2.40625, 1000, 0)] == [
        "2.4",
        "1.37",
        "2.40625",
        "1000",
        "0",
    ]


def test_plain() -> None:
    assert plain("$a$") == r"\$a\$"
    assert len(plain("x" * 100)) == 60
