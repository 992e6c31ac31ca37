"""Types of the values of options."""

from __future__ import annotations

from math import inf

import click
import pytest

from tsdsl.cli.parameter_types import CostWindow, Window


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("2.4G..2.5G", 2_400_000_000, 2_500_000_000),
        ("..2.5M", -inf, 2_500_000),
        ("1k..", 1000, inf),
        ("7..7", 7, 7),
        (" 3 .. 4T ", 3, 4 * 10**12),
        ("123456789012345678901234567890..", 123456789012345678901234567890, inf),
    ],
)
def test_windows(text: str, low: float, high: float) -> None:
    found = Window().convert(text, None, None)
    assert (found.low, found.high, found.timed) == (low, high, False)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("8ms..10ms", 8_000_000, 10_000_000),
        ("250us..0.01s", 250_000, 10_000_000),
        ("0..12ns", 0, 12),
        ("1.5us..", 1500, inf),
    ],
)
def test_windows_of_time(text: str, low: float, high: float) -> None:
    found = Window(times=True).convert(text, None, None)
    assert (found.low, found.high, found.timed) == (low, high, True)
    assert CostWindow().convert(f"a:b:{text}", None, None) == ("a:b", found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("5", "is not a window: write A..B"),
        ("..", "has no end"),
        ("1...2", "two dots"),
        ("3G..2G", "is reversed: write 2G..3G"),
        ("nan..3", "'nan' is not an amount"),
        ("1..inf", "'inf' is not an amount"),
        ("-1..3", "'-1' is not an amount"),
        ("1e9..", "'1e9' is not an amount"),
        ("8ms..", "'8ms' is not an amount"),
        ("1.5..3", "'1.5' is not a whole number"),
        ("²..3", "is not an amount"),
        ("1" * 41 + "..", "is not an amount"),
    ],
)
def test_what_is_no_window(text: str, said: str) -> None:
    with pytest.raises(click.BadParameter, match=said.replace(".", r"\.")):
        Window().convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0.5ns..", "not a whole number of nanoseconds"),
        ("8..10ms", "'8' needs a unit of time too"),
        ("8ms..2G", "'2G' needs a unit of time too"),
        ("10ms..8ms", "is reversed"),
        ("8min..", "is not an amount such as .* or a time such as"),
    ],
)
def test_what_is_no_window_of_time(text: str, said: str) -> None:
    with pytest.raises(click.BadParameter, match=said):
        CostWindow().convert(f"latency:{text}", None, None)


@pytest.mark.parametrize("text", ["8ms..9ms", ":8ms..9ms", "latency"])
def test_a_window_of_a_cost_names_it(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"is not COST:A\.\.B"):
        CostWindow().convert(text, None, None)
