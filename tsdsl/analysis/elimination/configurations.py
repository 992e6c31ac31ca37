"""Which operations, with which arguments on which shapes, the architectures of a space have.

A combination of arguments that a requirement, a guard or a tie excludes belongs to no architecture
and need not be measured. One upward and one downward pass over a `BucketTree` in the (or, and)
semiring give, for each combination c of the variables of a potential,

    possible(c) = whether some architecture has c.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tsdsl.analysis.costs.configuration import Configuration
from tsdsl.analysis.costs.factors import Array, rule_factors
from tsdsl.analysis.elimination.bucket_tree import BucketTree, PotentialIndex, Scope, bucket_tree
from tsdsl.analysis.elimination.no_architecture import no_architecture
from tsdsl.analysis.elimination.optimum import allowed
from tsdsl.ir.graph import Path
from tsdsl.ir.network import Network
from tsdsl.ir.op import Op, OpArgs, Shape
from tsdsl.ir.ordering import TooCoupled
from tsdsl.ir.space import SpaceGraph


@dataclass(frozen=True, slots=True)
class ConfigurationSet:
    """The configurations of a space or a network, each once, in order of execution."""

    configurations: tuple[Configuration, ...]
    #: False where some may belong to no architecture, because the space is too coupled to tell.
    exact: bool


def of_network(network: Network) -> ConfigurationSet:
    """The configurations of one network."""
    calls = (call for _, call in network.ops())
    every = (Configuration.of(call.op, call.args, call.shapes) for call in calls)
    return ConfigurationSet(tuple(dict.fromkeys(every)), exact=True)


def configurations(space: SpaceGraph) -> ConfigurationSet:
    """The configurations that at least one architecture has; a superset of them, not ``exact``,
    where the space is too coupled to tell.

    Raises `SpecError` if there is no architecture, `TooCoupled` if a single operation depends on
    too many decisions."""
    by_operation, exact = _by_operation(space)
    every = (configuration for _, own in by_operation for configuration in own)
    return ConfigurationSet(tuple(dict.fromkeys(every)), exact)


def by_operation(space: SpaceGraph) -> list[tuple[Path, tuple[Configuration, ...]]]:
    """The path of every operation of the space, in order of execution, with the configurations that
    it has in some architecture (see `configurations`). Options that are one block with different
    arguments have one path, and so have their operations, which are one entry here."""
    merged: dict[Path, dict[Configuration, None]] = {}
    for path, own in _by_operation(space)[0]:
        merged.setdefault(path, {}).update(dict.fromkeys(own))
    return [(path, tuple(own)) for path, own in merged.items()]


def _by_operation(
    space: SpaceGraph,
) -> tuple[list[tuple[Path, tuple[Configuration, ...]]], bool]:
    numbers: dict[Configuration, int] = {}

    def number(op: type[Op], args: OpArgs, shapes: tuple[Shape, ...]) -> int:
        """The number of a configuration, from 1 on. 0 stands for an operation that does not run."""
        return numbers.setdefault(Configuration.of(op, args, shapes), len(numbers) + 1)

    numbered = [
        (placed.path, factor)
        for placed, factor in rule_factors(space, number)
        if factor is not None
    ]
    scopes = dict.fromkeys(factor.scope for _, factor in numbered)
    try:
        tree = bucket_tree(space, (), scopes)
        possible: _Possible | None = _Possible(tree)
    except TooCoupled:
        possible = None
    if possible is not None and not possible.any:
        raise no_architecture(space)
    known = list(numbers)
    operations: list[tuple[Path, tuple[Configuration, ...]]] = []
    for path, factor in numbered:
        table = factor.table if possible is None else factor.table[possible.over(factor.scope)]
        operations.append((path, tuple(known[n - 1] for n in np.unique(table).tolist() if n)))
    return operations, possible is not None


class _Possible:
    """For each combination of each potential, whether some architecture has it."""

    def __init__(self, tree: BucketTree) -> None:
        self._tree = tree
        ones = [np.ones(len(d.options)) for d in tree.space.decisions]
        up = [allowed(p, ones) for p in tree.potentials]
        joints: list[Array] = []
        for step in tree.steps:
            joint: Array = np.ones(step.shape, np.bool_)
            for n, view in zip(step.inputs, step.views, strict=True):
                joint &= up[n].reshape(view)
            joints.append(joint)
            up.append(np.any(joint, axis=step.axes))
        self.any = bool(up[-1])
        #: For each input, by number, which of its rows are part of an architecture.
        down: dict[int, Array] = {len(up) - 1: up[-1]}
        count = len(tree.potentials)
        for at in reversed(range(len(tree.steps))):
            step = tree.steps[at]
            joint = joints.pop()
            joint &= down.pop(count + at).reshape(step.separator_view)
            for n, others in zip(step.inputs, step.others, strict=True):
                down[n] = np.any(joint, axis=others)
        self._tables = down
        self._known: dict[Scope, Array] = {}
        self._index = PotentialIndex(tree.potentials)

    def over(self, scope: Scope) -> Array:
        """Which combinations of some variables of a potential are part of an architecture."""
        if scope not in self._known:
            self._known[scope] = self._project(scope) if scope else np.asarray(self.any)
        return self._known[scope]

    def _project(self, scope: Scope) -> Array:
        number = self._index.smallest(scope)
        wide = self._tree.potentials[number].scope
        others = tuple(k for k, v in enumerate(wide) if v not in scope)
        return np.asarray(np.any(self._tables[number], axis=others))
