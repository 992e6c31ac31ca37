"""The summary of a space as text: what `tsdsl space` prints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from math import log10
from typing import NamedTuple

from tsdsl.analysis.costs.counted import MACS
from tsdsl.analysis.costs.items import Grouping
from tsdsl.analysis.costs.named import counted
from tsdsl.analysis.elimination.phases import PhaseCost
from tsdsl.analysis.summary import SHARES, CostSummary, SpaceSummary
from tsdsl.analysis.windows.window import Between, CountBetween
from tsdsl.cli.cost_tables import note, origin
from tsdsl.cli.output import aligned
from tsdsl.cli.quantities import several, size, unit
from tsdsl.cli.text_histogram import chart
from tsdsl.diagnostics.render import visible
from tsdsl.syntax.printer import time
from tsdsl.units import AMOUNTS, interval_text

Paint = Callable[[str], str]
#: Integers with more than `SHORT` digits are written as 7.154e80, followed by all their digits if
#: there are fewer than `BESIDE`.
SHORT, BESIDE = 15, 40
#: Shown in place of a value that could not be computed.
UNKNOWN = "?"
#: Values of this size or more are written with an exponent.
FAR = 1e9


class Unit(NamedTuple):
    """The unit in which the values of a cost are shown: its name, its size and the number of
    decimals."""

    name: str
    scale: float
    digits: int

    def text(self, value: float, rounding: str = ROUND_HALF_EVEN) -> str:
        shown = Decimal(value) / Decimal(self.scale)
        if abs(shown) >= FAR:
            # From nanoseconds to the largest networks: five digits.
            return f"{Context(5, rounding).plus(shown):.4e}"
        return f"{shown.quantize(Decimal(1).scaleb(-self.digits), rounding):,f}"


def unit_of(cost: CostSummary) -> Unit:
    """The unit of a cost. Its scale follows the largest value in the space."""
    largest = cost.bounds.max.value if cost.bounds else 0
    if cost.cost is MACS:
        name, scale = unit(largest)
        return Unit(name, scale, 3)
    if cost.unit == "ns":
        return Unit(f"{visible(cost.name)}, ms", 1e6, 3)
    if cost.unit:
        return Unit(f"{visible(cost.name)}, {visible(cost.unit)}", 1, 0)
    return Unit(f"{cost.name}, M", 1e6, 3) if largest >= 10**6 else Unit(f"{cost.name}", 1, 0)


def overview(
    found: SpaceSummary, by: Grouping | None, under: str, width: int, blocks: bool, colour: bool
) -> str:
    """The whole report. ``under`` names the distribution, ``blocks`` says whether the terminal has
    block characters."""
    bold: Paint = _bold if colour else str
    inside: Paint = _cyan if colour else str
    space = found.space
    names = several(len(space.decisions), "decision")
    parts = [
        bold(f"{visible(space.name)}: {names}, clip {size(space.input_shape)}"),
        aligned(_numbers(found, under)),
        _costs(found, under) if space.decisions else _single(found),
    ]
    for cost in found.costs.values():
        if cost.histogram is not None:
            parts.append(_spread(found, cost, under, width, blocks, bold, inside))
    parts.append(_shares(found, by, under, bold))
    parts += [
        _phases(cost, unit_of(cost), under, bold)
        for cost in found.costs.values()
        if cost.phases and (cost.cost is MACS or any(p.budgets for p in cost.phases))
    ]
    said = [
        note(unit_of(found.costs[MACS.name]).name),
        "elements are the values of all results of operations, for one clip",
    ]
    said += [origin(table) for table in space.costs.values()]
    return "\n\n".join(part for part in (*parts, "\n".join(said)) if part)


# ------------------------------------------------------------------ numbers


def big(count: int, rounding: str = ROUND_HALF_EVEN) -> str:
    """An integer in a readable form: as 7.154e80 if it has many digits."""
    if count < 10**SHORT:
        return f"{count:,}"
    # By hand, because Python refuses to convert integers of thousands of digits to text.
    power = int(log10(count)) - 6
    digits = Decimal(count // 10**power + (rounding == ROUND_CEILING))
    mantissa, exponent = f"{Context(4, rounding).plus(digits):.3e}".split("e")
    return f"{mantissa}e{int(exponent) + power}"


def percent(share: float, rounding: str = ROUND_HALF_EVEN) -> str:
    shown = 100 * Decimal(share)
    if share == 0 or share >= 1e-4:
        return f"{shown.quantize(Decimal('0.01'), rounding)}%"
    return f"{Context(2, rounding).plus(shown):.1e}%"


def between(value: Between, text: Callable[[float, str], str]) -> str:
    """One number if it is exact; else both bounds, rounded outwards so that they stay bounds."""
    if value.exact:
        return text(value.low, ROUND_HALF_EVEN)
    return f"{text(value.low, ROUND_FLOOR)} to {text(value.high, ROUND_CEILING)}"


def window_text(name: str, ends: tuple[float, float], unit: str) -> str:
    """``FLOPs 1.37G..1.43G``."""
    window = interval_text(*ends, lambda end: _end(end, unit))
    cost = counted(name)
    return f"{cost.symbol if cost and cost.symbol else visible(name)} {window}"


def _end(value: float, unit: str) -> str:
    """An end of a window, with all of its digits."""
    if unit == "ns" and value == int(value):
        return time(int(value))
    found = Decimal(value)
    suffix, scale = next((s for s in reversed(AMOUNTS.items()) if found >= s[1]), ("", 1))
    text = f"{found / scale:f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + suffix


def _exactly(count: int) -> str:
    """The count, followed by all of its digits if there are fewer than `BESIDE`."""
    return f"{big(count)} = {count:,}" if 10**SHORT <= count < 10**BESIDE else big(count)


def _windows(found: SpaceSummary) -> str:
    return ", ".join(
        window_text(name, ends, found.costs[name].unit) for name, ends in found.windows.items()
    )


def _numbers(found: SpaceSummary, under: str) -> list[list[str]]:
    """Rows with the number of architectures, of networks, and of those inside the window."""
    rows: list[list[str]] = []
    if found.size is not None:
        rows.append(["architectures", _exactly(found.size), "exact"])
        if found.networks is not None and found.networks < found.size:
            rows.append(["networks", _exactly(found.networks), "exact; distinct after compilation"])
    else:
        rows.append(["architectures", UNKNOWN, "see the note"])
    if not found.windows:
        return rows
    whose = f" ({visible(found.windows_from)})" if found.windows_from else ""
    rows.append(["window", _windows(found), whose.strip()])
    count, share = found.count, found.share
    if isinstance(count, CountBetween):
        rows.append(
            [
                "inside",
                f"{big(count.low, ROUND_FLOOR)} to {big(count.high, ROUND_CEILING)}",
                "proven bounds",
            ]
        )
    elif count is not None:
        rows.append(["inside", _exactly(count), "exact"])
    else:
        rows.append(["inside", UNKNOWN, "see the note"])
    if found.size == 1:
        return rows
    for what, value, of in (("share", share, "of all"), ("probability", found.mass, under)):
        if value is not None:
            how = "exact" if value.exact else f"proven bounds; about {percent(value.estimate)}"
            rows.append([what, between(value, percent), f"{of}; {how}"])
    return rows


def _costs(found: SpaceSummary, under: str) -> str:
    """A table of the minimum, maximum, mean and standard deviation of each cost."""
    rows = [["", "min", "max", "mean", "std", "uniform mean", "std"]]
    for cost in found.costs.values():
        unit = unit_of(cost)
        ends = [end.value for end in cost.bounds] if cost.bounds else [None, None]
        values = (*ends, cost.mean, cost.std, cost.uniform_mean, cost.uniform_std)
        rows.append([unit.name, *(UNKNOWN if v is None else unit.text(v) for v in values)])
    unknown = f"; {UNKNOWN}: see the note" if any(UNKNOWN in row for row in rows) else ""
    return (
        f"{aligned(rows, range(1, 7))}\n"
        f"exact; mean and std are {under}, then under the uniform one{unknown}"
    )


def _single(found: SpaceSummary) -> str:
    """The costs of the only network."""
    rows = [
        [unit_of(cost).name, unit_of(cost).text(cost.bounds.min.value)]
        for cost in found.costs.values()
        if cost.bounds is not None
    ]
    return f"{aligned(rows, (1,))}\nexact; without decisions, the space is one network"


# ------------------------------------------------------------------ spread


def _spread(
    found: SpaceSummary,
    cost: CostSummary,
    under: str,
    width: int,
    blocks: bool,
    bold: Paint,
    inside: Paint,
) -> str:
    """Quantiles and a histogram of one cost."""
    assert cost.histogram is not None and cost.quantiles is not None
    unit = unit_of(cost)
    heads = [f"{100 * share:g}%" for share in SHARES]
    values = [between(value, unit.text) for value in cost.quantiles]
    exact = all(value.exact for value in cost.quantiles)
    window = found.windows.get(cost.name)
    table = aligned([["quantile", *heads], [unit.name, *values]], range(1, 6))
    bars = chart(
        cost.histogram.share.tolist(),
        cost.histogram.edges.tolist(),
        window,
        lambda value: unit._replace(digits=min(unit.digits, 2)).text(value),
        blocks,
        inside,
    )
    widest = float((cost.histogram.high - cost.histogram.low).max())
    how = (
        "exact shares"
        if cost.histogram.exact
        else f"shares proven to {percent(widest, ROUND_CEILING)} or better"
    )
    marked = f"; marked: {window_text(cost.name, window, cost.unit)}" if window else ""
    return "\n".join(
        [
            bold(f"Distribution of {unit.name}, {under}"),
            table,
            "exact" if exact else "proven bounds where two numbers are shown",
            "",
            *bars,
            f"{how}{marked}",
        ]
    )


# ------------------------------------------------------------------ shares and phases


def _shares(found: SpaceSummary, by: Grouping | None, under: str, bold: Paint) -> str:
    """The expected cost by group: streams with their stages, unless ``by``
    names one kind of group."""
    costs = [cost for cost in found.costs.values() if cost.breakdown]
    if not costs:
        return ""
    units = [unit_of(cost) for cost in costs]
    heads = [cell for unit in units for cell in (unit.name, "share")]
    rows = [[by or "stream, stage", *heads]]
    for name, kind, shown in _groups(costs[0], by):
        values = [cost.breakdown[kind].get(name, 0.0) for cost in costs]
        found_any = zip(costs, units, values, strict=True)
        cells = [cell for cost, unit, value in found_any for cell in _cells(cost, unit, value)]
        if any(values):
            rows.append([visible(shown), *cells])
    totals = [
        c for cost, unit in zip(costs, units, strict=True) for c in (unit.text(cost.mean or 0), "")
    ]
    rows.append(["total", *totals])
    if len(rows) == 2:
        return ""
    what = f"Expected cost, {under}" if found.space.decisions else "Cost"
    return f"{bold(what)}\n{aligned(rows, range(1, len(rows[0])))}\nexact"


def _groups(cost: CostSummary, by: Grouping | None) -> list[tuple[str, Grouping, str]]:
    """For each row: the name of the group, its kind, and the text that is shown."""
    if by is not None:
        return [(name, by, name) for name in cost.breakdown[by]]
    rows: list[tuple[str, Grouping, str]] = []
    for stream in cost.breakdown["stream"]:
        rows.append((stream, "stream", stream))
        inner = [name for name in cost.breakdown["stage"] if name.startswith(stream + ".")]
        rows += [(name, "stage", "  " + name.removeprefix(stream + ".")) for name in inner]
    return rows


def _cells(cost: CostSummary, unit: Unit, value: float) -> tuple[str, str]:
    return unit.text(value), f"{100 * value / cost.mean:.1f}%" if cost.mean else ""


def _phases(cost: CostSummary, unit: Unit, under: str, bold: Paint) -> str:
    """A table of the phases of the search, with their costs and budgets."""
    rows = [["phase", "streams", "learns", "mean", "std", "min", "max", "budget", ""]]
    for phase in cost.phases:
        values = (phase.mean, phase.std, phase.min, phase.max)
        texts = ["-" if value is None else unit.text(value) for value in values]
        learns = several(len(phase.learned), "decision")
        rows.append(
            [
                visible(phase.name),
                visible(", ".join(phase.streams)),
                learns,
                *texts,
                *_kept(phase, unit),
            ]
        )
    partly = any(set(p.streams) != set(cost.phases[-1].streams) for p in cost.phases)
    head = (
        "\nwhere streams are absent, the head has its cost in the whole network" if partly else ""
    )
    none = any(p.mean is None for p in cost.phases)
    return (
        f"{bold(f'Phases of the search: {unit.name}, {under}')}\n"
        f"{aligned(rows, range(2, 7))}\n"
        "exact; decisions learned before are at their most probable option, those learned later"
        f" at their default{head}"
        + ("\n-: the decisions fixed in this phase violate a requirement" if none else "")
    )


def _kept(phase: PhaseCost, unit: Unit) -> Sequence[str]:
    """The budget of a phase, and whether the mean lies inside it."""
    if not phase.budgets:
        return "none", ""
    low, high = max(b.low for b in phase.budgets), min(b.high for b in phase.budgets)
    text = f"{unit.text(low)} to {unit.text(high)}"
    if phase.mean is None:
        return text, ""
    where = "below" if phase.mean < low else "above" if phase.mean > high else "inside"
    return text, f"mean is {where}"


def _bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m"


def _cyan(text: str) -> str:
    return f"\x1b[36m{text}\x1b[0m"
