"""A stage as one ``Sequential``, whose blocks are made in a loop over what differs between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tsdsl.backends.source.template import (
    BlockTemplate,
    ChainTemplate,
    OpTemplate,
    Template,
    TemplateNode,
)
from tsdsl.backends.source.text import Brackets, Doc, call, literal
from tsdsl.backends.source.values import tagged_value
from tsdsl.ir.graph import Path
from tsdsl.ir.op import FunctionCall

#: Shortest run of blocks of one class that is written as a loop.
SHORTEST_LOOP = 3


def chains(body: Template) -> Template:
    """Combine the nodes ``s1.0``, ``s1.1``, ... of a network's body, each of which is the next
    one's only input, into one node."""
    uses: dict[object, int] = {body.result: 1}
    for node in body.nodes:
        if not isinstance(node, OpTemplate | BlockTemplate):
            raise AssertionError("an open choice in a network")
        for key in node.inputs:
            uses[key] = uses.get(key, 0) + 1
    # Modules below each path. A deeper module keeps its container from being a sequence.
    sizes: dict[Path, int] = {}
    for node in body.nodes:
        for length in range(1, len(node.path)) if _has_module(node) else ():
            sizes[node.path[:length]] = sizes.get(node.path[:length], 0) + 1
    nodes: list[TemplateNode] = []
    at = 0
    while at < len(body.nodes):
        run = _run(body.nodes, at, uses)
        if run and sizes[run[0].path[:-1]] == len(run):
            path, output = run[0].path[:-1], run[-1].output
            nodes.append(ChainTemplate(path, tuple(run), run[0].inputs, output))
            at += len(run)
        else:
            nodes.append(body.nodes[at])
            at += 1
    return Template(tuple(nodes), body.result, body.values)


def _has_module(node: TemplateNode) -> bool:
    return not (isinstance(node, OpTemplate) and isinstance(node.call, FunctionCall))


def _run(
    nodes: Sequence[TemplateNode], at: int, uses: Mapping[object, int]
) -> list[BlockTemplate | OpTemplate]:
    """The nodes from ``at`` on that are numbered from 0 in one container, each the next one's
    input."""
    run: list[BlockTemplate | OpTemplate] = []
    for node in nodes[at:]:
        if not isinstance(node, OpTemplate | BlockTemplate) or not _has_module(node):
            break
        container, name = node.path[:-1], node.path[-1]
        plain = isinstance(node, BlockTemplate) or getattr(node.call, "apply", None) is None
        if not container or name != str(len(run)) or len(node.inputs) != 1 or not plain:
            break
        if run and (
            container != run[0].path[:-1]
            or node.inputs[0] != run[-1].output
            or uses[run[-1].output] != 1
        ):
            break
        run.append(node)
    return run


def sequential(
    chain: ChainTemplate,
    construct: Callable[[BlockTemplate | OpTemplate], Doc],
    values: Callable[[BlockTemplate], tuple[str, Mapping[str, Any]]],
) -> Doc:
    """The expression that makes a stage. ``values`` returns a block's class and its arguments."""
    items: list[tuple[str, Doc]] = []
    at = 0
    while at < len(chain.nodes):
        run = _same_class(chain.nodes, at)
        if len(run) < SHORTEST_LOOP:
            items.append(("", construct(chain.nodes[at])))
            at += 1
        else:
            items.append(("*", _loop([values(node) for node in run])))
            at += len(run)
    return Brackets("nn.Sequential(", tuple(items))


def _same_class(nodes: Sequence[BlockTemplate | OpTemplate], at: int) -> list[BlockTemplate]:
    run: list[BlockTemplate] = []
    for node in nodes[at:]:
        if not isinstance(node, BlockTemplate) or (run and node.group != run[0].group):
            break
        run.append(node)
    return run


def _loop(blocks: Sequence[tuple[str, Mapping[str, Any]]]) -> Doc:
    """``(Block(width=24, se=i % 2 == 0) for i in range(5))``: a formula of ``i`` for each argument
    that has one, a table for the others."""
    name = blocks[0][0]
    columns = {key: [values[key] for _, values in blocks] for key in blocks[0][1]}
    rules = {key: _rule(column) for key, column in columns.items()}
    tabled = [key for key, rule in rules.items() if rule is None]
    element = call(name, **{key: rule or key for key, rule in rules.items()})
    numbered = any("i " in (rule or "") for rule in rules.values())
    count = len(blocks)
    if not tabled:
        index = "i" if numbered else "_"
        clause: tuple[str, Doc] = (f"for {index} in ", f"range({count})")
    else:
        rows = [[columns[key][at] for key in tabled] for at in range(count)]
        if len(tabled) == 1:
            table: Doc = Brackets("(", tuple(("", literal(row[0])) for row in rows), kind="tuple")
        else:
            table = Brackets("(", tuple(("", literal(tuple(row))) for row in rows), kind="tuple")
        target = ", ".join(tabled)
        if numbered:
            target = f"i, {target}" if len(tabled) == 1 else f"i, ({target})"
            table = Brackets("enumerate(", (("", table),))
        clause = (f"for {target} in ", table)
    return Brackets("(", (("", element), clause), kind="generator")


def _rule(column: Sequence[Any]) -> str | None:
    """A column of values as a constant or a formula of the block's number ``i``."""
    tagged = [tagged_value(value) for value in column]
    first, rest = tagged[0], tagged[1:]
    if all(value == first for value in rest):
        return literal(column[0])
    if all(type(value) is bool for value in column):
        for remainder in (0, 1):
            if all(value == (i % 2 == remainder) for i, value in enumerate(column)):
                return f"i % 2 == {remainder}"
    if all(value == rest[0] for value in rest):
        if isinstance(column[0], bool):
            return "i == 0" if column[0] else "i > 0"
        return f"{literal(column[0])} if i == 0 else {literal(column[1])}"
    return None
