"""A space as plain data for tools that do not know tsdsl; `peers/described.py` reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tsdsl.analysis.costs.assignments import assignments
from tsdsl.analysis.costs.counted import MACS
from tsdsl.analysis.costs.factors import cost_factors
from tsdsl.ir.values import Fault, Val
from tsdsl.space import Space

#: Number of architectures for which a peer's cost is compared.
CHECKED = 50


def describe(space: Space, windows: dict[str, tuple[int, int]]) -> dict[str, Any]:
    """Decisions with their conditions, the cost as a sum of tables, windows with bounds of their
    probability, and some architectures with their cost. All weights are equal."""
    columns = {d.variable.index: k for k, d in enumerate(space.decisions)}
    derived = [v for v in space.graph.variables if v.definition is not None]
    columns |= {v.index: len(space.decisions) + k for k, v in enumerate(derived)}
    drawn = space.sample(CHECKED, seed=1)
    at = assignments(space.graph, drawn)
    return {
        "name": space.name,
        "size": str(space.size),
        "expectation": space.expectation("macs"),
        "requirements": len(space.graph.requirements),
        "clip": list(space.input_shape),
        "decisions": [
            {
                "path": d.path,
                "kind": d.kind,
                "options": list(d.options),
                "weights": list(d.weights or [1.0] * len(d.options)),
                "guards": [
                    {
                        "of": [columns[v.index] for v in guard.selector.variables],
                        "on": [_is(guard.selector, k, guard.case) for k in _range(guard.selector)],
                    }
                    for guard in d.guards
                ],
            }
            for d in space.decisions
        ],
        "derived": [
            {"of": [columns[u.index] for u in v.definition.variables], "is": _plain(v.definition)}
            for v in derived
            if v.definition is not None
        ],
        "tables": [
            {
                "of": [columns[v] for v in factor.scope],
                "shape": list(factor.table.shape),
                "macs": factor.table.reshape(-1).tolist(),
            }
            for factor in cost_factors(space.graph, MACS)
        ],
        "windows": {
            name: {"low": low, "high": high, "mass": list(space.mass(flops=(low, high)))}
            for name, (low, high) in windows.items()
        },
        "checked": {
            "options": at[:, [d.variable.index for d in space.decisions]].tolist(),
            "macs": [int(space.flops(a)) for a in drawn],
        },
    }


def write(space: Space, windows: dict[str, tuple[int, int]], file: Path) -> dict[str, Any]:
    made = describe(space, windows)
    file.write_text(json.dumps(made), encoding="utf-8")
    return made


def _range(val: Val) -> range:
    return range(len(val.entries))


def _is(val: Val, k: int, case: Any) -> bool:
    entry = val.entries[k]
    return not isinstance(entry, Fault) and bool(entry == case)


def _plain(val: Val) -> list[int]:
    return [0 if isinstance(e, Fault) else int(e) for e in val.entries]
