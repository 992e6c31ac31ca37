"""The exact mean, variance and gradient of a cost under a factorised distribution.

The probability of an architecture is the product over its *active* decisions of the probability of
the option taken, conditioned on all requirements (renormalised, where there are any).

The upward pass over the steps of a bucket tree is elimination in the expectation semiring (J.
Eisner, Parameter estimation for probabilistic finite-state transducers, ACL 2002), here with
centred moments: for each row of a separator, the probability, the mean and the variance of the cost
of all that was eliminated. The downward pass carries the probability and the mean of everything
outside. Together they give E[cost | option o of decision d is taken], and by the score function
identity the gradient with respect to the logit of o,

    dE[cost] / dlogit_o = P(d active, o) (E[cost | d active, o] - E[cost])
                          - p_o * (the sum of that over all options of d).

Probabilities are floats while the requirements have a probability above `LEAST`: no weight is
greater than 1, so that everything that underflows adds up to less than 1e-20 of it. Below that,
the same passes run over conditional probabilities, which are computed in logarithms
(`conditionals`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, log
from typing import NamedTuple

import numpy as np

from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.distribution import Distribution
from tsdsl.analysis.elimination.bucket_tree import BucketTree
from tsdsl.analysis.elimination.conditionals import to_conditionals
from tsdsl.analysis.elimination.no_architecture import no_architecture
from tsdsl.analysis.logits import Floats, LogitLayout

#: Least probability of all requirements together that is computed without logarithms.
LEAST = 1e-280
#: Logarithm of the largest number of combinations that is summed without logarithms.
MOST_COUNTED = 600.0

#: Computes the logarithms of the probabilities of all options of all decisions.
Logs = Callable[[], Floats]


class Moments(NamedTuple):
    """Mean and variance of a cost under a distribution."""

    mean: float
    variance: float
    #: Probability that independently drawn options satisfy all requirements (0.0 where it
    #: underflows), and its logarithm, which is finite.
    feasible: float
    log_feasible: float


@dataclass(slots=True)
class _Pass:
    """The result of the upward pass."""

    #: Probability and mean of each input, by number, and of the joint table of each step.

    p: list[Array]
    m: list[Array]
    joint_p: list[Array]
    joint_m: list[Array]
    variance: float
    #: The logarithm of the probability of all requirements.
    log_total: float


def _moments(passed: _Pass) -> Moments:
    return Moments(float(passed.m[-1]), passed.variance, exp(passed.log_total), passed.log_total)


class Expectation:
    """Moments, gradients and marginals for the first cost of a bucket tree (0 if it has none),
    under any distribution.

    Methods that take ``probabilities`` (of all options of all decisions, as one array) take
    ``logs``, too: it computes their logarithms, which keep what underflows, and is called only
    where these are needed.
    """

    def __init__(self, tree: BucketTree) -> None:
        self._tree = tree
        self._layout = LogitLayout.of(tree.space)
        self._zero: Array = np.zeros(())
        self._costs: list[Array] = [
            self._zero if not p.costs or p.costs[0] is None else np.array(p.costs[0], np.float64)
            for p in tree.potentials
        ]

    def moments(self, distribution: Distribution) -> Moments:
        """Mean and variance. Raises `SpecError` if no architecture has a probability above 0."""
        probabilities = distribution.flat_probabilities
        passed, _ = self._passed(probabilities, lambda: distribution.flat_logs, variance=True)
        return _moments(passed)

    def mean(self, probabilities: Floats, logs: Logs | None = None) -> float:
        """The mean."""
        return float(self._passed(probabilities, logs)[0].m[-1])

    def uniform_moments(self) -> Moments:
        """Mean and variance where all architectures are equally probable; ``feasible`` is 1."""
        rows: list[Array] = [np.ones(size) for size in self._layout.sizes]
        if sum(map(log, self._layout.sizes)) > MOST_COUNTED:
            zeros: Floats = np.zeros(int(self._layout.starts[-1]))
            passed = self._normalised(zeros)[0]._up(rows, variance=True)
        else:
            passed = self._up(rows, variance=True)
            self._check(passed)
        return _moments(passed)._replace(feasible=1.0, log_feasible=0.0)

    def beliefs(self, probabilities: Floats, logs: Logs | None = None) -> list[Array]:
        """For each potential of the tree, the probability of each combination of its variables."""
        passed, way = self._passed(probabilities, logs)
        outer = way._down(passed)
        if way is self:
            return [outer[number][0] for number in range(len(self._tree.potentials))]
        # The tables of the steps are wider than the potentials that they join.
        marginals: dict[int, Array] = {}
        for k, step in enumerate(self._tree.steps):
            for n, others in zip(step.inputs, step.others, strict=True):
                marginals[n] = np.asarray(np.add.reduce(outer[k][0], others))
        return [marginals[number] for number in range(len(self._tree.potentials))]

    def gradient(self, probabilities: Floats, logs: Logs | None = None) -> tuple[float, Floats]:
        """The mean, and its gradient with respect to all logits."""
        passed, way = self._passed(probabilities, logs)
        # For each option: P(active, it is taken) (E[cost | active, it is taken] - E[cost]).
        pull = way._by_option(way._down(passed), 1)
        if len(pull):
            starts, sizes = self._layout.starts[:-1], self._layout.sizes
            pull -= probabilities * np.repeat(np.add.reduceat(pull, starts), sizes)
        return float(passed.m[-1]), pull

    def option_marginals(
        self, probabilities: Floats, logs: Logs | None = None
    ) -> tuple[float, Floats]:
        """The logarithm of the probability that independently drawn options satisfy all
        requirements; and for each option, given that they do, the probability that its decision is
        active and takes it."""
        passed, way = self._passed(probabilities, logs)
        return passed.log_total, way._by_option(way._down(passed), 0)

    def _by_option(self, outer: dict[int, tuple[Array, Array]], which: int) -> Floats:
        """The first or the second result of `_down`, summed for each option of each decision over
        all combinations in which the decision is active and takes it."""
        sums: Floats = np.zeros(int(self._layout.starts[-1]))
        rows = self._layout.split(sums)
        for number, potential in enumerate(self._tree.potentials):
            for weighted in potential.decisions:
                table = outer[number][which]
                table = table if weighted.active is None else table * weighted.active
                rows[weighted.number][:] = np.add.reduce(table, weighted.others)
        return sums

    def _passed(
        self, probabilities: Floats, logs: Logs | None, variance: bool = False
    ) -> tuple[_Pass, Expectation]:
        """The upward pass, and the expectation over whose tree it went: conditional probabilities,
        where the requirements have a probability below `LEAST`."""
        passed = self._up(self._rows(probabilities), variance)
        if float(passed.p[-1]) >= LEAST:
            return passed, self
        if logs is None:
            with np.errstate(divide="ignore"):
                log_probabilities = np.log(probabilities)
        else:
            log_probabilities = logs()
        way, log_total = self._normalised(log_probabilities)
        passed = way._up([], variance)
        passed.log_total = log_total
        return passed, way

    def _normalised(self, logs: Floats) -> tuple[Expectation, float]:
        """The expectation over conditional probabilities, and the logarithm of all weight.
        Raises `SpecError` if there is none."""
        rows = self._layout.split(logs)
        tree = self._tree
        tables = [p.log_weights(rows) for p in tree.potentials]
        conditional, log_total = to_conditionals(tree, tables)
        if conditional is None:
            raise no_architecture(tree.space, "a probability above 0")
        return Expectation(conditional), log_total

    def _check(self, passed: _Pass) -> None:
        if not float(passed.p[-1]) > 0:
            raise no_architecture(self._tree.space, "a probability above 0")

    def _rows(self, probabilities: Floats) -> list[Array]:
        return self._layout.split(probabilities)

    def _up(self, rows: list[Array], variance: bool = False) -> _Pass:
        """The upward pass, given the weights of the options of each decision."""
        p = [potential.weights(rows) for potential in self._tree.potentials]
        m = list(self._costs)
        v: list[Array] = [self._zero] * len(m)
        joint_p: list[Array] = []
        joint_m: list[Array] = []
        add = np.add.reduce
        for step in self._tree.steps:
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
                apart = (mean - below.reshape(step.separator_view)) ** 2 + spread
                v.append(_ratio(add(_full(psi * apart, step.shape), axes), total))
            p.append(np.asarray(total))
            m.append(np.asarray(below))
            joint_p.append(psi)
            joint_m.append(mean)
        total = float(p[-1])
        return _Pass(
            p,
            m,
            joint_p,
            joint_m,
            float(v[-1]) if variance else 0.0,
            log(total) if total > 0 else -np.inf,
        )

    def _down(self, passed: _Pass) -> dict[int, tuple[Array, Array]]:
        """The downward pass: for each potential, by number, the probability of each of its
        combinations c, and P(c) (E[cost | c] - E[cost])."""
        tree = self._tree
        count = len(tree.potentials)
        mean = passed.m[-1]
        outer: dict[int, tuple[Array, Array]] = {
            count + len(tree.steps) - 1: (np.ones(()), np.zeros(()))
        }
        add = np.add.reduce
        for k in range(len(tree.steps) - 1, -1, -1):
            step = tree.steps[k]
            belief, weighed = outer.pop(count + k)
            scale = _ratio(belief, passed.p[count + k])
            # Where the belief is 0, the mean outside is arbitrary.
            shift = _ratio(weighed, belief) + mean - passed.m[count + k]
            joint = passed.joint_p[k] * scale.reshape(step.separator_view)
            excess = joint * (passed.joint_m[k] + (shift - mean).reshape(step.separator_view))
            joint, excess = _full(joint, step.shape), _full(excess, step.shape)
            for n, others in zip(step.inputs, step.others, strict=True):
                outer[n] = (add(joint, others), add(excess, others)) if others else (joint, excess)
        return outer


def _full(table: Array, shape: tuple[int, ...]) -> Array:
    return table if table.shape == shape else np.broadcast_to(table, shape)


def _ratio(above: Array, below: Array) -> Array:
    """above / below; 0 / 0 is 0."""
    return np.asarray(above / np.where(below > 0, below, 1.0))
