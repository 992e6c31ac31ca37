"""A space of which only some streams exist, as in a phase of a progressive search.

If a stream is absent, so are the fusions from and to it and the attention on it. Everything else is
as in the whole space: the head with all of its inputs, every operation with its shapes, all
decisions and requirements. A stream whose incoming fusion is absent continues with its tensor from
before the fusion. Where the fusion would have made it wider (a lateral connection that is
concatenated), zeros stand in for the absent channels, as they do in the head: operations that join
tensors (`Op.joins`) run as soon as one of their inputs exists, all other operations need all of
theirs.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum
from itertools import product

from tsdsl.ir.graph import CallNode, Edge, Node, OpNode, Path, Region, walk
from tsdsl.ir.space import SpaceGraph
from tsdsl.ir.values import Fault, Val
from tsdsl.record import replace


class Presence(IntEnum):
    """In which architectures of a restricted space a tensor exists."""

    NEVER = 0
    #: In some, or possibly in all.
    SOMETIMES = 1
    ALWAYS = 2


class StreamFilter:
    """Decides whether the node at a path exists where only ``streams`` do."""

    def __init__(self, space: SpaceGraph, streams: Collection[str]) -> None:
        self._absent = set(space.streams) - set(streams)
        # The elaborator names the node of a fusion in this way.
        self._fusions = {f"{a}_to_{b}": {a, b} for a, b in product(space.streams, repeat=2)}
        self._targets = {f"{a}_to_{b}": b for a, b in product(space.streams, repeat=2)}

    def __call__(self, path: Path) -> bool:
        first, *rest = path
        if first == "fuse":
            return self._absent.isdisjoint(self._fusions[rest[0]])
        return (rest[0] if first == "attend" else first) not in self._absent

    def is_bypassed(self, path: Path) -> bool:
        """Whether an absent node is a fusion into a stream that exists. That stream then continues
        with its tensor from before the fusion."""
        return path[0] == "fuse" and self._targets[path[1]] not in self._absent


def restrict(space: SpaceGraph, streams: Collection[str]) -> SpaceGraph:
    """The space with only these streams, for queries about costs and decisions.

    No network can be built from it: edges of absent nodes remain in the graph as inputs of the
    nodes that exist.
    """
    if set(space.streams) <= set(streams):
        return space
    exists = StreamFilter(space, streams)
    nodes = tuple(node for node in space.root.nodes if exists(node.path))
    root = Region(nodes, space.root.result)
    return replace(space, root=root, stated_hash=space.hash)


def fusion_targets(space: SpaceGraph) -> dict[Edge, Edge]:
    """Result of each fusion -> the tensor of the target stream that it replaces."""
    now: dict[str, Edge] = {}
    found: dict[Edge, Edge] = {}
    into = {f"{a}_to_{b}": b for a, b in product(space.streams, repeat=2)}
    for node in space.root.nodes:
        first = node.path[0]
        if first == "fuse":
            stream = into[node.path[1]]
            found[node.output] = now[stream]
            now[stream] = node.output
        else:
            now[node.path[1] if first == "attend" else first] = node.output
    return found


def result_presence(space: SpaceGraph, streams: Collection[str]) -> Presence:
    """In which architectures the network has a result where only ``streams`` exist.

    `SOMETIMES` is conservative: combinations of decisions that cannot occur are not ruled out.
    """
    exists, replaced = StreamFilter(space, streams), fusion_targets(space)
    known = {space.clip: Presence.ALWAYS}
    for node in space.root.nodes:
        if exists(node.path):
            known[node.output] = _presence(node, known)
        elif not exists.is_bypassed(node.path):
            known[node.output] = Presence.NEVER
        else:
            target = replaced[node.output]
            known[node.output] = known[target]
            if not _same(node.output.shape, target.shape):
                known[node.output] = min(known[target], _presence(node, known))
    return known[space.root.result]


def _presence(node: Node, known: dict[Edge, Presence]) -> Presence:
    if isinstance(node, OpNode):
        inputs = [known[edge] for edge in node.inputs]
        return max(inputs) if node.op.joins else min(inputs)
    if isinstance(node, CallNode):
        inside = dict(zip(node.formals, (known[edge] for edge in node.inputs), strict=True))
        return _region_presence(node.body, inside)
    # Cases that the selector never selects may be empty regions.
    reached = {int(e) for e in node.selector.entries if e is not None and not isinstance(e, Fault)}
    cases = {_region_presence(node.cases[k], dict(known)) for k in reached}
    return cases.pop() if len(cases) == 1 else Presence.SOMETIMES


def _region_presence(region: Region, known: dict[Edge, Presence]) -> Presence:
    for node in region.nodes:
        known[node.output] = _presence(node, known)
    return known[region.result]


def _same(one: Val, other: Val) -> bool:
    return one.variables == other.variables and one.entries == other.entries


def relevant_decisions(space: SpaceGraph, streams: Collection[str]) -> set[str]:
    """Paths of the decisions that matter where only ``streams`` exist.

    A decision of an absent stream, fusion or attention matters only if an operation of a stream
    that exists depends on it.
    """
    absent = set(space.streams) - set(streams)
    found: set[int] = set()
    waiting = [
        variable
        for placed in walk(restrict(space, streams).root)
        if placed.path[0] != "head"
        for val in (*placed.node.args.values(), *(guard.selector for guard in placed.guards))
        for variable in val.variables
    ]
    while waiting:
        variable = waiting.pop()
        if variable.index not in found:
            found.add(variable.index)
            waiting += variable.definition.variables if variable.definition is not None else ()
    return {
        d.path
        for d in space.decisions
        if absent.isdisjoint(_streams_of(d.path)) or d.variable.index in found
    }


def _streams_of(path: str) -> list[str]:
    """The streams that a decision belongs to: one for ``sparse.s1[0].kernel`` and for
    ``attend.sparse.s2``, two for ``fuse.dense->sparse.s1``."""
    first, _, rest = path.partition(".")
    if first in ("fuse", "attend"):
        return rest.split(".")[0].split("->")
    return [first]
