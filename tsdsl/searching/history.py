"""How a search went, read from its folder: for figures."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tsdsl.diagnostics import Diagnostic, SpecError
from tsdsl.files import PathLike, read_lines
from tsdsl.record import Record
from tsdsl.training.folder import ALPHA, LOG, LONGEST


class PastPhase(Record):
    """A phase of a search that ran: steps ``first`` to ``first + steps - 1``. Alpha learns after
    ``warmup`` of them."""

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
    phases: tuple[PastPhase, ...]
    #: After how many steps each moment is.
    steps_M: NDArray[np.int64]
    #: The probability of every option, and whether its decision is learned then.
    p_OM: NDArray[np.float64]
    learned_OM: NDArray[np.bool_]
    #: Events of the log by their kind, in order.
    events: dict[str, list[dict[str, Any]]]

    @classmethod
    def read(cls, folder: PathLike) -> History:
        """Read a search, which may still run. Raises `FileError`, `SpecError`."""
        path = os.path.join(folder, ALPHA)
        if not os.path.lexists(path) and os.path.exists(os.path.join(folder, LOG)):
            message = "this run has no distribution over time"
            hint = "'search parsec' writes one; other runs are in their log"
            raise SpecError([Diagnostic("E0823", message, file=path, help=hint)])
        try:
            history = _history(_lines(path))
        except _NotAHistoryError as bad:
            message = f"this is not how a search went: {bad}"
            raise SpecError([Diagnostic("E0823", message, file=path)]) from None
        for line in _lines(os.path.join(folder, LOG)):
            history.events.setdefault(str(line.get("event")), []).append(line)
        return history

    @property
    def total(self) -> int:
        """Steps of the whole search."""
        return self.phases[-1].first + self.phases[-1].steps

    def chosen(self) -> list[int]:
        """The most probable option of each decision at the last moment."""
        at = np.cumsum([0, *(len(options) for _, options in self.decisions)])
        last = self.p_OM[:, -1]
        return [int(last[a:b].argmax()) for a, b in pairwise(at)]


class _NotAHistoryError(Exception):
    """A record of a search that cannot be one, with the reason."""


class _Document(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class _DecisionDocument(_Document):
    path: str
    options: list[bool | int | float | str]


class _BudgetDocument(_Document):
    cost: str
    low: float
    high: float


class _PhaseDocument(_Document):
    name: str
    first: int
    steps: int
    warmup: int
    learned: tuple[int, ...]
    budgets: list[_BudgetDocument]


class _Head(_Document):
    """The first line of `alpha.jsonl`."""

    format: Literal["tsnet-alpha/1"]
    space: str
    decisions: list[_DecisionDocument]
    phases: list[_PhaseDocument] = Field(min_length=1)


class _Moment(_Document):
    """Any other line."""

    step: int
    phase: str
    p: list[list[Annotated[float, Field(ge=0, le=1)]]]


def _history(lines: list[dict[str, Any]]) -> History:
    """Raises `_NotAHistoryError`."""
    try:
        head = _Head.model_validate(lines[0] if lines else {})
        moments = [_Moment.model_validate(line) for line in lines[1:]]
    except ValidationError as bad:
        first = bad.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise _NotAHistoryError(f"{where}: {first['msg']}") from None
    if not moments:
        raise _NotAHistoryError("it has no moment")
    decisions = tuple((d.path, tuple(map(_option, d.options))) for d in head.decisions)
    phases = tuple(
        PastPhase(
            phase.name,
            phase.first,
            phase.steps,
            phase.warmup,
            phase.learned,
            tuple((b.cost, b.low, b.high) for b in phase.budgets),
        )
        for phase in head.phases
    )
    counts = [len(options) for _, options in decisions]
    named = {phase.name: phase for phase in phases}
    columns, learned = [], []
    for moment in moments:
        if [len(row) for row in moment.p] != counts:
            raise _NotAHistoryError("a moment has other options")
        if moment.phase not in named:
            raise _NotAHistoryError(f"there is no phase '{moment.phase}'")
        columns.append(np.array([p for row in moment.p for p in row], np.float64))
        places = named[moment.phase].learned
        learned.append(np.repeat([k in places for k in range(len(counts))], counts))
    steps = np.array([moment.step for moment in moments])
    if (np.diff(steps) <= 0).any():
        raise _NotAHistoryError("its moments are not in order of time")
    return History(
        head.space, decisions, phases, steps, np.stack(columns, 1), np.stack(learned, 1), {}
    )


def _option(option: Any) -> str:
    return str(option).lower() if isinstance(option, bool) else str(option)


def _lines(path: str) -> list[dict[str, Any]]:
    """The lines that are whole: the last one may be cut off."""
    found = []
    for line in read_lines(path, limit=LONGEST, what="record of a search")[0]:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            found.append(value)
    return found
