"""The exact mean, variance and gradient of a cost under a factorised distribution.

The distribution of architectures: the product over the *active* decisions of the probability of
the option taken, on the condition that all requirements hold (renormalised, where there are any).

One pass over the steps of a `Program` carries, for each combination of what remains, its
probability, the mean and the variance of the cost below it. A second pass in reverse carries the
probability and the mean outside; together they give E[cost | an option is taken], and with it the
gradient with respect to each logit: P(option) (E[cost | option] - E[cost]), less its mean over the
options of the decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.elimination.distribution import Distribution, Floats, Layout
from tsdsl.analysis.elimination.nothing import no_architecture
from tsdsl.analysis.elimination.program import Program


class Moments(NamedTuple):
    """Of a cost under a distribution."""

    mean: float
    variance: float
    #: Probability that a free draw of options satisfies all requirements.
    feasible: float


@dataclass(slots=True)
class _Pass:
    """For each input, by number: probability and mean; for each step: the joint ones."""

    p: list[Array]
    m: list[Array]
    joint_p: list[Array]
    joint_m: list[Array]
    variance: float


class Expectation:
    """Means of the first cost of a program, for any distribution."""

    def __init__(self, made: Program) -> None:
        self._program = made
        self._layout = Layout.of(made.space)
        self._zero: Array = np.zeros(())
        self._costs: list[Array] = [
            self._zero if not p.costs or p.costs[0] is None else np.array(p.costs[0], np.float64)
            for p in made.potentials
        ]

    def moments(self, distribution: Distribution) -> Moments:
        """Mean and variance. Raises `SpecError` if no architecture has a probability."""
        passed = self._up(self._rows(distribution.flat_probabilities), variance=True)
        return Moments(float(passed.m[-1]), passed.variance, float(passed.p[-1]))

    def mean(self, probabilities: Floats) -> float:
        """The mean, given the probabilities of all options in a row."""
        return float(self._up(self._rows(probabilities)).m[-1])

    def alike(self) -> Moments:
        """Mean and variance where every architecture has the same probability. (``feasible`` is
        1.)"""
        rows: list[Array] = [np.ones(size) for size in self._layout.sizes]
        passed = self._up(rows, variance=True, scaled=True)
        return Moments(float(passed.m[-1]), passed.variance, 1.0)

    def beliefs(self, probabilities: Floats) -> list[Array]:
        """For each potential of the program, the probability of each of its combinations."""
        outer = self._down(self._up(self._rows(probabilities)))
        return [outer[number][0] for number in range(len(self._program.potentials))]

    def gradient(self, probabilities: Floats) -> tuple[float, Floats]:
        """The mean, and its gradient with respect to all logits."""
        passed = self._up(self._rows(probabilities))
        outer = self._down(passed)
        # For each option: P(it is taken) (E[cost | it is taken] - E[cost]).
        pull: Floats = np.zeros(int(self._layout.starts[-1]))
        rows = self._layout.split(pull)
        for number, potential in enumerate(self._program.potentials):
            _, excess = outer[number]
            for weighted in potential.decisions:
                seen = excess if weighted.active is None else excess * weighted.active
                rows[weighted.number][:] = np.add.reduce(seen, weighted.others)
        if len(pull):
            starts, sizes = self._layout.starts[:-1], self._layout.sizes
            pull -= probabilities * np.repeat(np.add.reduceat(pull, starts), sizes)
        return float(passed.m[-1]), pull

    def taken(self, probabilities: Floats) -> tuple[float, Floats]:
        """The probability that a free draw satisfies all requirements; and for each option that,
        if it does, its decision is active and takes it."""
        passed = self._up(self._rows(probabilities))
        outer = self._down(passed)
        found: Floats = np.zeros(int(self._layout.starts[-1]))
        rows = self._layout.split(found)
        for number, potential in enumerate(self._program.potentials):
            belief, _ = outer[number]
            for weighted in potential.decisions:
                seen = belief if weighted.active is None else belief * weighted.active
                rows[weighted.number][:] = np.add.reduce(seen, weighted.others)
        return float(passed.p[-1]), found

    def _rows(self, probabilities: Floats) -> list[Array]:
        return self._layout.split(probabilities)

    def _up(self, rows: list[Array], variance: bool = False, scaled: bool = False) -> _Pass:
        """``scaled``: weights are any numbers, whose sums may be too large for floats; the
        probabilities of each step are given as shares of their largest."""
        p = [potential.weights(rows) for potential in self._program.potentials]
        m = list(self._costs)
        v: list[Array] = [self._zero] * len(m)
        joint_p: list[Array] = []
        joint_m: list[Array] = []
        add = np.add.reduce
        for step in self._program.steps:
            pairs = [(n, view) for n, view in zip(step.inputs, step.views, strict=True)]
            psi: Array = np.ones(())
            mean: Array = self._zero
            for k, (n, view) in enumerate(pairs):
                table = p[n].reshape(view)
                psi = table if k == 0 else psi * table
                if m[n] is not self._zero:
                    mean = m[n].reshape(view) if mean is self._zero else mean + m[n].reshape(view)
            axes = step.axes
            total = add(psi, axes) if psi.shape == step.shape else add(_full(psi, step.shape), axes)
            below = _ratio(add(_full(psi * mean, step.shape), axes), total)
            if variance:
                spread = self._zero
                for n, view in pairs:
                    if v[n] is not self._zero:
                        spread = spread + v[n].reshape(view)
                apart = (mean - below.reshape(step.rest_view)) ** 2 + spread
                v.append(_ratio(add(_full(psi * apart, step.shape), axes), total))
            if scaled:
                total = _ratio(total, np.max(total))
            p.append(np.asarray(total))
            m.append(np.asarray(below))
            joint_p.append(psi)
            joint_m.append(mean)
        if not float(p[-1]) > 0:
            raise no_architecture(self._program.space, "a probability above 0")
        return _Pass(p, m, joint_p, joint_m, float(v[-1]) if variance else 0.0)

    def _down(self, passed: _Pass) -> dict[int, tuple[Array, Array]]:
        """For each potential, by number and for each of its combinations: its probability, and
        that times (E[cost | it] - E[cost])."""
        made = self._program
        count = len(made.potentials)
        mean = passed.m[-1]
        outer: dict[int, tuple[Array, Array]] = {
            count + len(made.steps) - 1: (np.ones(()), np.zeros(()))
        }
        add = np.add.reduce
        for k in range(len(made.steps) - 1, -1, -1):
            step = made.steps[k]
            belief, weighed = outer.pop(count + k)
            inside = passed.p[count + k]
            scale = _ratio(belief, inside)
            # Where belief is 0, nothing is asked of what lies outside.
            shift = _ratio(weighed, belief) + mean - passed.m[count + k]
            joint = passed.joint_p[k] * scale.reshape(step.rest_view)
            excess = joint * (passed.joint_m[k] + (shift - mean).reshape(step.rest_view))
            joint, excess = _full(joint, step.shape), _full(excess, step.shape)
            for n, others in zip(step.inputs, step.others, strict=True):
                outer[n] = (add(joint, others), add(excess, others)) if others else (joint, excess)
        return outer


def _full(table: Array, shape: tuple[int, ...]) -> Array:
    return table if table.shape == shape else np.broadcast_to(table, shape)


def _ratio(above: Array, below: Array) -> Array:
    """0 where nothing is below."""
    return np.asarray(above / np.where(below > 0, below, 1.0))
