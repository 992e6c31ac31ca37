"""The cost of one frozen network, operation by operation. No numpy, no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tsdsl.analysis.costs.configuration import Configuration
from tsdsl.analysis.costs.cost import Cost
from tsdsl.analysis.costs.counted import MACS, PARAMS
from tsdsl.ir.graph import Path
from tsdsl.ir.network import Network
from tsdsl.ir.op import Shape

Grouping = Literal["stream", "stage", "block", "op"]

#: Number of leading segments of a path that are the name of its group, by the first segment; "" is
#: for streams.
_DEPTH: dict[Grouping, dict[str, int]] = {
    "stream": {"": 1, "fuse": 1, "attend": 1, "head": 1},
    "stage": {"": 2, "fuse": 3, "attend": 3, "head": 1},
    "block": {"": 3, "fuse": 3, "attend": 3, "head": 2},
}


@dataclass(frozen=True, slots=True)
class CostItem:
    """The costs of one operation of a network. ``macs`` are multiply-accumulates for one clip;
    ``shape`` is the result's, without the batch axis."""

    path: Path
    op: str
    macs: int
    params: int
    shape: Shape
    #: Values of the ``costs`` of `cost_items`, in their order.
    costs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CostGroup:
    """The summed costs of the operations of one group (see `CostItem`); ``ops`` is their number."""

    name: str
    macs: int
    params: int
    ops: int
    costs: tuple[int, ...] = ()


def cost_items(network: Network, costs: Sequence[Cost] = ()) -> list[CostItem]:
    """Every operation in order of execution, with its multiply-accumulates, its parameters and
    ``costs``. Raises `SpecError` if one of these has no value for an operation."""
    calls = list(network.ops())
    columns = [values(network, cost) for cost in (MACS, PARAMS, *costs)]
    return [
        CostItem(path, call.op.name, macs, params, call.output.shape, tuple(others))
        for (path, call), macs, params, *others in zip(calls, *columns, strict=True)
    ]


def values(network: Network, cost: Cost) -> list[int]:
    """The cost of every operation, in order of execution. Raises `SpecError` if one has no
    value."""
    calls = [call for _, call in network.ops()]
    found = [cost.value(call.op, call.args, call.shapes) for call in calls]
    known = [value for value in found if value is not None]
    if len(known) < len(found):
        missed = (call for call, value in zip(calls, found, strict=True) if value is None)
        configurations = dict.fromkeys(Configuration.of(c.op, c.args, c.shapes) for c in missed)
        raise cost.missing(configurations, network.source_name or network.name)
    return known


def total(network: Network, cost: Cost) -> int:
    """The cost of the whole network. Raises `SpecError` if an operation has no value."""
    return sum(values(network, cost))


def grouped(items: Iterable[CostItem], by: Grouping) -> list[CostGroup]:
    """Sums by stream, stage, block (a stem, fusion or attention counts as one) or kind of
    operation, in order of first appearance."""
    sums: dict[str, list[int]] = {}
    for item in items:
        name = ".".join(group_path(item.path, item.op, by))
        sum_of = sums.setdefault(name, [0, 0, 0, *(0 for _ in item.costs)])
        for at, more in enumerate((item.macs, item.params, 1, *item.costs)):
            sum_of[at] += more
    return [
        CostGroup(name, macs, params, ops, tuple(costs))
        for name, (macs, params, ops, *costs) in sums.items()
    ]


def group_path(path: Path, op: str, by: Grouping) -> Path:
    """The segments of the name of an operation's group."""
    return (op,) if by == "op" else _leading(path, by)


def _leading(path: Path, by: Grouping) -> Path:
    if by not in _DEPTH:
        raise ValueError(f"a cost goes by {', '.join(_DEPTH)} or op, not by {by}")
    depths = _DEPTH[by]
    if len(path) > 1 and path[1] == "stem" and path[0] not in depths:
        return path[: min(depths[""], 2)]
    return path[: depths.get(path[0], depths[""])]
