"""The measured quantities in the order of the report, with their goals."""

from __future__ import annotations

from typing import Literal, NamedTuple

#: Names of the two windows, by their probability under the initial distribution.
WINDOWS = ("2 %", "1e-6")


class Quantity(NamedTuple):
    label: str
    unit: Literal["s", "/s"]
    #: An upper limit in seconds, or a lower limit per second.
    goal: float | None = None

    def holds(self, value: float) -> bool | None:
        if self.goal is None:
            return None
        return value <= self.goal if self.unit == "s" else value >= self.goal

    def better(self, value: float, other: float) -> float:
        """The factor by which a value is better than another."""
        least = 1e-12
        if self.unit == "s":
            value, other = other, value
        return value / max(other, least)


QUANTITIES: dict[str, Quantity] = {
    "tables": Quantity("tables and plans of a space", "s", 1.0),
    "min": Quantity("minimum, with an architecture", "s", 0.01),
    "max": Quantity("maximum, with an architecture", "s", 0.01),
    "expectation": Quantity("expectation", "s", 0.01),
    "gradient": Quantity("gradient of the expectation", "s", 0.01),
    "size": Quantity("number of architectures", "s"),
    **{f"count {w}": Quantity(f"number within {w} (bounds)", "s", 1.0) for w in WINDOWS},
    "histogram": Quantity("histogram of 40 bins (bounds)", "s", 1.0),
    "cost": Quantity("cost, one architecture at a time", "/s", 2e4),
    "costs": Quantity("cost, a matrix of options", "/s", 1e6),
    "sample": Quantity("samples of the whole space", "/s"),
    **{f"sample {w}": Quantity(f"samples within {w}", "/s", 1e4) for w in WINDOWS},
    **{f"first {w}": Quantity(f"until samples within {w} come", "s") for w in WINDOWS},
    **{f"distinct {w}": Quantity(f"10,000 distinct within {w}, in all", "s") for w in WINDOWS},
    **{f"probable {w}": Quantity(f"most probable within {w}", "s") for w in WINDOWS},
}


class Figure(NamedTuple):
    """A measured quantity. ``value`` is None if the tool did not finish. ``expected``: not
    measured, but computed from a measured speed and a known probability."""

    quantity: str
    tool: str
    value: float | None
    note: str = ""
    expected: bool = False


def shown(value: float, unit: str) -> str:
    if unit == "/s":
        return f"{value:,.0f} /s" if value >= 10 else f"{value:.2g} /s"
    return f"{value:.2f} s" if value >= 1 else f"{1e3 * value:.3g} ms"
