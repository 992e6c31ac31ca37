"""Figures as a table on the terminal, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .quantities import QUANTITIES, Figure, Quantity, shown

HEAD = ("what", "tsdsl", "goal", "peer", "peer's", "tsdsl is")


def rows(figures: Sequence[Figure]) -> Iterable[tuple[str, ...]]:
    """A row for each quantity of tsdsl, and one for each peer that has it."""
    for key, quantity in QUANTITIES.items():
        own = next((f for f in figures if f.quantity == key and f.tool == "tsdsl"), None)
        peers = [f for f in figures if f.quantity == key and f.tool != "tsdsl"]
        if own is None or own.value is None:
            continue
        first = (quantity.label, shown(own.value, quantity.unit), _goal(quantity, own.value))
        beside = [_beside(quantity, own.value, peer) for peer in peers]
        if not beside:
            beside = [("", "", "")]
        yield (*first, *beside[0])
        for other in beside[1:]:
            yield ("", "", "", *other)


def remarks(figures: Sequence[Figure]) -> list[str]:
    """Notes, skipped peers, and quantities that peers do not have."""
    found = [f"{f.tool} {f.note}" for f in figures if not f.quantity]
    for f in figures:
        if f.quantity and f.note and f.value is not None:
            found.append(f"{f.tool}, {QUANTITIES[f.quantity].label}: {f.note}")
    return found


def _goal(quantity: Quantity, value: float) -> str:
    if quantity.goal is None:
        return ""
    sign = "<=" if quantity.unit == "s" else ">="
    holds = "holds" if quantity.holds(value) else "MISSED"
    return f"{sign} {shown(quantity.goal, quantity.unit)} {holds}"


def _beside(quantity: Quantity, own: float, peer: Figure) -> tuple[str, str, str]:
    if peer.value is None:
        return peer.tool, peer.note, ""
    times = quantity.better(own, peer.value)
    ratio = f"{times:,.0f} x" if 10 <= times < 1e6 else f"{times:.2g} x"
    about = "~" if peer.expected else ""
    return peer.tool, about + shown(peer.value, quantity.unit), about + ratio


def text(table: Sequence[Sequence[str]]) -> str:
    """A table as text, with numbers aligned to the right."""
    widths = [max(len(row[k]) for row in table) for k in range(len(HEAD))]
    lines = []
    for row in table:
        cells = [
            cell.rjust(width) if k in (1, 4, 5) else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown(report: dict[str, Any]) -> str:
    """The whole report as Markdown, from its JSON."""
    machine = report["machine"]
    lines = [
        f"# Exact queries: {machine['cpu']}",
        "",
        "Written by `python benchmarks/analysis.py --record`; what is timed, and what each tool can"
        " do: [benchmarks](../README.md).",
        "",
        *(f"- {key}: {value}" for key, value in machine.items()),
    ]
    for space in report["spaces"]:
        figures = [Figure(**figure) for figure in space["figures"]]
        lines += [
            "",
            f"## {space['name']}",
            "",
            summary(space),
            "",
            *(_piped(row) for row in (HEAD, ["---"] * len(HEAD), *rows(figures))),
            "",
            *(f"- {remark}" for remark in remarks(figures)),
        ]
    return "\n".join(lines) + "\n"


def summary(space: dict[str, Any]) -> str:
    parts = [f"{space['decisions']} decisions, {int(space['size']):.2e} architectures"]
    for name, w in space["windows"].items():
        parts.append(
            f"{name}: {w['low'] / 1e9:.4g}..{w['high'] / 1e9:.4g} GFLOPs (multiply-adds),"
            f" probability {w['mass'][0]:.2e}..{w['mass'][1]:.2e}"
        )
    return "; ".join(parts) + "."


def _piped(row: Sequence[str]) -> str:
    return "| " + " | ".join(row) + " |"
