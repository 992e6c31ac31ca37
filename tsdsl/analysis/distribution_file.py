"""The file of a distribution, `tsnet-dist/1`:

    {"format": "tsnet-dist/1", "space": "TwoStream", "space_hash": "...",
     "decisions": {"sparse.s1.width": {"options": [32, 40], "logits": [0.0, 0.7]}, ...},
     "joint": [{"decisions": ["sparse.s1[0].kernel", "sparse.s1[0].expand"],
                "logits": [0.1, 0.0, 0.4, null]}]}

A logit of null is an option that is never taken. ``joint``, which may be left out, has the logits
of all combinations of the options of some decisions that are active together, the last decision's
options varying fastest; under ``decisions``, these have the logarithms of their marginals, for
readers that need no more.

Everything that is wrong in a file is finding E0721.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import prod
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt
from pydantic import ValidationError as Invalid

from tsdsl.analysis.logits import MAX_LOGIT, Floats, LogitLayout
from tsdsl.diagnostics import Collector, Diagnostic, SpecError, did_you_mean
from tsdsl.ir.decision_groups import DecisionGroup, group_problem
from tsdsl.ir.resolve import moved, option_index
from tsdsl.ir.space import SpaceGraph

FORMAT = "tsnet-dist/1"
#: Bytes of the largest file that is read.
MAX_BYTES = 64 << 20

Logit = (
    Annotated[StrictFloat | StrictInt, Field(allow_inf_nan=False, ge=-MAX_LOGIT, le=MAX_LOGIT)]
    | None
)


class DecisionLogits(BaseModel):
    """The logits of one decision."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    options: list[StrictBool | StrictInt | StrictFloat | str] = Field(
        description="the options, written as in the spec"
    )
    logits: list[Logit] = Field(description="one for each option; null: never taken")


class JointLogits(BaseModel):
    """The logits of the combinations of some decisions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    decisions: list[str] = Field(min_length=2, description="decision paths, active together")
    logits: list[Logit] = Field(
        description="one for each combination of options, in the order that they have under"
        " `decisions`, the last decision's the fastest"
    )


class DistributionDocument(BaseModel):
    """A categorical for each decision of a space, or for each group of decisions."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="tsnet-dist/1")

    format: Literal["tsnet-dist/1"] = Field(description="the format of this file")
    space: str = Field(default="", strict=True, description="name of the space")
    space_hash: str = Field(
        default="", strict=True, description="hash of the space that it was made for"
    )
    decisions: dict[str, DecisionLogits] = Field(
        description="decision path -> its logits; of those in `joint`, their marginals"
    )
    joint: list[JointLogits] = Field(
        default=[], description="decisions that are distributed jointly"
    )


class StoredLogits(NamedTuple):
    """What a file contains: logits in the order of the space's own options, and the groups of
    decisions that are distributed jointly."""

    flat: Floats
    groups: tuple[DecisionGroup, ...]


def parse(space: SpaceGraph, text: str, name: str) -> StoredLogits:
    """The logits in a file's text; ``name`` stands for the file in findings. Raises `SpecError`."""
    try:
        raw = json.loads(text, parse_constant=_refuse_constant)
    except ValueError as invalid:
        raise _failure(name, [f"this is not JSON: {invalid}"]) from None
    except RecursionError:
        raise _failure(name, ["nested too deep"]) from None
    try:
        document = DistributionDocument.model_validate(raw)
    except Invalid as invalid:
        first = invalid.errors()[0]
        where = ".".join(map(str, first["loc"]))
        message = f"{where}: {first['msg']}" if where else str(first["msg"])
        raise _failure(name, [message]) from None
    rows, orders = _decision_rows(space, document, name)
    joint = _joint_rows(space, document, orders, name)
    single = {(k,): rows[d.path] for k, d in enumerate(space.decisions)}
    groups = tuple(joint)
    flat = [(joint | single)[part] for part in LogitLayout.of(space, groups).parts]
    return StoredLogits(np.concatenate([*flat, np.zeros(0)]), groups)


def dump(
    space: SpaceGraph, logits: Mapping[str, Floats], joint: Mapping[DecisionGroup, Floats]
) -> str:
    """The text of a file: the logits of each decision by path, and those of each group."""
    decisions = {
        d.path: {"options": list(d.options), "logits": _written(logits[d.path])}
        for d in space.decisions
    }
    document: dict[str, Any] = {
        "format": FORMAT,
        "space": space.name,
        "space_hash": space.hash,
        "decisions": decisions,
    }
    if joint:
        document["joint"] = [
            {"decisions": [space.decisions[k].path for k in group], "logits": _written(row)}
            for group, row in joint.items()
        ]
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _decision_rows(
    space: SpaceGraph, document: DistributionDocument, name: str
) -> tuple[dict[str, Floats], dict[str, list[int]]]:
    """For each decision by path: its logits, in the order of the space's options; and for each
    option in the file, which of the space's options it is."""
    problems: list[str] = []
    paths = {d.path: d for d in space.decisions}
    rows: dict[str, Floats] = {}
    orders: dict[str, list[int]] = {}
    for given, entry in document.decisions.items():
        if len(problems) >= Collector.LIMIT:
            break
        path = given if given in paths else moved(given, space.moved)
        if path not in paths:
            hint = did_you_mean(given, paths)
            problems.append(
                f"space {space.name} has no decision '{given}'" + (f"; {hint}" if hint else "")
            )
            continue
        if path in rows:
            problems.append(f"'{path}' is there twice: '{given}' is an earlier path of it")
            continue
        decision = paths[path]
        order = [k for o in entry.options if (k := option_index(decision, o)) is not None]
        one_each = sorted(order) == list(range(len(decision.options)))
        if not one_each or not len(order) == len(entry.options) == len(entry.logits):
            problems.append(f"'{given}' needs one logit for each of {list(decision.options)}")
            continue
        row = _read(entry.logits)[np.argsort(order)]
        if row.max() == -np.inf:
            problems.append(f"'{given}' has no option that can be taken")
        rows[path], orders[path] = row, order
    if not problems:
        problems = [f"no logits for decision '{path}'" for path in paths if path not in rows][:1]
    if problems:
        raise _failure(name, problems)
    return rows, orders


def _joint_rows(
    space: SpaceGraph,
    document: DistributionDocument,
    orders: Mapping[str, Sequence[int]],
    name: str,
) -> dict[DecisionGroup, Floats]:
    """The logits of each group, in the order of the space's decisions and options."""
    number = {d.path: k for k, d in enumerate(space.decisions)}
    joint: dict[DecisionGroup, Floats] = {}
    for entry in document.joint:
        paths = [p if p in number else moved(p, space.moved) for p in entry.decisions]
        for given, path in zip(entry.decisions, paths, strict=True):
            if path not in number:
                raise _failure(name, [f"space {space.name} has no decision '{given}'"])
        sizes = [len(orders[path]) for path in paths]
        shown = ", ".join(f"'{path}'" for path in entry.decisions)
        if len(entry.logits) != prod(sizes):
            message = f"{shown} together need {prod(sizes):,} logits, not {len(entry.logits):,}"
            raise _failure(name, [message])
        table = _read(entry.logits).reshape(sizes)[np.ix_(*(np.argsort(orders[p]) for p in paths))]
        if table.max() == -np.inf:
            raise _failure(name, [f"{shown} have no options that can be taken together"])
        group = [number[path] for path in paths]
        joint[tuple(sorted(group))] = table.transpose(np.argsort(group)).reshape(-1)
    twice = "a group of decisions is given twice" if len(joint) < len(document.joint) else None
    problem = twice or group_problem(space, tuple(joint))
    if problem is not None:
        raise _failure(name, [problem])
    return joint


def _written(row: Floats) -> list[float | None]:
    return [None if x == -np.inf else x for x in row.tolist()]


def _read(logits: Sequence[float | None]) -> Floats:
    return np.array([-np.inf if x is None else x for x in logits], np.float64)


def _refuse_constant(text: str) -> float:
    """NaN and Infinity, which Python's reader would accept. Raises `ValueError`."""
    raise ValueError(f"{text} is no number in JSON")


def _failure(name: str, problems: list[str]) -> SpecError:
    return SpecError([Diagnostic("E0721", message, file=name) for message in problems])
