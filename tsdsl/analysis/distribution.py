"""A distribution over the options of a space: one categorical for each decision, or for each
group of decisions that are distributed jointly.

`tsnet-dist/1` is its file:

    {"format": "tsnet-dist/1", "space": "TwoStream", "space_hash": "...",
     "decisions": {"sparse.s1.width": {"options": [32, 40], "logits": [0.0, 0.7]}, ...},
     "joint": [{"decisions": ["sparse.s1[0].kernel", "sparse.s1[0].expand"],
                "logits": [0.1, 0.0, 0.4, null]}]}

An architecture's probability is the product over its *active* decisions, on the condition that the
requirements of the space hold. A logit of null is an option that is never taken. ``joint``, if it
is there, has logits for all combinations of the options of some decisions that are active together,
the last one's the fastest; in ``decisions`` these have their marginals, for who asks for no more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt
from pydantic import ValidationError as Invalid

from tsdsl.diagnostics import Collector, Diagnostic, SpecError, did_you_mean
from tsdsl.files import PathLike, read_text, write_atomic
from tsdsl.ir.decision_groups import (
    DecisionGroup,
    combination_count,
    group_name,
    join_decisions,
    partition,
)
from tsdsl.ir.resolve import by_todays_paths, moved, option_index
from tsdsl.ir.space import Decision, SpaceGraph

FORMAT = "tsnet-dist/1"
#: Bytes of the largest file that is read.
MAX_BYTES = 64 << 20

Floats = NDArray[np.float64]
#: The largest logit: sums over all decisions of a space stay finite.
MAX_LOGIT = 1e300
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
    """The logits of some decisions together."""

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


@dataclass(frozen=True, slots=True, eq=False)
class LogitLayout:
    """Where each decision of a space, or each group of them, stands in a flat vector of logits."""

    paths: tuple[str, ...]
    sizes: tuple[int, ...]
    starts: NDArray[np.int64]
    #: Of what each is made: numbers of the space's decisions.
    parts: tuple[DecisionGroup, ...]

    @classmethod
    def of(cls, space: SpaceGraph, groups: Sequence[DecisionGroup] = ()) -> LogitLayout:
        made = partition(space, groups)
        sizes = tuple(combination_count(space, part) for part in made)
        paths = tuple(group_name([space.decisions[k].path for k in part]) for part in made)
        starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        return cls(paths, sizes, starts.astype(np.int64), made)

    def split(self, flat: NDArray[Any]) -> list[NDArray[Any]]:
        """A view for each."""
        return [flat[a:b] for a, b in pairwise(self.starts.tolist())]


class Distribution:
    """Logits of the options of each decision of one space, or of the combinations of each group of
    ``groups`` (see `tsdsl.ir.decision_groups`). Not changed once it is made."""

    def __init__(
        self, space: SpaceGraph, flat: Floats, groups: Sequence[DecisionGroup] = ()
    ) -> None:
        self.space = space
        #: Numbers of the decisions that are distributed jointly.
        self.groups = tuple(sorted(groups))
        self.layout = LogitLayout.of(space, self.groups)
        self.flat = np.array(flat, np.float64)
        self.flat.flags.writeable = False
        if self.flat.shape != (int(self.layout.starts[-1]),):
            raise ValueError(f"{self.layout.starts[-1]} logits are needed, not {self.flat.shape}")
        wrong = _none(self.flat, self.layout)
        if wrong is not None:
            row = self.layout.split(self.flat)[wrong].tolist()
            raise ValueError(
                f"the logits of '{self.layout.paths[wrong]}' are no distribution: {row}"
            )

    @property
    def graph(self) -> SpaceGraph:
        """The graph in which there is one categorical for each decision, in the order of `layout`:
        whatever is asked under this distribution is asked of it."""
        return join_decisions(self.space, self.groups)

    def on_graph(self, space: SpaceGraph) -> Distribution:
        """The same logits over another graph with the same decisions."""
        return self if space is self.space else Distribution(space, self.flat, self.groups)

    def with_groups(self, groups: Sequence[DecisionGroup]) -> Distribution:
        """With these groups and no others. Joint logits are sums of the members' marginal
        log-probabilities: without groups before, exactly the same distribution. A group that there
        was is kept as it is; one that is taken apart leaves its marginals."""
        groups = tuple(sorted(groups))
        had = dict(zip(self.layout.parts, self.layout.split(self.flat), strict=True))
        rows: list[Floats] = []
        for part in LogitLayout.of(self.space, groups).parts:
            row = had.get(part)
            if row is None:
                row = np.zeros(())
                for k in part:
                    row = np.add.outer(row, self._log_marginals[k])
            rows.append(row.reshape(-1))
        return Distribution(self.space, np.concatenate([*rows, np.zeros(0)]), groups)

    def with_fixed(self, at: Mapping[int, int]) -> Distribution:
        """Where some decisions, by number, stand at an option. A group of which a part stands is
        taken apart."""
        kept = [g for g in self.groups if at.keys() >= set(g) or at.keys().isdisjoint(g)]
        made = self.with_groups(kept)
        rows: list[Floats] = []
        for part, row in zip(made.layout.parts, made.layout.split(made.flat), strict=True):
            if part[0] in at:
                sizes = [len(self.space.decisions[k].options) for k in part]
                chosen = int(np.ravel_multi_index([at[k] for k in part], sizes))
                row = np.where(np.arange(len(row)) == chosen, 0.0, -np.inf)
            rows.append(row)
        return Distribution(self.space, np.concatenate([*rows, np.zeros(0)]), kept)

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
        logits = by_todays_paths(space, logits)
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
        weights = by_todays_paths(space, weights)
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
        decisions = {
            d.path: {"options": list(d.options), "logits": _written(self.logits[d.path])}
            for d in self.space.decisions
        }
        document: dict[str, Any] = {
            "format": FORMAT,
            "space": self.space.name,
            "space_hash": self.space.hash,
            "decisions": decisions,
        }
        if self.groups:
            document["joint"] = [
                {
                    "decisions": [self.space.decisions[k].path for k in part],
                    "logits": _written(row),
                }
                for part, row in zip(self.layout.parts, self.layout.split(self.flat), strict=True)
                if len(part) > 1
            ]
        return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @cached_property
    def logits(self) -> dict[str, Floats]:
        """Decision path -> its logits; of what is distributed jointly, the log of the marginals."""
        rows = zip(self.layout.parts, self.layout.split(self.flat), strict=True)
        own = {part[0]: row for part, row in rows if len(part) == 1}
        return {
            d.path: own[k] if k in own else self._log_marginals[k]
            for k, d in enumerate(self.space.decisions)
        }

    def logits_of(self, part: DecisionGroup) -> Floats:
        """Of one of ``layout.parts``."""
        return self.layout.split(self.flat)[self.layout.parts.index(part)]

    @cached_property
    def _log_marginals(self) -> dict[int, Floats]:
        """Of each decision by number, also where the probability is less than any float."""
        found: dict[int, Floats] = {}
        rows = self.layout.split(self.flat)
        for part, row in zip(self.layout.parts, rows, strict=True):
            logs = (row - row.max()) - np.log(np.exp(row - row.max()).sum())
            table = logs.reshape([len(self.space.decisions[k].options) for k in part])
            for axis, k in enumerate(part):
                others = tuple(a for a in range(len(part)) if a != axis)
                found[k] = np.logaddexp.reduce(table, others) if others else logs
        return found

    @cached_property
    def probabilities(self) -> dict[str, Floats]:
        """Decision path -> the probabilities of its options, given that it is active; of what is
        distributed jointly, the marginals."""
        found: dict[int, Floats] = {}
        rows = self.layout.split(self.flat_probabilities)
        for part, row in zip(self.layout.parts, rows, strict=True):
            table = row.reshape([len(self.space.decisions[k].options) for k in part])
            for axis, k in enumerate(part):
                others = tuple(a for a in range(len(part)) if a != axis)
                found[k] = table.sum(others) if others else row
        return {d.path: found[k] for k, d in enumerate(self.space.decisions)}

    @cached_property
    def flat_probabilities(self) -> Floats:
        """Of all decisions and groups of `layout`, one after the other."""
        return softmax(self.flat, self.layout)

    @cached_property
    def flat_logs(self) -> Floats:
        """The logarithms of `flat_probabilities`: finite for every option that can be taken, also
        where its probability is less than any float."""
        return log_softmax(self.flat, self.layout)

    @property
    def flat_marginals(self) -> Floats:
        """`probabilities` of all decisions of the space, one after the other."""
        return np.concatenate([*self.probabilities.values(), np.zeros(0)])

    def __repr__(self) -> str:
        joint = f", {len(self.groups)} groups of them joint" if self.groups else ""
        return (
            f"<Distribution over {len(self.space.decisions)} decisions of {self.space.name}{joint}>"
        )


#: What is taken where a distribution is expected: None or "initial" is the spec's own; a mapping
#: gives weights by decision path.
DistributionLike = Distribution | Literal["initial"] | Mapping[str, Sequence[float]] | None


def as_distribution(space: SpaceGraph, given: DistributionLike) -> Distribution:
    """The distribution that is meant. Raises `ValueError` if it is one of another space."""
    if given is None or given == "initial":
        return Distribution.initial(space)
    if isinstance(given, Distribution):
        if given.space is not space and given.space.decisions != space.decisions:
            same = [(d.path, d.options) for d in given.space.decisions]
            if same != [(d.path, d.options) for d in space.decisions]:
                raise ValueError(f"{given!r} is none of space {space.name}")
        return given.on_graph(space)
    if isinstance(given, Mapping):
        return Distribution.from_weights(space, given)
    raise ValueError(
        f"{given!r} is no distribution: 'initial', a Distribution (such as Distribution.uniform),"
        " or weights by decision path"
    )


Asked = TypeVar("Asked")


def on_joint_graph(space: SpaceGraph, given: Asked) -> tuple[SpaceGraph, Asked | Distribution]:
    """The graph to ask where a distribution, or anything else that is taken for one, is given; and
    what is given, over this graph. It is the space itself unless the distribution is joint."""
    if not isinstance(given, Distribution) or not given.groups:
        return space, given
    graph = as_distribution(space, given).graph
    return graph, Distribution(graph, given.flat)


def softmax(flat: Floats, layout: LogitLayout) -> Floats:
    """Probabilities of the options of each decision."""
    if not len(flat):
        return flat
    starts, sizes = layout.starts[:-1], layout.sizes
    # What is far below the largest one is -inf, and its probability 0.
    with np.errstate(over="ignore"):
        shifted = np.exp(flat - np.repeat(np.maximum.reduceat(flat, starts), sizes))
    return np.asarray(shifted / np.repeat(np.add.reduceat(shifted, starts), sizes))


def log_softmax(flat: Floats, layout: LogitLayout) -> Floats:
    """Logarithms of the probabilities of the options of each decision; -inf for an option that is
    never taken."""
    if not len(flat):
        return flat
    starts, sizes = layout.starts[:-1], layout.sizes
    # Logits that are further apart than floats reach are -inf here: they cannot be told apart.
    with np.errstate(over="ignore", divide="ignore"):
        shifted = flat - np.repeat(np.maximum.reduceat(flat, starts), sizes)
        sums = np.add.reduceat(np.exp(shifted), starts)
    return np.asarray(shifted - np.repeat(np.log(sums), sizes))


def _none(flat: Floats, layout: LogitLayout) -> int | None:
    """The number of the first decision whose logits are no distribution; None if all are one."""
    if not len(flat):
        return None
    # The size of -inf, an option that is never taken, is left out; NaN is larger than all.
    size = np.where(flat == -np.inf, 0.0, np.abs(flat))
    starts = layout.starts[:-1]
    some = np.maximum.reduceat(flat, starts) > -np.inf
    wrong = np.flatnonzero(~(some & (np.maximum.reduceat(size, starts) <= MAX_LOGIT)))
    return int(wrong[0]) if len(wrong) else None


def _written(row: Floats) -> list[float | None]:
    return [None if x == -np.inf else x for x in row.tolist()]


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
    #: For each option in the file, which of the space's it is.
    orders: dict[str, list[int]] = {}
    for given, entry in document.decisions.items():
        if len(found) >= Collector.LIMIT:
            break
        path = given if given in paths else moved(given, space.moved)
        if path not in paths:
            hint = did_you_mean(given, paths)
            found.append(
                f"space {space.name} has no decision '{given}'" + (f"; {hint}" if hint else "")
            )
            continue
        if path in rows:
            found.append(f"'{path}' is there twice: '{given}' is an earlier path of it")
            continue
        decision = paths[path]
        at = [k for o in entry.options if (k := option_index(decision, o)) is not None]
        one_each = sorted(at) == list(range(len(decision.options)))
        if not one_each or not len(at) == len(entry.options) == len(entry.logits):
            found.append(f"'{given}' needs one logit for each of {list(decision.options)}")
            continue
        row = _read(entry.logits)[np.argsort(at)]
        if row.max() == -np.inf:
            found.append(f"'{given}' has no option that can be taken")
        rows[path], orders[path] = row, at
    found += [f"no logits for decision '{path}'" for path in paths if path not in rows][: not found]
    if found:
        raise _failure(name, found)
    made = Distribution.from_logits(space, rows)
    return _match_joint(made, document, orders, name) if document.joint else made


def _match_joint(
    made: Distribution, document: DistributionDocument, orders: Mapping[str, list[int]], name: str
) -> Distribution:
    space = made.space
    at = {d.path: k for k, d in enumerate(space.decisions)}
    joint: dict[DecisionGroup, Floats] = {}
    for entry in document.joint:
        named = [p if p in at else moved(p, space.moved) for p in entry.decisions]
        unknown = [given for given, p in zip(entry.decisions, named, strict=True) if p not in at]
        if unknown:
            raise _failure(name, [f"space {space.name} has no decision '{unknown[0]}'"])
        sizes = [len(orders[path]) for path in named]
        shown = ", ".join(f"'{path}'" for path in entry.decisions)
        if len(entry.logits) != prod(sizes):
            message = f"{shown} together need {prod(sizes):,} logits, not {len(entry.logits):,}"
            raise _failure(name, [message])
        table = _read(entry.logits).reshape(sizes)[np.ix_(*(np.argsort(orders[p]) for p in named))]
        if table.max() == -np.inf:
            raise _failure(name, [f"{shown} have no options that can be taken together"])
        group = [at[path] for path in named]
        joint[tuple(sorted(group))] = table.transpose(np.argsort(group)).reshape(-1)
    try:
        if len(joint) < len(document.joint):
            raise ValueError("a group of decisions is given twice")
        layout = LogitLayout.of(space, tuple(joint))
    except ValueError as bad:
        raise _failure(name, [str(bad)]) from None
    rows = dict(zip(((k,) for k in at.values()), made.layout.split(made.flat), strict=True))
    flat = np.concatenate([(joint | rows)[part] for part in layout.parts])
    return Distribution(space, flat, tuple(joint))


def _read(logits: Sequence[float | None]) -> Floats:
    return np.array([-np.inf if x is None else x for x in logits], np.float64)


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
