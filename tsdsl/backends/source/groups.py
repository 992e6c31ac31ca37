"""The grouping of block calls into classes: which calls share a class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tsdsl.backends.source.template import Instance, Template, merge, settle, template
from tsdsl.ir.graph import BlockInfo
from tsdsl.ir.network import BlockCall, Body, Branch, Network


@dataclass(slots=True)
class BlockGroup:
    """A class of the emitted module: the calls of a block that have the same structure."""

    block: BlockInfo
    calls: dict[Instance, BlockCall]
    body: Template
    #: Set when the class is written.
    name: str = ""
    #: Parameter of the constructor -> its value in each call.
    params: dict[str, dict[Instance, object]] = field(
        default_factory=dict[str, dict[Instance, object]]
    )


def group(network: Network) -> tuple[list[BlockGroup], dict[BlockCall, int]]:
    """The classes, nested blocks before those that use them, and the index of the class of each
    call."""
    by_block: dict[object, list[BlockCall]] = {}
    for call in _calls(network.body):
        by_block.setdefault(_identity(call.block), []).append(call)
    groups: list[BlockGroup] = []
    group_of: dict[BlockCall, int] = {}
    numbers = {call: i for i, call in enumerate(_calls(network.body))}

    def visit(block: object) -> None:
        calls = by_block.pop(block, ())
        for call in calls:
            for nested in _calls(call.body):
                visit(_identity(nested.block))
        first = len(groups)
        for call in calls:
            i = numbers[call]
            found = template(call.body, i, call.formals, group_of.__getitem__)
            for index in range(first, len(groups)):
                merged = merge(groups[index].body, found)
                if merged is not None:
                    groups[index].body = merged
                    groups[index].calls[i] = call
                    group_of[call] = index
                    break
            else:
                group_of[call] = len(groups)
                groups.append(BlockGroup(call.block, {i: call}, found))
        for index in range(first, len(groups)):
            groups[index].body = settle(groups[index].body)

    for block in list(by_block):
        visit(block)
    return groups, group_of


def instances(groups: list[BlockGroup]) -> dict[BlockCall, Instance]:
    """The number of each call."""
    return {call: i for group in groups for i, call in group.calls.items()}


def _identity(block: BlockInfo) -> object:
    """Identity of a block: blocks of the same name in different files are different blocks."""
    return block.name, block.span


def _calls(body: Body) -> Iterator[BlockCall]:
    """Every block call, in order of execution, outer before inner."""
    for call in body.calls:
        if isinstance(call, BlockCall):
            yield call
        if isinstance(call, BlockCall | Branch):
            yield from _calls(call.body)
