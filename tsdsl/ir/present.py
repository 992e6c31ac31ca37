"""A space of which only some streams exist, as in a phase of a progressive search.

With a stream go the fusions from and to it and the attention on it. What is left stays as it is in
the whole space: the head with all of its inputs, every operation with the shapes that it has there,
all decisions and requirements.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import product

from tsdsl.ir.graph import Path, Region
from tsdsl.ir.space import SpaceGraph
from tsdsl.record import replace


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
