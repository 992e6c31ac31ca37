"""The distribution that a search learns: P(A | alpha), a categorical for each decision, or for each
group of decisions that are distributed jointly (`tsdsl.ir.decision_groups`).

An architecture's weight is the product over its *active* decisions of the probability of the option
that it takes; its probability is that weight over Z, the sum of all weights. Z is 1 unless the
space has requirements; then it is what the analysis engine computes, exactly, so that `sample`,
`Space.expectation` and this file mean one distribution. With q(d, j), the probability that decision
d is active and takes option j, and p(d, j), its probability given that it is active:

    log P(A)                  = sum over active d of log p(d, A[d])  -  log Z
    d log Z / d alpha(d, j)   = q(d, j) - p(d, j) sum_i q(d, i)
    d log P(A) / d alpha(d,j) = [d active in A] ([A[d] = j] - p(d, j))  -  d log Z / d alpha(d, j)
    entropy                   = log Z  -  sum over d, j of q(d, j) log p(d, j)

One upward and one downward pass of elimination give Z and all q. Nothing is differentiated
automatically. For a group, d is the group and j a combination of its members' options: nothing else
changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tsdsl.analysis.costs.assignments import active_decisions, assignments
from tsdsl.analysis.distribution import Distribution, DistributionLike
from tsdsl.analysis.elimination.cache import query_cache
from tsdsl.analysis.logits import Floats
from tsdsl.analysis.sampling.sampler import sample
from tsdsl.diagnostics import did_you_mean
from tsdsl.files import PathLike
from tsdsl.ir.architecture import Architecture, Option
from tsdsl.ir.decision_groups import DecisionGroup
from tsdsl.ir.ordering import TooCoupled
from tsdsl.ir.resolve import by_todays_paths, option_index
from tsdsl.space import Space, Window, Within

Architectures = Sequence[Mapping[str, Any]]
#: Draws of an entropy that cannot be computed exactly.
DRAWS = 4096
#: Stands before the numbers of a key, so that keys of other users of a seed differ.
_KEY = 0x415


class Entropy(NamedTuple):
    """In nats. ``error`` is the standard error of an estimate, 0 of what is exact."""

    value: float
    error: float


class Chosen(NamedTuple):
    """Architectures as numbers: which logit each takes for each decision or group, and whether it
    is active [architecture, decision or group]; the option of every variable of the space
    [architecture, variable]."""

    logit: NDArray[np.int64]
    active: NDArray[np.bool_]
    assigned: NDArray[np.int64]


class Categoricals:
    """P(A | alpha) at one moment; not changed once it is made.

    A flat vector has the logits of all decisions and groups one after the other, in the order of
    ``distribution.layout``. Architectures are validated (`ArchitectureError`). Where a space with
    requirements is too coupled for elimination, whatever needs Z raises `TooCoupled`.
    """

    def __init__(self, space: Space, given: DistributionLike = None) -> None:
        self.space = space
        self.distribution = space.distribution(given)
        layout = self.distribution.layout
        self._starts = layout.starts[:-1]
        #: Of each flat position, which decision or group it belongs to.
        self._decision = np.repeat(np.arange(len(layout.sizes)), layout.sizes)
        #: The first decision of each; and for each decision, to whose number it adds its option how
        #: many times.
        self._first = [part[0] for part in layout.parts]
        self._steps = np.zeros((len(space.decisions), len(layout.parts)), np.int64)
        for column, part in enumerate(layout.parts):
            step = 1
            for k in reversed(part):
                self._steps[k, column] = step
                step *= len(space.decisions[k].options)

    @property
    def size(self) -> int:
        """How many logits there are."""
        return len(self.distribution.flat)

    @property
    def log_p(self) -> Floats:
        """log p(d, j), flat; -inf for an option that is never taken."""
        return self.distribution.flat_logs

    @cached_property
    def _taken(self) -> tuple[float, Floats]:
        """log Z and q, flat."""
        means = query_cache(self.distribution.graph).feasibility
        given = self.distribution
        return means.option_marginals(given.flat_probabilities, lambda: given.flat_logs)

    @property
    def log_feasible(self) -> float:
        """log Z: of the probability that a free draw of options satisfies all requirements."""
        return self._taken[0] if self.space.graph.requirements else 0.0

    @property
    def taken(self) -> Floats:
        """q(d, j), flat: the probability that a decision is active and takes an option."""
        return self._taken[1]

    @cached_property
    def _log_feasible_gradient(self) -> Floats:
        if not self.space.graph.requirements:
            return np.zeros(self.size)
        return self.taken - self.distribution.flat_probabilities * self._by_decision(self.taken)

    def _by_decision(self, flat: Floats) -> Floats:
        """The sum over the options of a decision, for each of them."""
        if not len(flat):
            return flat
        return np.asarray(np.add.reduceat(flat, self._starts)[self._decision])

    def choose(self, architectures: Architectures) -> Chosen:
        """What architectures take. The methods below accept it instead of them."""
        graph = self.space.graph
        assigned = assignments(graph, architectures)
        options = assigned[:, [d.variable.index for d in graph.decisions]] @ self._steps
        on = active_decisions(graph, assigned)[:, self._first]
        return Chosen(options + self._starts, on, assigned)

    def log_probability(self, architectures: Architectures | Chosen) -> Floats:
        """log P(A) of each; -inf where an option is never taken."""
        chosen = self._chosen(architectures)
        logs = np.where(chosen.active, self.log_p[chosen.logit], 0.0)
        return np.asarray(logs.sum(1) - self.log_feasible)

    def gradient(self, architectures: Architectures | Chosen, factors: Any) -> Floats:
        """sum over k of factors[k] times the gradient of log P(A_k) with respect to alpha, flat."""
        chosen = self._chosen(architectures)
        weight = np.broadcast_to(np.asarray(factors, np.float64), len(chosen.active))
        weights = np.where(chosen.active, weight[:, None], 0.0)
        pull: Floats = np.zeros(self.size)
        np.add.at(pull, chosen.logit, weights)
        pull -= self.distribution.flat_probabilities * self._by_decision(pull)
        return np.asarray(pull - weight.sum() * self._log_feasible_gradient)

    def entropy(self, draws: int = DRAWS) -> Entropy:
        """Exact, by elimination: inactive decisions have no part in it, each active one has as much
        as it is probable to be active, and requirements count. Where the decisions that gate others
        are too coupled for elimination: the mean of -log P over ``draws`` architectures."""
        try:
            log_feasible, taken = self._taken
        except TooCoupled:
            if self.space.graph.requirements:
                raise
            logs = -self.log_probability(self.sample(draws, seed=0, step=0))
            return Entropy(float(logs.mean()), float(logs.std() / len(logs) ** 0.5))
        some = taken > 0
        return Entropy(max(0.0, log_feasible - float(taken[some] @ self.log_p[some])), 0.0)

    def sample(self, n: int, *, seed: int, step: int) -> list[Architecture]:
        """``n`` independent draws (not necessarily distinct): a function of alpha, seed and step,
        of which the first are the same for every ``n``."""
        state = np.random.SeedSequence([_KEY, seed, step]).generate_state(1, np.uint64)
        return sample(self.space.graph, int(state[0]), n, self.distribution, distinct=False)

    def most_probable(
        self, *, flops: Window = None, params: Window = None, within: Within = None
    ) -> Architecture:
        """Of all, or of all within budgets; see `Space.most_probable`."""
        return self.space.most_probable(
            self.distribution, flops=flops, params=params, within=within
        )

    def _chosen(self, architectures: Architectures | Chosen) -> Chosen:
        return architectures if isinstance(architectures, Chosen) else self.choose(architectures)


class Alpha(nn.Module):
    """The logits as parameters, in float64 on the CPU, and which decisions stand still.

    It starts at the spec's weights. `join` makes the decisions of some groups joint, without a
    change of the distribution; whatever is flat is then in the order of ``now().distribution``.
    `state_dict` has everything; ``save`` writes what `tsdsl space --distribution` reads. An
    optimiser takes ``parameters()``: those of decisions that stand have no gradient and do not
    move.
    """

    def __init__(self, space: Space, given: DistributionLike = None) -> None:
        super().__init__()
        self._space = space
        start = space.distribution(given)
        self._layout = start.layout
        #: Numbers of the decisions that are distributed jointly.
        self.groups = start.groups
        #: The logits of each decision or group, in the order of the layout.
        self.logits = nn.ParameterList(map(_parameter, start.layout.split(start.flat)))
        #: The option, or combination of options, that each stands at; -1 where it is learned.
        self.standing: torch.Tensor
        self.register_buffer("standing", torch.full((len(start.layout.parts),), -1))

    def now(self) -> Categoricals:
        """What the logits say at this moment; what stands is certain."""
        rows = self._rows()
        for row, at in zip(rows, self.standing.tolist(), strict=True):
            if at >= 0:
                row[:] = -np.inf
                row[at] = 0.0
        return Categoricals(self._space, self._distribution(rows))

    def _rows(self) -> list[Floats]:
        return [parameter.detach().cpu().numpy().copy() for parameter in self.logits]

    def _distribution(self, rows: list[Floats]) -> Distribution:
        flat = np.concatenate([*rows, np.zeros(0)])
        return Distribution(self._space.graph, flat, self.groups)

    @property
    def learned(self) -> tuple[str, ...]:
        """Paths of the decisions that do not stand."""
        pairs = zip(self._layout.parts, self.standing.tolist(), strict=True)
        free = sorted(k for part, at in pairs if at < 0 for k in part)
        return tuple(self._space.decisions[k].path for k in free)

    def join(self, groups: Sequence[DecisionGroup]) -> None:
        """Let the decisions of these groups be distributed jointly, and no others: the logits of a
        new group are sums of its members' marginal log-probabilities, those of one that is taken
        apart are its marginals, and all others are the parameters that they were. What stands is
        free until `stand` is called again."""
        joint = self._distribution(self._rows()).with_groups(groups)
        had = dict(zip(self._layout.parts, self.logits, strict=True))
        rows = zip(joint.layout.parts, joint.layout.split(joint.flat), strict=True)
        self.groups, self._layout = joint.groups, joint.layout
        self.logits = nn.ParameterList(
            [had[part] if part in had else _parameter(row) for part, row in rows]
        )
        self.standing = torch.full((len(joint.layout.parts),), -1)

    def stand(self, options: Mapping[str, Option]) -> None:
        """Let these decisions stand at an option, and no others; their logits are kept for when
        they are learned again. Raises `ValueError` for what the space does not have, and for a
        group of which a part would stand."""
        decisions = {d.path: k for k, d in enumerate(self._space.decisions)}
        at: dict[int, int] = {}
        for path, option in by_todays_paths(self._space.graph, options).items():
            if path not in decisions:
                hint = did_you_mean(path, decisions) or ""
                message = f"space {self._space.name} has no decision '{path}' {hint}"
                raise ValueError(message.strip())
            found = option_index(self._space.decisions[decisions[path]], option)
            if found is None:
                raise ValueError(f"'{path}' has no option {option!r}")
            at[decisions[path]] = found
        standing: list[int] = []
        for part, path in zip(self._layout.parts, self._layout.paths, strict=True):
            if not at.keys() >= set(part):
                if not at.keys().isdisjoint(part):
                    raise ValueError(f"a part of {path} stands, and it is joint")
                standing.append(-1)
                continue
            sizes = [len(self._space.decisions[k].options) for k in part]
            standing.append(int(np.ravel_multi_index([at[k] for k in part], sizes)))
        self.standing.copy_(torch.tensor(standing, dtype=torch.int64))
        for parameter, chosen in zip(self.logits, standing, strict=True):
            if chosen >= 0:
                parameter.grad = None

    def set_gradient(self, flat: Floats | None) -> None:
        """What an optimiser subtracts; None for nothing."""
        rows = [None] * len(self.logits) if flat is None else self._layout.split(flat)
        for parameter, at, row in zip(self.logits, self.standing.tolist(), rows, strict=True):
            parameter.grad = None if at >= 0 or row is None else parameter.new_tensor(row)

    @property
    def gradient_norm(self) -> float:
        """Length of the gradient that `set_gradient` has set."""
        grads = [p.grad for p in self.logits if p.grad is not None]
        return float(nn.utils.get_total_norm(grads))

    def save(self, path: PathLike) -> None:
        """Write a ``tsnet-dist/1`` file: what stands is certain in it. Raises `FileError`."""
        self.now().distribution.save(path)

    @classmethod
    def load(cls, space: Space, path: PathLike) -> Alpha:
        """Read a ``tsnet-dist/1`` file: the logits to the last bit. A decision of which one option
        alone can be taken stands at it. Raises `FileError` and `SpecError`."""
        given = Distribution.load(space.graph, path)
        standing: dict[str, Option] = {}
        rows: list[Floats] = []
        for part, row in zip(given.layout.parts, given.layout.split(given.flat), strict=True):
            possible = np.flatnonzero(row > -np.inf)
            if len(possible) == 1 < len(row):
                owners = [space.decisions[k] for k in part]
                sizes = [len(d.options) for d in owners]
                chosen = np.unravel_index(int(possible[0]), sizes)
                standing |= {d.path: d.options[k] for d, k in zip(owners, chosen, strict=True)}
                # Logits for when it is learned again: the spec's.
                row = (
                    space.distribution()
                    .with_groups([part] if len(part) > 1 else ())
                    .logits_of(part)
                )
            rows.append(row)
        made = cls(space, Distribution(space.graph, np.concatenate(rows), given.groups))
        made.stand(standing)
        return made


def _parameter(row: Floats) -> nn.Parameter:
    return nn.Parameter(torch.tensor(row, dtype=torch.float64))
