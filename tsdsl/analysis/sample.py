"""Architectures drawn from a distribution over the decisions of a space.

Each active decision takes an option with its weight, independently, on the condition that all
requirements hold: exactly what drawing freely and rejecting what violates a requirement gives, at
any tightness, since the probabilities of all ways to go on are known from elimination.
Within a budget: see `conditioned`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from math import log
from random import Random
from typing import Any, Literal

import numpy as np

from tsdsl.analysis.count import count
from tsdsl.analysis.distribution import Distribution, distribution_of
from tsdsl.analysis.eliminate import PROBABILITY, Semiring, Step, counting, eliminate
from tsdsl.analysis.factors import Array, Factor, constraint_factor, constraints, expand
from tsdsl.analysis.nothing import no_architecture, too_few
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.constraints import Constraints
from tsdsl.ir.resolve import architecture_at
from tsdsl.ir.space import Decision, SpaceGraph

#: "initial": the weights that the spec gives its options. "architectures": every architecture is
#: equally probable. A `Distribution`, or a mapping: decision path -> weights of its options;
#: others as in the spec.
Weights = Literal["initial", "architectures"] | Distribution | Mapping[str, Sequence[float]] | None

#: Up to this many architectures, those not drawn yet are listed rather than waited for.
MAX_LISTED = 200_000


def sample(
    space: SpaceGraph,
    seed: int,
    n: int,
    weights: Weights = "initial",
    *,
    distinct: bool = True,
) -> list[Architecture]:
    """Draw ``n`` architectures; equal seeds draw alike on every platform.

    Distinct ones are drawn without replacement; where the space (with weights above 0) has fewer
    than ``n``, all of them come back. Raises `SpecError` if there is none, `TooCoupled`.
    """
    sampler = Sampler(space, weights)
    random = Random(seed)
    if not distinct:
        return [sampler.architecture(sampler.draw(random)) for _ in range(n)]
    found: dict[Architecture, None] = {}
    misses = 0
    while len(found) < n:
        before = len(found)
        found.setdefault(sampler.architecture(sampler.draw(random)))
        misses = 0 if len(found) > before else misses + 1
        if misses <= 100 + len(found) // 10:
            continue
        if count(space) <= MAX_LISTED:
            return [*found, *sampler.rest(random, found)][:n]
        if misses > 100_000 + 10 * len(found):
            raise too_few(space, n, len(found))
    return list(found)


class Sampler:
    """Draws from one distribution over one space."""

    def __init__(self, space: SpaceGraph, weights: Weights = "initial") -> None:
        self._space = space
        self._known = known = constraints(space)
        uniform = weights == "architectures"
        found, _ = known.closure(known.decisions, every_requirement=True)
        ring = counting(known.sizes[v] for v in found) if uniform else PROBABILITY
        tables = [known.of_requirement(k) for k in range(len(space.requirements))]
        for v in found - known.decisions.keys():
            tie = known.of_variable(v)
            tables += [tie] if tie else []
        held = [constraint_factor(table, known.sizes) for table in tables]
        factors = [Factor(f.scope, ring.embed(f.table)) for f in held]
        own: Mapping[str, Any] = weights if isinstance(weights, Mapping) else {}
        if isinstance(weights, Distribution):
            own = distribution_of(space, weights).probabilities
        factors += [
            _weighted(known, d, _option_weights(d, own, uniform), ring) for d in space.decisions
        ]
        names = [v.name for v in known.variables]
        total, self._steps = eliminate(factors, known.sizes, names, ring, lambda joint: joint)
        if not total:
            raise no_architecture(space)
        self._exact = uniform
        self._rows: list[dict[tuple[int, ...], list[Any]]] = [{} for _ in self._steps]

    def draw(self, random: Random) -> list[int]:
        """An assignment."""
        solved: dict[int, int] = {}
        for k in range(len(self._steps) - 1, -1, -1):
            step = self._steps[k]
            sums = self._sums(k, step, solved)
            if self._exact:
                at: int | float = random.randrange(sums[-1])
            else:
                at = random.random() * sums[-1]
            solved[step.variable] = bisect_right(sums, at, hi=len(sums) - 1)
        return self._known.complete(solved)

    def architecture(self, assignment: Sequence[int]) -> Architecture:
        return architecture_at(self._space, assignment)

    def rest(self, random: Random, drawn: Mapping[Architecture, Any]) -> list[Architecture]:
        """All architectures that were not drawn yet, in the order in which they would be: an
        exponential race, in which each arrives at the rate of its weight."""
        arrivals: list[tuple[float, int, Architecture]] = []
        for solved, weight in self._all({}, len(self._steps) - 1):
            architecture = self.architecture(self._known.complete(solved))
            if architecture not in drawn:
                arrival = -log(1.0 - random.random()) / weight
                arrivals.append((arrival, len(arrivals), architecture))
        return [architecture for _, _, architecture in sorted(arrivals)]

    def _all(self, solved: dict[int, int], k: int) -> Iterator[tuple[dict[int, int], float]]:
        """Every assignment from step ``k`` on, with its probability."""
        if k < 0:
            yield dict(solved), 1.0
            return
        step = self._steps[k]
        sums = self._sums(k, step, solved)
        for value, (high, low) in enumerate(zip(sums, [0, *sums], strict=False)):
            if high > low:
                solved[step.variable] = value
                share = (high - low) / sums[-1]
                yield from ((found, share * p) for found, p in self._all(solved, k - 1))

    def _sums(self, k: int, step: Step, solved: Mapping[int, int]) -> list[Any]:
        """Cumulative weights of a variable's options, given the variables after it."""
        given = tuple(solved[v] for v in step.rest)
        rows = self._rows[k]
        if given not in rows:
            sums = list(accumulate(step.kept[given].tolist()))
            # Nothing lies beyond the last option that has a weight, whatever rounding does.
            while len(sums) > 1 and sums[-1] == sums[-2]:
                del sums[-1]
            rows[given] = sums
        return rows[given]


def _option_weights(
    decision: Decision, own: Mapping[str, Sequence[float]], uniform: bool
) -> list[Any]:
    size = len(decision.options)
    if uniform:
        return [1] * size
    weights = list(own.get(decision.path, decision.weights or (1.0,) * size))
    if len(weights) != size or min(weights) < 0 or not 0 < sum(weights) < float("inf"):
        raise ValueError(f"'{decision.path}' takes {size} weights of 0 or more, not {weights}")
    return [weight / sum(weights) for weight in weights]


def _weighted(
    known: Constraints, decision: Decision, weights: Sequence[Any], ring: Semiring
) -> Factor:
    """A decision's weights where it is active; elsewhere its default, with weight 1."""
    index = decision.variable.index
    row: Array = np.array(weights, ring.dtype)
    if not decision.guards:
        return Factor((index,), row)
    active = constraint_factor(known.mask(decision.guards), known.sizes)
    scope = tuple(sorted({*active.scope, index}))
    default = np.full(len(row), ring.zero, ring.dtype)
    default[decision.default] = ring.one
    chosen, held = (expand(Factor((index,), options), scope) for options in (row, default))
    return Factor(scope, np.where(expand(active, scope), chosen, held))
