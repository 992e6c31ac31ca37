"""A distribution over the architectures of a space: one categorical for each decision, or for each
group of decisions that are distributed jointly.

The probability of an architecture x is a product over its *active* decisions (or groups) d,

    P(x) = product of softmax(logits_d)[x_d] / Z,

where Z is the probability that independently drawn options satisfy the requirements of the space.
`distribution_file` is its file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, TypeVar

import numpy as np

from tsdsl.analysis import distribution_file
from tsdsl.analysis.logits import Floats, LogitLayout, invalid_part, log_softmax, softmax
from tsdsl.diagnostics import did_you_mean
from tsdsl.diagnostics.unknown_name import UnknownName
from tsdsl.files import PathLike, read_text, write_atomic
from tsdsl.ir.architecture import option_text
from tsdsl.ir.decision_groups import DecisionGroup, join_decisions
from tsdsl.ir.resolve import by_todays_paths
from tsdsl.ir.space import Decision, SpaceGraph


class _ByPath(dict[str, Floats]):
    """Decision path -> an array over its options."""

    def __init__(self, space: SpaceGraph, rows: Iterable[Floats]) -> None:
        super().__init__(zip((d.path for d in space.decisions), rows, strict=True))
        self._where = f" in space {space.name}"

    def __missing__(self, path: str) -> Floats:
        raise UnknownName("decision", path, self, self._where)


class Distribution:
    """Immutable logits of the options of each decision of one space, or of the combinations of
    options of each of ``groups`` (see `tsdsl.ir.decision_groups`).

    ``flat`` has them in the order of `layout`. Raises `ValueError` if there are too few or too
    many, or if some define no distribution.

        >>> distribution = space.distribution()
        >>> distribution.probabilities["main.s1.width"].round(3)
        array([0.333, 0.333, 0.333])
    """

    def __init__(
        self, space: SpaceGraph, flat: Floats, groups: Sequence[DecisionGroup] = ()
    ) -> None:
        self.space = space
        #: The groups of decisions that are distributed jointly, by the decisions' numbers.
        self.groups = tuple(sorted(groups))
        self.layout = LogitLayout.of(space, self.groups)
        self.flat = np.array(flat, np.float64)
        self.flat.flags.writeable = False
        if self.flat.shape != (int(self.layout.starts[-1]),):
            raise ValueError(f"{self.layout.starts[-1]} logits are needed, not {self.flat.shape}")
        invalid = invalid_part(self.flat, self.layout)
        if invalid is not None:
            row = self.layout.split(self.flat)[invalid].tolist()
            raise ValueError(
                f"the logits of '{self.layout.paths[invalid]}' are no distribution: {row}"
            )

    @property
    def graph(self) -> SpaceGraph:
        """The graph with one decision for each part of `layout`, in that order: every query under
        this distribution is a query of this graph, with one categorical for each decision."""
        return join_decisions(self.space, self.groups)

    def on_graph(self, space: SpaceGraph) -> Distribution:
        """The same distribution over another graph with the same decisions."""
        return self if space is self.space else Distribution(space, self.flat, self.groups)

    def with_groups(self, groups: Sequence[DecisionGroup]) -> Distribution:
        """This distribution with these groups of joint decisions and no others. The logits of a new
        group are the sums of its members' marginal log-probabilities, so that nothing changes if
        they were independent. A group that exists already keeps its logits; one that is dissolved
        leaves its marginals."""
        groups = tuple(sorted(groups))
        existing = dict(zip(self.layout.parts, self.layout.split(self.flat), strict=True))
        rows: list[Floats] = []
        for part in LogitLayout.of(self.space, groups).parts:
            row = existing.get(part)
            if row is None:
                row = np.zeros(())
                for k in part:
                    row = np.add.outer(row, self._log_marginals[k])
            rows.append(row.reshape(-1))
        return Distribution(self.space, np.concatenate([*rows, np.zeros(0)]), groups)

    def with_fixed(self, at: Mapping[int, int]) -> Distribution:
        """This distribution with some decisions, by number, fixed at an option, by its index. A
        group of which only some members are fixed is dissolved."""
        kept = [g for g in self.groups if at.keys() >= set(g) or at.keys().isdisjoint(g)]
        regrouped = self.with_groups(kept)
        layout = regrouped.layout
        rows: list[Floats] = []
        for part, row in zip(layout.parts, layout.split(regrouped.flat), strict=True):
            if part[0] in at:
                sizes = [len(self.space.decisions[k].options) for k in part]
                chosen = int(np.ravel_multi_index([at[k] for k in part], sizes))
                row = np.where(np.arange(len(row)) == chosen, 0.0, -np.inf)
            rows.append(row)
        return Distribution(self.space, np.concatenate([*rows, np.zeros(0)]), kept)

    @classmethod
    def initial(cls, space: SpaceGraph) -> Distribution:
        """The weights of options that the spec gives; uniform where it gives none."""
        return cls.from_weights(space, {})

    @classmethod
    def uniform(cls, space: SpaceGraph) -> Distribution:
        """Equal weights for all options of each decision. Architectures are in general not equally
        probable: an option with more decisions below it has more of them."""
        return cls(space, np.zeros(sum(len(d.options) for d in space.decisions)))

    @classmethod
    def from_logits(cls, space: SpaceGraph, logits: Mapping[str, Any]) -> Distribution:
        """A distribution from logits by decision path; decisions that are left out have the spec's
        weights. Raises `ValueError` for an unknown path or a wrong number of logits."""
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
        """A distribution from weights of 0 or more by decision path, which need not sum to 1;
        decisions that are left out have the spec's weights. Raises `ValueError` for an unknown
        path, a wrong number of weights, or weights that are all 0."""
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
        """The distribution in a file, such as the ``distribution.json`` of a search, for the graph
        of a space. `Space.distribution` reads files too. Raises `FileError` if it cannot be read,
        `SpecError` (E0721) if it does not fit the space.

            >>> space.distribution().save("distribution.json")
            >>> tsdsl.Distribution.load(space.graph, "distribution.json")
            <Distribution over 4 decisions of Small>
        """
        text = read_text(path, limit=distribution_file.MAX_BYTES, what="distribution file")
        return cls.parse(space, text, str(path))

    @classmethod
    def parse(cls, space: SpaceGraph, text: str, name: str = "distribution") -> Distribution:
        """The distribution in the text of a file; ``name`` stands for the file in findings.
        Raises `SpecError` (E0721)."""
        return cls(space, *distribution_file.parse(space, text, name))

    def save(self, path: PathLike) -> None:
        """Write the file atomically. Raises `FileError`."""
        write_atomic(path, self.dump())

    def dump(self) -> str:
        """The text of the file."""
        rows = zip(self.layout.parts, self.layout.split(self.flat), strict=True)
        joint = {part: row for part, row in rows if len(part) > 1}
        return distribution_file.dump(self.space, self.logits, joint)

    @cached_property
    def logits(self) -> dict[str, Floats]:
        """The logits of each decision by its path; for a member of a group, the logarithms of its
        marginal probabilities."""
        rows = zip(self.layout.parts, self.layout.split(self.flat), strict=True)
        own = {part[0]: row for part, row in rows if len(part) == 1}
        return _ByPath(
            self.space,
            (
                own[k] if k in own else self._log_marginals[k]
                for k in range(len(self.space.decisions))
            ),
        )

    def logits_of(self, part: DecisionGroup) -> Floats:
        """The logits of one of ``layout.parts``."""
        return self.layout.split(self.flat)[self.layout.parts.index(part)]

    @cached_property
    def _log_marginals(self) -> dict[int, Floats]:
        """The logarithms of the marginal probabilities of each decision, by number; finite also
        where a probability underflows."""
        marginals: dict[int, Floats] = {}
        rows = self.layout.split(self.flat)
        for part, row in zip(self.layout.parts, rows, strict=True):
            logs = (row - row.max()) - np.log(np.exp(row - row.max()).sum())
            table = logs.reshape([len(self.space.decisions[k].options) for k in part])
            for axis, k in enumerate(part):
                others = tuple(a for a in range(len(part)) if a != axis)
                marginals[k] = np.logaddexp.reduce(table, others) if others else logs
        return marginals

    @cached_property
    def probabilities(self) -> dict[str, Floats]:
        """The probabilities of the options of each decision by its path, before requirements and
        given that it is active; for a member of a group, the marginal ones."""
        marginals: dict[int, Floats] = {}
        rows = self.layout.split(self.flat_probabilities)
        for part, row in zip(self.layout.parts, rows, strict=True):
            table = row.reshape([len(self.space.decisions[k].options) for k in part])
            for axis, k in enumerate(part):
                others = tuple(a for a in range(len(part)) if a != axis)
                marginals[k] = table.sum(others) if others else row
        return _ByPath(self.space, (marginals[k] for k in range(len(self.space.decisions))))

    @cached_property
    def flat_probabilities(self) -> Floats:
        """The probabilities of the options of all parts of `layout`, as one array."""
        return softmax(self.flat, self.layout)

    @cached_property
    def flat_logs(self) -> Floats:
        """The logarithms of `flat_probabilities`: finite for every option that can be taken, also
        where its probability underflows."""
        return log_softmax(self.flat, self.layout)

    @property
    def flat_marginals(self) -> Floats:
        """The marginal `probabilities` of all decisions of the space, as one array."""
        return np.concatenate([*self.probabilities.values(), np.zeros(0)])

    def __repr__(self) -> str:
        count = len(self.space.decisions)
        noun = "decision" if count == 1 else "decisions"
        joint = f", {len(self.groups)} groups of them joint" if self.groups else ""
        return f"<Distribution over {count} {noun} of {self.space.name}{joint}>"

    def _repr_html_(self) -> str:
        from tsdsl.notebook import html_table

        def row(decision: Decision) -> tuple[str, str, str, str]:
            shares = self.probabilities[decision.path]
            best = int(shares.argmax())
            entropy = -float(np.sum(shares[shares > 0] * np.log(shares[shares > 0])))
            option = option_text(decision.options[best])
            return decision.path, option, f"{shares[best]:.3f}", f"{abs(entropy):.3f}"

        joint = f", {len(self.groups)} groups joint" if self.groups else ""
        header = ["decision", "most probable option", "probability", "entropy, nats"]
        decisions = self.space.decisions
        caption = f"Distribution over {self.space.name}{joint}"
        return html_table(caption, header, map(row, decisions), len(decisions))


#: An argument that stands for a distribution: None and "initial" for the spec's own, a mapping for
#: weights by decision path.
DistributionLike = Distribution | Literal["initial"] | Mapping[str, Sequence[float]] | None


def as_distribution(space: SpaceGraph, given: DistributionLike) -> Distribution:
    """The distribution that an argument stands for. Raises `ValueError` if it belongs to another
    space, or if it is no distribution."""
    if given is None or given == "initial":
        return Distribution.initial(space)
    if isinstance(given, Distribution):
        if given.space is not space and given.space.decisions != space.decisions:
            options = [(d.path, d.options) for d in given.space.decisions]
            if options != [(d.path, d.options) for d in space.decisions]:
                raise ValueError(f"{given!r} does not belong to space {space.name}")
        return given.on_graph(space)
    if isinstance(given, Mapping):
        return Distribution.from_weights(space, given)
    raise ValueError(
        f"{given!r} is no distribution: 'initial', a Distribution (such as Distribution.uniform),"
        " or weights by decision path"
    )


Argument = TypeVar("Argument")


def on_joint_graph(
    space: SpaceGraph, given: Argument
) -> tuple[SpaceGraph, Argument | Distribution]:
    """The graph that queries under ``given`` (a distribution, or an argument that stands for one)
    go to, and ``given`` over this graph. Both are unchanged unless it is a joint distribution:
    then the graph has one decision for each group."""
    if not isinstance(given, Distribution) or not given.groups:
        return space, given
    graph = as_distribution(space, given).graph
    return graph, Distribution(graph, given.flat)


def _initial(decision: Decision) -> Sequence[float]:
    """The spec's weights of the options of a decision."""
    return decision.weights or (1.0,) * len(decision.options)


def _log(weights: Any) -> Floats:
    """The logarithms of weights: -inf for 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.asarray(weights, np.float64)))


def _check(space: SpaceGraph, rows: Mapping[str, Floats], given: Mapping[str, Any]) -> None:
    """Raise `ValueError` if a given path is unknown, or if a row has the wrong length."""
    unknown = [path for path in given if path not in rows]
    if unknown:
        hint = did_you_mean(unknown[0], rows)
        raise ValueError(f"space {space.name} has no decision '{unknown[0]}' {hint or ''}".strip())
    for d in space.decisions:
        if rows[d.path].shape != (len(d.options),):
            raise ValueError(f"'{d.path}' takes {len(d.options)} logits, not {rows[d.path].shape}")
