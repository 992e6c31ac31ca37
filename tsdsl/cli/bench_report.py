"""The results of `tsdsl bench`, as rows of text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import tsdsl
from tsdsl.cli.cost_tables import CONVENTION, note
from tsdsl.cli.quantities import scaled, several, unit
from tsdsl.diagnostics.render import visible

if TYPE_CHECKING:
    from tsdsl.backends.bench import BenchReport, BenchRow, Quartiles


class Shown(NamedTuple):
    """Facts about a network that are known before it is built."""

    #: The spec, or ``module:function``.
    file: str
    views: int | None
    #: Further entries of the network in the JSON.
    about: dict[str, Any]
    #: The help that an error shows if the network cannot be timed.
    help: str | None


def rows(report: BenchReport, shown: Mapping[str, Shown]) -> list[list[str]]:
    """A header, and a row for each network; the first two columns are text, the rest numbers."""
    views = {one.views for one in shown.values() if one.views}
    several_views = len(views) > 1
    ratios = sum(row.latency is not None for row in report.rows) > 1
    name, scale = unit(_largest(report))
    head = ["network", "clip", "params, M", name, _views(views), "latency, ms", "IQR"]
    head += ["clips/s", "peak, MiB", "weights, MiB", "ratio", "IQR"]
    kept = [k for k in range(len(head)) if (views or k != 4) and (ratios or k < 10)]
    table = [head, *(_cells(row, shown[row.name], several_views, scale) for row in report.rows)]
    return [[cells[k] for k in kept] for cells in table]


def _views(counts: set[int]) -> str:
    return several(next(iter(counts)), "view") if len(counts) == 1 else "views"


def _largest(report: BenchReport) -> int:
    """The most multiply-adds of a network. It decides the unit of the column."""
    return max((row.macs for row in report.rows if row.macs is not None), default=10**9)


def _cells(row: BenchRow, shown: Shown, several_views: bool, scale: int) -> list[str]:
    clip = " + ".join("x".join(map(str, shape[1:])) for shape in row.inputs)
    total = row.macs * shown.views if row.macs is not None and shown.views else None
    latency = (row.latency.median, row.latency.iqr) if row.latency else (None, None)
    ratio = (row.ratio.median, row.ratio.iqr) if row.ratio else (None, None)
    return [
        row.name,
        clip or "-",
        _number(row.params, 1e6),
        "-" if row.macs is None else scaled(row.macs, scale),
        "-"
        if total is None
        else scaled(total, scale) + (f" ({shown.views})" if several_views else ""),
        "failed" if row.failure is not None else _number(latency[0], 1e6),
        _number(latency[1], 1e6),
        _number(row.clips_per_second, 1, 2),
        _number(row.peak, 1 << 20, 1),
        _number(row.weights, 1 << 20, 1),
        _ratio(ratio[0]),
        _ratio(ratio[1]),
    ]


def _number(value: float | None, unit: float = 1, digits: int = 3) -> str:
    return "-" if value is None else f"{value / unit:.{digits}f}"


def _ratio(value: float | None) -> str:
    """A ratio with three decimals; with two significant digits if it is below 0.01."""
    return f"{value:.2g}" if value is not None and 0 < value < 0.01 else _number(value)


def facts(report: BenchReport, shown: Mapping[str, Shown]) -> str:
    """The conditions of the measurement, and the definitions of the columns."""
    setup = report.setup
    threads = f"{several(setup['threads'], 'thread')}, " if setup["threads"] else ""
    form = (", channels last" if setup["channels_last"] else "") + (
        ", torch.compile" if setup["compile"] else ""
    )
    lines = [f"{row.name} failed: {visible(row.failure)}" for row in report.rows if row.failure]
    lines.append(
        f"on {visible(setup['device'])}: {threads}{setup['dtype']}, batch {setup['batch']}{form},"
        f" torch {setup['torch']}"
    )
    if report.base is not None:
        clock = ", processor time" if setup["clock"] == "cpu" else ""
        lines.append(
            f"latency of a call with {several(setup['batch'], 'clip')}: median and interquartile"
            f" range of {several(setup['repeats'], 'sample')}, networks in turn in"
            f" {several(setup['rounds'], 'round')}{clock}"
        )
        if sum(row.latency is not None for row in report.rows) > 1:
            lines.append(
                f"ratio: latency over that of {report.base}, round by round; median and"
                " interquartile range"
            )
        lines.append("peak: what torch allocates in a call, beside weights and input")
    lines.append(note(unit(_largest(report))[0]))
    if any("against" in one.about for one in shown.values()):
        lines.append("FLOPs of other modules: half of the count of torch's FlopCounterMode")
    return "\n".join(lines)


def as_json(report: BenchReport, shown: Mapping[str, Shown]) -> dict[str, Any]:
    """The whole report. Keys name their unit; unknown values are null."""
    return {
        "format_version": 1,
        "tsdsl": tsdsl.__version__,
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "setup": dict(report.setup),
        "flops_convention": CONVENTION,
        "ratio_to": report.base,
        "networks": [_entry(row, shown[row.name]) for row in report.rows],
    }


def _entry(row: BenchRow, shown: Shown) -> dict[str, Any]:
    total = row.macs * shown.views if row.macs is not None and shown.views else None
    return {
        "name": row.name,
        **shown.about,
        "inputs": [list(shape) for shape in row.inputs],
        "params": row.params,
        "macs": row.macs,
        "views": shown.views,
        "macs_of_views": total,
        "latency_ns": _spread(row.latency, "samples", 1),
        "clips_per_second": None
        if row.clips_per_second is None
        else _rounded(row.clips_per_second),
        "peak_bytes": row.peak,
        "weights_bytes": row.weights,
        "ratio": _spread(row.ratio, "rounds", 6),
        "error": row.failure,
    }


def _spread(quartiles: Quartiles | None, values: str, digits: int) -> dict[str, Any] | None:
    if quartiles is None:
        return None
    return {
        "median": round(quartiles.median, digits),
        "iqr": round(quartiles.iqr, digits),
        values: [round(value, digits) for value in quartiles.values],
    }


def _rounded(value: float) -> float:
    return round(value, 4)
