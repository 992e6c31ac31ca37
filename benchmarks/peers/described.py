"""What all peers share: the space as tsdsl described it, its cost from tables, rejection, times.

Peers run in environments of their own. This needs numpy and no tsdsl, so all of them look costs up
in the same way and only differ in how they search.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

#: Samples fewer than this say little of their rate: the expected one is given.
FEW = 10


class Decision(NamedTuple):
    """``parent`` is the number of the decision that switches it on, with ``when`` of its options;
    None if it is always active."""

    path: str
    kind: str
    options: list[Any]
    parent: int | None
    when: list[int]


#: ``value`` in seconds or per second; ``note``, what there is to say of it; whether it is
#: ``expected`` from others rather than seen.
Figure = dict[str, Any]


#: The clock that all times are taken from: see `run`.
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
now = CLOCKS["wall"]


class Inexpressible(Exception):
    """The peer has no words for this space."""


class Described:
    """``seconds``: for how long a rate is measured."""

    def __init__(self, file: str | Path, seconds: float) -> None:
        self.seconds = seconds
        self.plain: dict[str, Any] = json.loads(Path(file).read_text(encoding="utf-8"))
        self.name: str = self.plain["name"]
        self.size = int(self.plain["size"])
        self.windows: dict[str, Figure] = self.plain["windows"]
        self._tables = [(t["of"], np.array(t["macs"], np.int64)) for t in self.plain["tables"]]
        self._shapes = [t["shape"] for t in self.plain["tables"]]

    def decisions(self) -> list[Decision]:
        """For tools that know a decision under one other. Raises `Inexpressible`."""
        if self.plain["requirements"]:
            raise Inexpressible("the space has requirements")
        found = []
        for d in self.plain["decisions"]:
            if len(set(d["weights"])) > 1:
                raise Inexpressible(f"{d['path']} has weights")
            parent, when = None, []
            if d["guards"]:
                if len(d["guards"]) > 1 or len(d["guards"][0]["of"]) > 1:
                    raise Inexpressible(f"{d['path']} depends on several decisions")
                (parent,) = d["guards"][0]["of"]
                when = [k for k, on in enumerate(d["guards"][0]["on"]) if on]
            found.append(Decision(d["path"], d["kind"], d["options"], parent, when))
        return found

    def macs(self, options: np.ndarray) -> np.ndarray:
        """The cost of each row of option indices [architecture, decision], 0 where a decision is
        not active."""
        sizes = [len(d["options"]) for d in self.plain["decisions"]]
        columns = list(np.ascontiguousarray(options.T))
        for d in self.plain["derived"]:
            shape = [sizes[v] for v in d["of"]]
            values = np.array(d["is"], np.int64)
            columns.append(values[_offsets(columns, d["of"], shape)])
            sizes.append(int(values.max()) + 1)
        total = np.zeros(len(options), np.int64)
        for (of, macs), shape in zip(self._tables, self._shapes, strict=True):
            total += macs[_offsets(columns, of, shape)]
        return total

    def agrees(self, macs: Callable[[list[int]], float]) -> str:
        """Whether a peer's own cost is tsdsl's, on the architectures in the file."""
        checked = self.plain["checked"]
        pairs = zip(checked["options"], checked["macs"], strict=True)
        same = sum(int(macs(row)) == known for row, known in pairs)
        return f"{same} of {len(checked['macs'])} costs equal"


def _offsets(columns: list[np.ndarray], of: list[int], shape: list[int]) -> np.ndarray:
    at = np.zeros(len(columns[0]), np.int64)
    for v, size in zip(of, shape, strict=True):
        at = at * size + columns[v]
    return at


def rate(draw: Callable[[], int], seconds: float) -> float:
    """How many per second, after one call to warm up."""
    draw()
    made = 0
    start = now()
    while (took := now() - start) < seconds:
        made += draw()
    return made / took


def rejection(
    space: Described,
    draw: Callable[[], Any],
    inside: Callable[[str], Callable[[Any], np.ndarray]] | None = None,
) -> dict[str, Figure]:
    """Samples a second that lie in each window: draws freely and turns away the others, by their
    cost from tables unless ``inside`` has another way. Where few are found, the rate is what the
    speed of drawing and the probability of the window come to."""

    def by_table(name: str) -> Callable[[Any], np.ndarray]:
        window = space.windows[name]

        def keeps(options: np.ndarray) -> np.ndarray:
            macs = space.macs(options)
            return (macs >= window["low"]) & (macs <= window["high"])

        return keeps

    draw()
    made = {}
    for name, window in space.windows.items():
        keeps = (inside or by_table)(name)
        tried = found = 0
        start = now()
        while (took := now() - start) < space.seconds:
            kept = keeps(draw())
            found += int(kept.sum())
            tried += len(kept)
        few = found < FEW
        likely = tried / took * sum(window["mass"]) / 2
        made[f"sample {name}"] = {
            "value": likely if few else found / took,
            "note": f"{found} of {tried:,} drawn",
            "expected": few,
        }
    return made


def run(measure: Callable[[Described], dict[str, Any]]) -> None:
    """A peer's script: the description's path, the seconds for a rate and the clock in, figures
    as JSON on the last line out."""
    global now
    now = CLOCKS[sys.argv[3]]
    try:
        figures = measure(Described(sys.argv[1], float(sys.argv[2])))
    except Inexpressible as error:
        figures = {"skipped": f"it cannot express the space: {error}"}
    print("\n" + json.dumps(figures), flush=True)
