"""The graph of a whole space: one unrolled, typed graph for all of its architectures.

A `Region` is a list of nodes with one result. Nodes: `OpNode` (a primitive operation), `CallNode`
(a block, with its body) and `Switch` (one of several regions, chosen by a value that depends on
decisions: an ``if``, an option, a depth). Attributes and shapes are `Val` tables.
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
    """A tensor: ``shape`` is a table of `Shape`; ``hint`` is the name it has in the spec, if any
    (set when a ``let`` names it)."""

    shape: Val
    hint: str = ""


class OpNode(Record):
    path: Path
    op: type[Op]
    #: Every field of the op's Args, by name.
    args: Mapping[str, Val]
    inputs: tuple[Edge, ...]
    output: Edge
    span: Span


class BlockInfo(Record):
    """What the backends need of a block's definition."""

    name: str
    doc: str
    tensors: tuple[str, ...]
    params: tuple[str, ...]
    span: Span


class CallNode(Record):
    path: Path
    block: BlockInfo
    #: Parameters of plain type (int, ratio, bool, dims, string), in order of declaration.
    args: Mapping[str, Val]
    #: Plain values that the body names with ``let``, in order.
    locals: Mapping[str, Val]
    inputs: tuple[Edge, ...]
    #: What the inputs are called inside ``body``: the same number of edges as ``inputs``.
    formals: tuple[Edge, ...]
    body: Region
    output: Edge
    span: Span


class Switch(Record):
    """``cases[selector]`` runs. ``kind``: an ``if`` expression of a block, a choice between
    operations, or the depth of a ``repeat`` (case 1 runs the block, case 0 passes on)."""

    path: Path
    kind: Literal["if", "option", "depth"]
    selector: Val
    labels: tuple[str, ...]
    cases: tuple[Region, ...]
    output: Edge
    span: Span


Node = OpNode | CallNode | Switch


class Region(Record):
    nodes: tuple[Node, ...]
    result: Edge


class Guard(Record, eq=True):
    """Holds where ``selector`` has the value ``case``."""

    selector: Val
    case: int


class PlacedOp(Record, eq=True):
    """An operation of the graph with where it stands and when it runs."""

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
    """Every operation of a region, in order of execution."""
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
