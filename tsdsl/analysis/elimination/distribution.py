"""A factorised distribution over the options of a space: one categorical for each decision.

`tsnet-dist/1` is its file:

    {"format": "tsnet-dist/1", "space": "TwoStream", "space_hash": "...",
     "decisions": {"sparse.s1.width": {"options": [32, 40], "logits": [0.0, 0.7]}}}

An architecture's probability is the product over its *active* decisions, on the condition that the
requirements of the space hold. A logit of null is an option that is never taken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt
from pydantic import ValidationError as Invalid

from tsdsl.diagnostics import Diagnostic, SpecError, did_you_mean
from tsdsl.files import PathLike, read_text, write_atomic
from tsdsl.ir.resolve import moved, option_index
from tsdsl.ir.space import Decision, SpaceGraph

FORMAT = "tsnet-dist/1"
#: Bytes of the largest file that is read.
MAX_BYTES = 64 << 20

Floats = NDArray[np.float64]
Logit = Annotated[StrictFloat | StrictInt, Field(allow_inf_nan=False)] | None


class DecisionDocument(BaseModel):
    """The logits of one decision."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    options: list[StrictBool | StrictInt | StrictFloat | str] = Field(
        description="the options, written as in the spec"
    )
    logits: list[Logit] = Field(description="one for each option; null: never taken")


class DistributionDocument(BaseModel):
    """A categorical for each decision of a space."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="tsnet-dist/1")

    format: Literal["tsnet-dist/1"] = Field(description="the format of this file")
    space: str = Field(default="", strict=True, description="name of the space")
    space_hash: str = Field(
        default="", strict=True, description="hash of the space that it was made for"
    )
    decisions: dict[str, DecisionDocument] = Field(description="decision path -> its logits")


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Where each decision of a space stands in a flat vector of logits."""

    paths: tuple[str, ...]
    sizes: tuple[int, ...]
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, space: SpaceGraph) -> Layout:
        sizes = tuple(len(d.options) for d in space.decisions)
        starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        return cls(tuple(d.path for d in space.decisions), sizes, starts.astype(np.int64))

    def split(self, flat: NDArray[Any]) -> list[NDArray[Any]]:
        """A view for each decision."""
        return [flat[a:b] for a, b in pairwise(self.starts.tolist())]


class Distribution:
    """Logits of the options of each decision of one space. Not changed once it is made."""

    def __init__(self, space: SpaceGraph, flat: Floats) -> None:
        self.space = space
        self.layout = Layout.of(space)
        self.flat = np.array(flat, np.float64)
        self.flat.flags.writeable = False
        if self.flat.shape != (int(self.layout.starts[-1]),):
            raise ValueError(f"{self.layout.starts[-1]} logits are needed, not {self.flat.shape}")
        for path, row in zip(self.layout.paths, self.layout.split(self.flat), strict=True):
            if np.isnan(row).any() or row.max() in (np.inf, -np.inf):
                raise ValueError(f"the logits of '{path}' are no distribution: {row.tolist()}")

    @classmethod
    def initial(cls, space: SpaceGraph) -> Distribution:
        """The weights that the spec gives its options; uniform where it gives none."""
        return cls.from_weights(space, {})

    @classmethod
    def uniform(cls, space: SpaceGraph) -> Distribution:
        """Equal weights for the options of each decision."""
        return cls(space, np.zeros(sum(len(d.options) for d in space.decisions)))

    @classmethod
    def from_logits(cls, space: SpaceGraph, logits: Mapping[str, Any]) -> Distribution:
        """Logits by decision path; decisions that are left out stay at the spec's weights."""
        rows = [
            np.asarray(logits[d.path], np.float64) if d.path in logits else _log(_initial(d))
            for d in space.decisions
        ]
        _check(space, {d.path: row for d, row in zip(space.decisions, rows, strict=True)}, logits)
        return cls(space, np.concatenate(rows) if rows else np.zeros(0))

    @classmethod
    def from_weights(
        cls, space: SpaceGraph, weights: Mapping[str, Sequence[float]]
    ) -> Distribution:
        """Weights of 0 or more by decision path; others as in the spec."""
        rows: dict[str, Floats] = {}
        for d in space.decisions:
            row = np.asarray(weights.get(d.path, _initial(d)), np.float64)
            size = len(d.options)
            if row.shape != (size,) or not (row >= 0).all() or not 0 < row.sum() < np.inf:
                raise ValueError(
                    f"'{d.path}' takes {size} weights of 0 or more, not {row.tolist()}"
                )
            rows[d.path] = row
        _check(space, rows, weights)
        return cls(space, _log(np.concatenate([*rows.values(), np.zeros(0)])))

    @classmethod
    def load(cls, space: SpaceGraph, path: PathLike) -> Distribution:
        """Read a file. Raises `FileError` and `SpecError`."""
        text = read_text(path, limit=MAX_BYTES, what="distribution file")
        return cls.parse(space, text, str(path))

    @classmethod
    def parse(cls, space: SpaceGraph, text: str, name: str = "distribution") -> Distribution:
        """The distribution that a text in JSON holds. Raises `SpecError`."""
        try:
            document = DistributionDocument.model_validate(json.loads(text, parse_constant=_refuse))
        except (ValueError, RecursionError) as bad:
            raise _failure(name, [_why(bad)]) from None
        return _match(space, document, name)

    def save(self, path: PathLike) -> None:
        """Write a file, whole or not at all. Raises `FileError`."""
        write_atomic(path, self.dump())

    def dump(self) -> str:
        """The text of its file."""
        rows = self.layout.split(self.flat)
        decisions = {
            d.path: {
                "options": list(d.options),
                "logits": [None if x == -np.inf else x for x in row.tolist()],
            }
            for d, row in zip(self.space.decisions, rows, strict=True)
        }
        document = {
            "format": FORMAT,
            "space": self.space.name,
            "space_hash": self.space.hash,
            "decisions": decisions,
        }
        return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @property
    def logits(self) -> dict[str, Floats]:
        """Decision path -> its logits."""
        return dict(zip(self.layout.paths, self.layout.split(self.flat), strict=True))

    @property
    def probabilities(self) -> dict[str, Floats]:
        """Decision path -> the probabilities of its options, given that it is active."""
        rows = self.layout.split(self.flat_probabilities)
        return dict(zip(self.layout.paths, rows, strict=True))

    @cached_property
    def flat_probabilities(self) -> Floats:
        """Of all decisions, one after the other."""
        return softmax(self.flat, self.layout)

    def __repr__(self) -> str:
        return f"<Distribution over {len(self.layout.paths)} decisions of {self.space.name}>"


#: What is taken where a distribution is expected: None or "initial" is the spec's own; a mapping
#: gives weights by decision path.
Given = Distribution | Literal["initial"] | Mapping[str, Sequence[float]] | None


def distribution_of(space: SpaceGraph, given: Given) -> Distribution:
    """The distribution that is meant. Raises `ValueError` if it is one of another space."""
    if given is None or given == "initial":
        return Distribution.initial(space)
    if isinstance(given, Distribution):
        if given.space is not space and given.space.decisions != space.decisions:
            same = [(d.path, d.options) for d in given.space.decisions]
            if same != [(d.path, d.options) for d in space.decisions]:
                raise ValueError(f"{given!r} is none of space {space.name}")
        return given
    if isinstance(given, Mapping):
        return Distribution.from_weights(space, given)
    raise ValueError(
        f"{given!r} is no distribution: 'initial', a Distribution (such as Distribution.uniform),"
        " or weights by decision path"
    )


def softmax(flat: Floats, layout: Layout) -> Floats:
    """Probabilities of the options of each decision."""
    if not len(flat):
        return flat
    starts, sizes = layout.starts[:-1], layout.sizes
    shifted = np.exp(flat - np.repeat(np.maximum.reduceat(flat, starts), sizes))
    return np.asarray(shifted / np.repeat(np.add.reduceat(shifted, starts), sizes))


def _initial(decision: Decision) -> Sequence[float]:
    return decision.weights or (1.0,) * len(decision.options)


def _log(weights: Any) -> Floats:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.asarray(weights, np.float64)))


def _check(space: SpaceGraph, rows: Mapping[str, Floats], given: Mapping[str, Any]) -> None:
    unknown = [path for path in given if path not in rows]
    if unknown:
        hint = did_you_mean(unknown[0], rows)
        raise ValueError(f"space {space.name} has no decision '{unknown[0]}' {hint or ''}".strip())
    for d in space.decisions:
        if rows[d.path].shape != (len(d.options),):
            raise ValueError(f"'{d.path}' takes {len(d.options)} logits, not {rows[d.path].shape}")


def _match(space: SpaceGraph, document: DistributionDocument, name: str) -> Distribution:
    """Logits in the order of the space's own options."""
    found: list[str] = []
    paths = {d.path: d for d in space.decisions}
    rows: dict[str, Floats] = {}
    for given, entry in document.decisions.items():
        path = given if given in paths else moved(given, space.moved)
        if path not in paths:
            hint = did_you_mean(given, paths)
            found.append(
                f"space {space.name} has no decision '{given}'" + (f"; {hint}" if hint else "")
            )
            continue
        decision = paths[path]
        at = [option_index(decision, option) for option in entry.options]
        if len(entry.logits) != len(entry.options) or sorted(
            k for k in at if k is not None
        ) != list(range(len(decision.options))):
            found.append(f"'{given}' needs one logit for each of {list(decision.options)}")
            continue
        row = np.full(len(at), -np.inf)
        for k, logit in zip(at, entry.logits, strict=True):
            if k is not None and logit is not None:
                row[k] = logit
        if row.max() == -np.inf:
            found.append(f"'{given}' has no option that can be taken")
        rows[path] = row
    found += [f"no logits for decision '{path}'" for path in paths if path not in rows][: not found]
    if found:
        raise _failure(name, found)
    return Distribution.from_logits(space, rows)


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is no number in JSON")


def _why(bad: Exception) -> str:
    if isinstance(bad, Invalid):
        first = bad.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return f"{where}: {first['msg']}" if where else str(first["msg"])
    return f"this is not JSON: {bad}" if isinstance(bad, ValueError) else "nested too deep"


def _failure(name: str, found: list[str]) -> SpecError:
    return SpecError([Diagnostic("E0721", message, file=name) for message in found])
