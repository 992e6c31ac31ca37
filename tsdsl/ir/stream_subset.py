"""A space of which only some streams exist, as in a phase of a progressive search.

With a stream go the fusions from and to it and the attention on it. What is left stays as it is in
the whole space: the head with all of its inputs, every operation with the shapes that it has there,
all decisions and requirements. A stream without a fusion into it is as it was before; where the
fusion would have made it wider (a lateral connection that is concatenated), zeros stand in for what
is not there, as they do in the head: operations that join tensors (`JOINS`) go on with some of
them, all others need all.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import product

from tsdsl.ir.graph import CallNode, Edge, Node, OpNode, Path, Region, walk
from tsdsl.ir.space import SpaceGraph
from tsdsl.ir.values import Fault, Val
from tsdsl.record import replace

#: Operations that join tensors, so that some of them may be absent.
JOINS = frozenset({"concat", "add"})

#: Of a tensor: in no architecture, in some at most, in all of them.
GONE, SOME, THERE = range(3)


class Present:
    """Whether what stands at a path exists where only ``streams`` do."""

    def __init__(self, space: SpaceGraph, streams: Collection[str]) -> None:
        self._absent = set(space.streams) - set(streams)
        # As the elaborator names the place of a fusion.
        self._fusions = {f"{a}_to_{b}": {a, b} for a, b in product(space.streams, repeat=2)}
        self._targets = {f"{a}_to_{b}": b for a, b in product(space.streams, repeat=2)}

    def __call__(self, path: Path) -> bool:
        first, *rest = path
        if first == "fuse":
            return self._absent.isdisjoint(self._fusions[rest[0]])
        return (rest[0] if first == "attend" else first) not in self._absent

    def passes_on(self, path: Path) -> bool:
        """Whether something that does not exist is a fusion into a stream that does: that stream
        is then as it was."""
        return path[0] == "fuse" and self._targets[path[1]] not in self._absent


def only(space: SpaceGraph, streams: Collection[str]) -> SpaceGraph:
    """The space with these streams only. For questions about costs: nothing is built of it."""
    if set(space.streams) <= set(streams):
        return space
    present = Present(space, streams)
    nodes = tuple(node for node in space.root.nodes if present(node.path))
    root = Region(nodes, space.root.result)
    return replace(space, root=root, stated_hash=space.hash)


def targets(space: SpaceGraph) -> dict[Edge, Edge]:
    """Of each fusion's result, the tensor of the stream that it goes into."""
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


def result_is(space: SpaceGraph, streams: Collection[str]) -> int:
    """Whether the network has a result where only ``streams`` exist: `GONE`, `SOME`, `THERE`.
    `SOME` may be all: what decisions exclude is not looked at."""
    present, before = Present(space, streams), targets(space)
    known = {space.clip: THERE}
    for node in space.root.nodes:
        if present(node.path):
            known[node.output] = _state(node, known)
        elif not present.passes_on(node.path):
            known[node.output] = GONE
        else:
            target = before[node.output]
            known[node.output] = known[target]
            if not _same(node.output.shape, target.shape):
                known[node.output] = min(known[target], _state(node, known))
    return known[space.root.result]


def _state(node: Node, known: dict[Edge, int]) -> int:
    if isinstance(node, OpNode):
        states = [known[edge] for edge in node.inputs]
        return max(states) if node.op.name in JOINS else min(states)
    if isinstance(node, CallNode):
        inside = dict(zip(node.formals, (known[edge] for edge in node.inputs), strict=True))
        return _of_region(node.body, inside)
    # Of the cases that there are: what a constant excludes has nothing in it.
    chosen = {int(e) for e in node.selector.entries if e is not None and not isinstance(e, Fault)}
    states = [_of_region(node.cases[k], dict(known)) for k in chosen]
    return states[0] if len(set(states)) == 1 else SOME


def _of_region(region: Region, known: dict[Edge, int]) -> int:
    for node in region.nodes:
        known[node.output] = _state(node, known)
    return known[region.result]


def _same(one: Val, other: Val) -> bool:
    return one.variables == other.variables and one.entries == other.entries


def heard(space: SpaceGraph, streams: Collection[str]) -> set[str]:
    """Paths of the decisions that matter where only ``streams`` exist: all but those of streams,
    fusions and attention that do not, unless an operation of a stream that exists asks for them."""
    absent = set(space.streams) - set(streams)
    found: set[int] = set()
    waiting = [
        variable
        for placed in walk(only(space, streams).root)
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
    """The streams of a decision: ``sparse.s1[0].kernel``, ``fuse.dense->sparse.s1``,
    ``attend.sparse.s2``."""
    first, _, rest = path.partition(".")
    if first in ("fuse", "attend"):
        return rest.split(".")[0].split("->")
    return [first]
