"""What a search has told, read from its folder: for figures."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsdsl.diagnostics import Diagnostic, SpecError
from tsdsl.files import PathLike, read_lines
from tsdsl.record import Record
from tsdsl.training.folder import ALPHA, LOG, LONGEST


class Phase(Record):
    """Steps ``first`` to ``first + steps``; alpha moves after ``warmup`` of them."""

    name: str
    first: int
    steps: int
    warmup: int
    #: Places of the decisions that are learned.
    learned: tuple[int, ...]
    #: Cost, least and greatest.
    budgets: tuple[tuple[str, float, float], ...]


class History(Record):
    space: str
    #: Path and options of each decision.
    decisions: tuple[tuple[str, tuple[str, ...]], ...]
    phases: tuple[Phase, ...]
    #: After how many steps each moment is.
    steps_M: NDArray[np.int64]
    #: The probability of every option, and whether its decision is learned then.
    p_OM: NDArray[np.float64]
    learned_OM: NDArray[np.bool_]
    #: Events of the log by their kind, in order.
    events: dict[str, list[dict[str, Any]]]

    @classmethod
    def read(cls, folder: PathLike) -> History:
        """Also of a search that still runs. Raises `FileError`, `SpecError`."""
        path = os.path.join(folder, ALPHA)
        head, *moments = _lines(path) or [{}]
        try:
            if head.get("format") != "tsnet-alpha/1":
                raise ValueError("its format is not tsnet-alpha/1")
            if not moments:
                raise ValueError("it has no moment")
            made = _made(head, moments)
        except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as bad:
            why = bad if isinstance(bad, ValueError) else f"{type(bad).__name__} {bad}"
            message = f"this is not how a search went: {why}"
            raise SpecError([Diagnostic("E0823", message, file=path)]) from None
        for line in _lines(os.path.join(folder, LOG)):
            made.events.setdefault(str(line.get("event")), []).append(line)
        return made

    @property
    def total(self) -> int:
        """Steps of the whole search."""
        return self.phases[-1].first + self.phases[-1].steps

    def chosen(self) -> list[int]:
        """The most probable option of each decision at the last moment."""
        at = np.cumsum([0, *(len(options) for _, options in self.decisions)])
        last = self.p_OM[:, -1]
        return [int(last[a:b].argmax()) for a, b in pairwise(at)]


def _made(head: dict[str, Any], moments: list[dict[str, Any]]) -> History:
    decisions = tuple(
        (str(d["path"]), tuple(_option(option) for option in d["options"]))
        for d in head["decisions"]
    )
    phases = tuple(
        Phase(
            str(p["name"]),
            int(p["first"]),
            int(p["steps"]),
            int(p["warmup"]),
            tuple(map(int, p["learned"])),
            tuple((str(b["cost"]), float(b["low"]), float(b["high"])) for b in p["budgets"]),
        )
        for p in head["phases"]
    )
    counts = [len(options) for _, options in decisions]
    columns, learned = [], []
    for moment in moments:
        rows = moment["p"]
        if [len(row) for row in rows] != counts:
            raise ValueError("a moment has other options")
        columns.append(np.array([p for row in rows for p in row], np.float64))
        phase = next(p for p in phases if p.name == moment["phase"])
        learned.append(np.repeat([k in phase.learned for k in range(len(counts))], counts))
    steps = np.array([int(moment["step"]) for moment in moments])
    p_OM = np.stack(columns, 1)
    if not ((p_OM >= 0) & (p_OM <= 1)).all() or (np.diff(steps) <= 0).any():
        raise ValueError("it has no probabilities in order of time")
    return History(str(head["space"]), decisions, phases, steps, p_OM, np.stack(learned, 1), {})


def _option(option: Any) -> str:
    return str(option).lower() if isinstance(option, bool) else str(option)


def _lines(path: str) -> list[dict[str, Any]]:
    """Those that are whole."""
    found = []
    for line in read_lines(path, limit=LONGEST, what="record of a search")[0]:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            found.append(value)
    return found
