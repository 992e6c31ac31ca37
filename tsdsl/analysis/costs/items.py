"""The cost of one frozen network, operation by operation. No numpy, no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from tsdsl.analysis.costs.cost_table import Configuration, Cost, CostTable
from tsdsl.ir.graph import Path
from tsdsl.ir.network import Network
from tsdsl.ir.op import Shape

Grouping = Literal["stream", "stage", "block", "op"]

#: How many leading segments of a path name its group, by the first segment; "" is for streams.
_DEPTH: dict[Grouping, dict[str, int]] = {
    "stream": {"": 1, "fuse": 1, "attend": 1, "head": 1},
    "stage": {"": 2, "fuse": 3, "attend": 3, "head": 1},
    "block": {"": 3, "fuse": 3, "attend": 3, "head": 2},
}


@dataclass(frozen=True, slots=True)
class CostItem:
    """One operation. ``macs`` are multiply-accumulates for one clip; ``shape`` is the result's,
    without the batch axis."""

    path: Path
    op: str
    macs: int
    params: int
    shape: Shape
    #: By the cost tables that were asked for.
    costs: tuple[int, ...] = ()

    @property
    def elements(self) -> int:
        """Values of the result."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class CostGroup:
    """What the operations of one group cost together."""

    name: str
    macs: int
    params: int
    ops: int
    #: By the cost tables that were asked for.
    costs: tuple[int, ...] = ()


def cost_items(network: Network, tables: Sequence[CostTable] = ()) -> list[CostItem]:
    """Every operation, in order of execution. Raises `SpecError`, if a table lacks one."""
    for table in tables:
        total(network, table)
    return [
        CostItem(
            path,
            call.op.name,
            call.macs,
            sum(prod(param.shape) for param in call.params),
            call.output.shape,
            tuple(table.value(call.op, call.args, call.shapes) or 0 for table in tables),
        )
        for path, call in network.ops()
    ]


def total(network: Network, cost: Cost) -> int:
    """A cost of the whole network."""
    if not isinstance(cost, CostTable):
        return sum(getattr(item, cost) for item in cost_items(network))
    values = {call: cost.value(call.op, call.args, call.shapes) for _, call in network.ops()}
    missed = [call for call, value in values.items() if value is None]
    if missed:
        found = dict.fromkeys(Configuration.of(c.op, c.args, c.shapes) for c in missed)
        raise cost.missing(found, network.source_name or network.name)
    return sum(value or 0 for value in values.values())


def grouped(found: Iterable[CostItem], by: Grouping) -> list[CostGroup]:
    """Costs by stream, stage, block (a stem, fusion or attention counts as one) or kind of
    operation, in order of first appearance."""
    sums: dict[str, list[int]] = {}
    for item in found:
        name = ".".join(group_path(item.path, item.op, by))
        total = sums.setdefault(name, [0, 0, 0, *(0 for _ in item.costs)])
        for at, more in enumerate((item.macs, item.params, 1, *item.costs)):
            total[at] += more
    return [
        CostGroup(name, macs, params, ops, tuple(costs))
        for name, (macs, params, ops, *costs) in sums.items()
    ]


def group_path(path: Path, op: str, by: Grouping) -> Path:
    """The group of an operation: what its name is joined of."""
    return (op,) if by == "op" else _leading(path, by)


def _leading(path: Path, by: Grouping) -> Path:
    if by not in _DEPTH:
        raise ValueError(f"a cost goes by {', '.join(_DEPTH)} or op, not by {by}")
    depths = _DEPTH[by]
    if len(path) > 1 and path[1] == "stem" and path[0] not in depths:
        return path[: min(depths[""], 2)]
    return path[: depths.get(path[0], depths[""])]
