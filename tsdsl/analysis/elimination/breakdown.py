"""How the expected cost of a space divides among its streams, stages, blocks or kinds of operation.

The cost is a sum of tables, one for each operation, and expectations add up:

    E[cost of a group] = sum over its operations of sum over c of P(c) * cost(c),

where c goes over the combinations of the potential that the operation's table is part of. One
upward and one downward pass give P(c) for all potentials, so that all groups together take as long
as one gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from tsdsl.analysis.costs.cost import Cost
from tsdsl.analysis.costs.factors import Array, expand, placed_factors, plus
from tsdsl.analysis.costs.items import Grouping, group_path
from tsdsl.analysis.distribution import DistributionLike, as_distribution, on_joint_graph
from tsdsl.analysis.elimination.bucket_tree import PotentialIndex
from tsdsl.analysis.elimination.cache import query_cache
from tsdsl.ir.graph import Path
from tsdsl.ir.space import SpaceGraph

#: For each group, its part of the cost in each potential, by the potential's number.
Parts = Mapping[Path, Mapping[int, Array]]


def breakdown(
    space: SpaceGraph, cost: Cost, by: Grouping, given: DistributionLike = None
) -> dict[str, float]:
    """The exact expected cost of each group of operations, in order of first appearance.

    Groups are those of `items.grouped`, for all architectures: an operation that an architecture
    does not run costs 0 in it. Their sum is the expectation of the cost. Raises `SpecError` if no
    architecture has a probability above 0, `TooCoupled`.
    """
    space, given = on_joint_graph(space, given)
    cache = query_cache(space)
    weights = as_distribution(space, given)
    beliefs = cache.expectation(cost).beliefs(weights.flat_probabilities, lambda: weights.flat_logs)
    return {
        ".".join(name): sum(float(np.sum(beliefs[k] * t)) for k, t in tables.items())
        for name, tables in parts(space, cost, by).items()
    }


def parts(space: SpaceGraph, cost: Cost, by: Grouping) -> Parts:
    """The tables of a cost by group, over the potentials of the space's bucket tree for that cost.
    Their sum is the cost. Raises `TooCoupled`."""
    groups: dict[Path, dict[int, Array]] = {}
    for (path, op), tables in _finest(space, cost).items():
        into = groups.setdefault(group_path(path, op, by), {})
        for number, table in tables.items():
            into[number] = plus(into[number], table) if number in into else table
    return groups


@lru_cache(maxsize=4)
def _finest(space: SpaceGraph, cost: Cost) -> Mapping[tuple[Path, str], Mapping[int, Array]]:
    """`parts` by block and kind of operation: every group is a union of these."""
    potentials = query_cache(space).bucket_tree(cost).potentials
    index = PotentialIndex(potentials)
    finest: dict[tuple[Path, str], dict[int, Array]] = {}
    for placed, factor in placed_factors(space, cost):
        op = placed.node.op.name
        tables = finest.setdefault((group_path(placed.path, op, "block"), op), {})
        if factor is not None:
            number = index.smallest(factor.scope)
            table = expand(factor, potentials[number].scope)
            tables[number] = plus(tables[number], table) if number in tables else table
    return finest
