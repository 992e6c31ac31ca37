"""The hash of a space: equal for files that mean the same networks.

It covers the decisions with their options, the requirements, and every operation: which tensors it
takes, when it runs, and, if it has parameters, its arguments. It leaves out the frames and size of
the clip and the pooling windows that follow from them (one network runs with several), the training
recipe, weights and defaults of options, comments and layout.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tsdsl.ir.graph import Edge, Node, OpNode, Path, Region, Switch
from tsdsl.ir.op import Op
from tsdsl.ir.values import Fault, Val, Variable

if TYPE_CHECKING:
    from tsdsl.ir.space import SpaceGraph


@lru_cache(maxsize=16)
def space_hash(space: SpaceGraph) -> str:
    """The hash of a space: the first 32 hexadecimal digits of a SHA-256."""
    writer = _HashWriter()
    for decision in space.decisions:
        writer.write("decision", decision.path, decision.kind, *map(repr, decision.options))
        writer.names[decision.variable.index] = decision.path
    writer.edge(space.clip)
    writer.write("channels", str(space.clip.shape.entries[0][0]))
    writer.region(space.root, ())
    writer.write("result", str(writer.edge(space.root.result)))
    for text in sorted(writer.text(r.condition) for r in space.requirements):
        writer.write("require", text)
    return writer.digest.hexdigest()[:32]


class _HashWriter:
    """Feeds a canonical description of a space to a hash. Tensors are numbered in order of first
    use, derived variables are named by a hash of their definition."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.names: dict[int, str] = {}
        self._edges: dict[int, int] = {}
        self._keep: list[Edge] = []

    def write(self, *parts: str) -> None:
        self.digest.update("\x1f".join(parts).encode())
        self.digest.update(b"\x1e")

    def edge(self, edge: Edge) -> int:
        if id(edge) not in self._edges:
            self._edges[id(edge)] = len(self._edges)
            self._keep.append(edge)
        return self._edges[id(edge)]

    def region(self, region: Region, path: Path) -> None:
        for node in region.nodes:
            self.node(node, path)

    def node(self, node: Node, path: Path) -> None:
        place = path + node.path
        if isinstance(node, OpNode):
            inputs = ",".join(str(self.edge(edge)) for edge in node.inputs)
            parts: list[str] = []
            if node.op.params is not Op.params:
                parts = [f"{name}={self.text(val)}" for name, val in node.args.items()]
            self.write("op", ".".join(place), node.op.name, inputs, *parts)
        elif isinstance(node, Switch):
            self.write("switch", ".".join(place), self.text(node.selector))
            for case in node.cases:
                self.region(case, path)
                self.write("case", str(self.edge(case.result)))
        else:
            for formal, given in zip(node.formals, node.inputs, strict=True):
                self._edges[id(formal)] = self.edge(given)
                self._keep.append(formal)
            self.region(node.body, place)
            self._edges[id(node.output)] = self.edge(node.body.result)
            self._keep.append(node.output)
            return
        self.edge(node.output)

    def text(self, val: Val) -> str:
        entries = ";".join(map(_entry, val.entries))
        return f"[{','.join(map(self.variable, val.variables))}]({entries})"

    def variable(self, variable: Variable) -> str:
        if variable.index not in self.names:
            assert variable.definition is not None
            inside = self.text(variable.definition)
            digest = hashlib.sha256(f"{inside}{list(map(_entry, variable.domain))}".encode())
            self.names[variable.index] = digest.hexdigest()
        return self.names[variable.index]


def _entry(entry: Any) -> str:
    return "fault" if isinstance(entry, Fault) else repr(entry)
