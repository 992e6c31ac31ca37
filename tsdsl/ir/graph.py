"""The graph of a whole space: one unrolled, typed graph for all of its architectures.

A `Region` is a list of nodes with one result. There are three kinds of node: `OpNode` (a primitive
operation), `CallNode` (a block, with its body) and `Switch` (one of several regions, selected by a
value that depends on decisions: an ``if``, an option, a depth). Arguments and shapes are `Val`
tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from tsdsl.diagnostics import Span
from tsdsl.ir.op import Op
from tsdsl.ir.values import Val
from tsdsl.record import MutableRecord, Record

#: Names from the enclosing block call (or the space) to a node: segments of its state-dict keys.
Path = tuple[str, ...]


class Edge(MutableRecord):
    """A tensor: ``shape`` is a table of `Shape`; ``hint`` is the name that a ``let`` of the spec
    gives to it, if any. Edges are compared by identity."""

    shape: Val
    hint: str = ""


class OpNode(Record):
    """A primitive operation."""

    path: Path
    op: type[Op]
    #: Every field of the op's Args, by name.
    args: Mapping[str, Val]
    inputs: tuple[Edge, ...]
    output: Edge
    span: Span


class BlockInfo(Record):
    """The parts of a block's definition that backends use."""

    name: str
    doc: str
    tensors: tuple[str, ...]
    params: tuple[str, ...]
    span: Span


class CallNode(Record):
    """A block that is called, with its body for these arguments."""

    path: Path
    block: BlockInfo
    #: Parameters of plain type (int, ratio, bool, dims, string), in order of declaration.
    args: Mapping[str, Val]
    #: Plain values that the body names with ``let``, in order.
    locals: Mapping[str, Val]
    inputs: tuple[Edge, ...]
    #: The edges that stand for the inputs inside ``body``, one for each of ``inputs``.
    formals: tuple[Edge, ...]
    body: Region
    output: Edge
    span: Span


class Switch(Record):
    """One of several regions: ``cases[selector]`` runs. ``kind`` says where it comes from: an
    ``if`` expression of a block, a choice between operations, or the depth of a ``repeat`` (case 1
    runs the block, case 0 returns its input)."""

    path: Path
    kind: Literal["if", "option", "depth"]
    selector: Val
    labels: tuple[str, ...]
    cases: tuple[Region, ...]
    output: Edge
    span: Span


Node = OpNode | CallNode | Switch


class Region(Record):
    """Nodes in order of execution, and the edge that is their result."""

    nodes: tuple[Node, ...]
    result: Edge


class Guard(Record, eq=True):
    """A condition: it holds where ``selector`` has the value ``case``."""

    selector: Val
    case: int


class PlacedOp(Record, eq=True):
    """An operation of the graph with its place and the conditions under which it runs."""

    #: Full path from the space: ``("sparse", "s1", "0", "conv1")``.
    path: Path
    node: OpNode
    #: All must hold for the operation to run.
    guards: tuple[Guard, ...]
    #: The block calls around it, outermost first.
    blocks: tuple[BlockInfo, ...]


def walk(
    region: Region,
    path: Path = (),
    guards: tuple[Guard, ...] = (),
    blocks: tuple[BlockInfo, ...] = (),
) -> Iterator[PlacedOp]:
    """Every operation of a region, in order of execution. The other arguments describe the place of
    the region itself."""
    for node in region.nodes:
        if isinstance(node, OpNode):
            yield PlacedOp(path + node.path, node, guards, blocks)
        elif isinstance(node, CallNode):
            yield from walk(node.body, path + node.path, guards, (*blocks, node.block))
        elif node.selector.is_constant:
            yield from walk(node.cases[node.selector.value], path, guards, blocks)
        else:
            for case, body in enumerate(node.cases):
                yield from walk(body, path, (*guards, Guard(node.selector, case)), blocks)
