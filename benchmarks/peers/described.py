"""Shared by all peers: the space as tsdsl describes it, its cost from tables, rejection, and
clocks."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

#: Smallest number of samples from which a rate is computed; with fewer, the expected rate is given.
FEW = 10


class Decision(NamedTuple):
    """A decision. ``parent`` is the index of the decision that activates it, with one of the
    options ``when``; None if it is always active."""

    path: str
    kind: str
    options: list[Any]
    parent: int | None
    when: list[int]


#: ``value`` in seconds or per second, ``note``, and whether it is ``expected`` from other values
#: rather than measured.
Figure = dict[str, Any]


#: The clocks that times can be measured with: see `run`.
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
now = CLOCKS["wall"]


class Inexpressible(Exception):
    """The peer cannot express this space."""


class Described:
    """A space from its description. ``seconds``: duration of the measurement of a rate."""

    def __init__(self, file: str | Path, seconds: float) -> None:
        self.seconds = seconds
        self.plain: dict[str, Any] = json.loads(Path(file).read_text(encoding="utf-8"))
        self.name: str = self.plain["name"]
        self.size = int(self.plain["size"])
        self.windows: dict[str, Figure] = self.plain["windows"]
        self._tables = [(t["of"], np.array(t["macs"], np.int64)) for t in self.plain["tables"]]
        self._shapes = [t["shape"] for t in self.plain["tables"]]

    def decisions(self) -> list[Decision]:
        """The decisions, for tools in which a decision depends on at most one other. Raises
        `Inexpressible`."""
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
        """Cost of each row of option indices [architecture, decision], 0 for inactive decisions."""
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
        """Whether a peer's own cost equals tsdsl's for the architectures in the file."""
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
    """Calls per second, after one warm-up call."""
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
    """Samples per second in each window, by rejection: draw freely and discard those outside, by
    their cost from tables or by ``inside``. With few samples, the rate follows from the speed of
    drawing and the probability of the window."""

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
    """The main function of a peer: takes the description's path, the seconds for a rate and the
    clock, and prints measurements as JSON on the last line."""
    global now
    now = CLOCKS[sys.argv[3]]
    try:
        figures = measure(Described(sys.argv[1], float(sys.argv[2])))
    except Inexpressible as error:
        figures = {"skipped": f"it cannot express the space: {error}"}
    print("\n" + json.dumps(figures), flush=True)
