"""From a space and an architecture to one network: every value is read at the architecture's
assignment, and every switch is replaced by the case that it selects.

The graph keeps its structure: nothing is inlined or merged, so that paths, and with them the keys
of the state dict, are those of the space.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tsdsl.diagnostics import ArchitectureError
from tsdsl.ir.graph import CallNode, Edge, Node, OpNode, Region
from tsdsl.ir.network import BlockCall, Body, Branch, Call, Network, OpCall, Tensor
from tsdsl.ir.op import OpArgs
from tsdsl.ir.resolve import assignment, resolve
from tsdsl.ir.space import SpaceGraph
from tsdsl.ir.values import Fault, Val

__all__ = ["assignment", "freeze"]


def freeze(space: SpaceGraph, architecture: Mapping[str, Any]) -> Network:
    """The network of an architecture, which is validated first. Raises `ArchitectureError`."""
    found = resolve(space, architecture)
    freezer = _Freezer(found.assignment)
    clip = freezer.tensor(space.clip)
    return Network(
        name=space.name,
        doc=space.doc,
        clip=clip,
        body=freezer.body(space.root),
        decisions=dict(found.architecture),
        space_hash=space.hash,
        source_name=space.source,
    )


class _Freezer:
    def __init__(self, assignment: list[int]) -> None:
        self._assignment = assignment
        self._tensors: dict[Edge, Tensor] = {}
        self._args: dict[tuple[Any, ...], OpArgs] = {}

    def tensor(self, edge: Edge) -> Tensor:
        """The tensor of an edge, always the same one."""
        if edge not in self._tensors:
            self._tensors[edge] = Tensor(self._value(edge.shape), edge.hint)
        return self._tensors[edge]

    def body(self, region: Region) -> Body:
        calls = tuple(self._call(node) for node in region.nodes)
        return Body(calls, self.tensor(region.result))

    def _call(self, node: Node) -> Call:
        if isinstance(node, OpNode):
            return OpCall(
                node.path,
                node.op,
                self._op_args(node),
                self._tensors_of(node.inputs),
                self.tensor(node.output),
            )
        if isinstance(node, CallNode):
            return BlockCall(
                path=node.path,
                block=node.block,
                args={name: self._value(val) for name, val in node.args.items()},
                locals=self._known(node.locals),
                inputs=self._tensors_of(node.inputs),
                formals=self._tensors_of(node.formals),
                body=self.body(node.body),
                output=self.tensor(node.output),
            )
        case = int(self._value(node.selector))
        return Branch(
            path=node.path,
            kind=node.kind,
            case=case,
            cases=len(node.cases),
            label=node.labels[case],
            body=self.body(node.cases[case]),
            output=self.tensor(node.output),
        )

    def _tensors_of(self, edges: tuple[Edge, ...]) -> tuple[Tensor, ...]:
        return tuple(map(self.tensor, edges))

    def _op_args(self, node: OpNode) -> OpArgs:
        """The validated arguments of a node; equal arguments are one object."""
        args = {name: self._value(val) for name, val in node.args.items()}
        key: tuple[Any, ...] = (
            node.op,
            *((name, type(value), value) for name, value in args.items()),
        )
        if key not in self._args:
            self._args[key] = node.op.Args(**args)
        return self._args[key]

    def _known(self, vals: Mapping[str, Val]) -> dict[str, Any]:
        """The values that do not fault. A valid architecture uses none of the others."""
        found = {name: val.at(self._assignment) for name, val in vals.items()}
        return {name: value for name, value in found.items() if not isinstance(value, Fault)}

    def _value(self, val: Val) -> Any:
        entry = val.at(self._assignment)
        if isinstance(entry, Fault):
            raise ArchitectureError([entry.diagnostic])
        return entry
