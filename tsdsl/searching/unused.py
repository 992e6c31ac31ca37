"""Weights that no architecture of a phase uses, which its optimiser has to leave alone.

An optimiser of torch skips a parameter without a gradient. A shared weight of which a phase uses a
part has one, which is zero in the rest: the columns of the head that read an absent stream, the
channels of a width that the phase does not choose. Weight decay would shrink the rest towards zero,
step by step, though nothing in the phase says anything of it: after ``n`` steps a weight that a
later phase begins with has been multiplied by ``(1 - lr * decay)^n``. So the rule of whole
parameters holds for parts of them:

    what no architecture of the phase can use stays as it was, bit for bit

Within a phase, a weight decays in every step in which its parameter has a gradient, whether the
architectures that were drawn use this part of it or not, as in other supernets of slices: decay
belongs to a weight that the phase trains, and the draw decides only where the gradient comes from.

The rule is conservative: where it is not known that a part is unused (behind a normalisation, zeros
of an absent stream are zeros no longer), the part decays.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from tsdsl.analysis.costs.configuration import Configuration
from tsdsl.analysis.elimination.configurations import by_operation
from tsdsl.backends.channel_layouts import ChannelLayouts, Places
from tsdsl.backends.elastic import Elastic, Pieces, tensor_specs, window
from tsdsl.backends.supernet import Supernet
from tsdsl.ir.architecture import Option
from tsdsl.ir.graph import CallNode, Edge, Node, OpNode, Path, Region, walk
from tsdsl.ir.space import Requirement, SpaceGraph
from tsdsl.ir.stream_subset import StreamFilter, restrict
from tsdsl.ir.values import Val, lift
from tsdsl.record import replace

#: Positions of a tensor's channels that are zero in the phase; None where it does not exist.
Zeros = frozenset[int] | None
_NONE: frozenset[int] = frozenset()


class Unused:
    """The parts of a supernet's weights that architectures with these streams, and these options,
    do not use. ``streams``: those that exist. ``standing``: options of decisions that are not
    learned."""

    def __init__(
        self, supernet: Supernet, streams: Collection[str], standing: Mapping[str, Option]
    ) -> None:
        #: Parameter, where it is not used, and what stands there.
        self._kept: list[tuple[Tensor, Tensor, Tensor]] = []
        space = supernet._graph
        fixed = {p: option for p, option in standing.items() if len(_options(space, p)) > 1}
        if set(space.streams) <= set(streams) and not fixed:
            return
        there = restrict(_restricted(space, fixed), streams)
        configurations = {path: set(own) for path, own in by_operation(there)}
        zeros = _zeros(space, supernet._layouts, streams)
        masks: dict[str, tuple[Elastic, str, Tensor]] = {}
        for placed in walk(there.root):
            elastic, own = supernet._elastic.get(placed.path), configurations.get(placed.path)
            if elastic is None or not own:
                continue
            silent = zeros.get(placed.node.inputs[0]) or _NONE
            for asked, places in _found(placed.node, supernet._layouts.of(placed.node), own):
                for tensor in tensor_specs(asked):
                    if tensor.init is None:
                        continue
                    key = f"{'.'.join(placed.path)}.{tensor.name}"
                    whole = elastic.whole[tensor.name]
                    if key not in masks:
                        used = torch.zeros(whole.shape, dtype=torch.bool)
                        masks[key] = (elastic, tensor.name, used)
                    at = window(tensor.axes, whole.shape, tensor.shape, places)
                    part = torch.ones(whole.shape, dtype=torch.bool)
                    if at is not None:
                        part = _only_at(part, at)
                    if silent and tensor.axes[:2] == ("OUT", "IN"):
                        dense = tensor.shape[1] == asked.shapes[0][0]
                        columns = [p for p in silent if p < whole.shape[1]] if dense else []
                        part[:, columns] = False
                    masks[key][2].logical_or_(part)
        for elastic, name, used in masks.values():
            parameter = elastic._parameters[name]
            if parameter is not None and parameter.requires_grad and not bool(used.all()):
                unused = ~used.to(parameter.device)
                self._kept.append((parameter, unused, parameter.detach()[unused]))

    @torch.no_grad()
    def restore(self) -> None:
        """After a step of an optimiser: what it has done to unused weights is undone."""
        for parameter, unused, values in self._kept:
            if parameter.grad is not None:
                parameter[unused] = values


def _options(space: SpaceGraph, path: str) -> tuple[Option, ...]:
    return next(d.options for d in space.own if d.path == path)


def _restricted(space: SpaceGraph, standing: Mapping[str, Option]) -> SpaceGraph:
    """The space with these options only."""
    more = []
    for decision in space.decisions:
        if decision.path in standing:
            wanted = standing[decision.path]
            entries = tuple(option == wanted for option in decision.options)
            condition = Val((decision.variable,), entries)
            text = f"{decision.path} stands"
            more.append(Requirement(condition, decision.guards, text, text, decision.span))
    return replace(space, requirements=(*space.requirements, *more), stated_hash=space.hash)


def _found(
    node: OpNode, places: Val | None, own: Collection[Configuration]
) -> list[tuple[Configuration, Places | None]]:
    """The configurations of an operation, with the layouts that they have."""
    names, order = list(node.args), list(node.op.Args.model_fields)

    def one(*values: object) -> tuple[Configuration, Places | None] | None:
        args = dict(zip(names, values, strict=False))
        shapes = values[len(names) : len(names) + len(node.inputs)]
        asked = Configuration(node.op.name, tuple((n, args[n]) for n in order), shapes)  # type: ignore[arg-type]
        laid_out: Places | None = values[-1] if places is not None else None  # type: ignore[assignment]
        return (asked, laid_out) if asked in own else None

    vals = [*node.args.values(), *(edge.shape for edge in node.inputs)]
    found = lift(one, *vals, *([places] if places is not None else []))
    return [entry for entry in found.distinct() if entry is not None]


def _only_at(part: Tensor, at: tuple[slice, ...] | Pieces) -> Tensor:
    """True where a part of a tensor lies, of a mask that is True throughout."""
    found = torch.zeros_like(part)
    for piece in at.slices if isinstance(at, Pieces) else (at,):
        found[piece] = True
    for axis, taken in at.picks if isinstance(at, Pieces) else ():
        along = torch.zeros(part.shape[axis], dtype=torch.bool)
        along[list(taken)] = True
        found &= along.reshape([-1 if k == axis else 1 for k in range(part.dim())])
    return found


# ---------------------------------------------------------------- zeros of absent streams


def _zeros(
    space: SpaceGraph, layouts: ChannelLayouts, streams: Collection[str]
) -> dict[Edge, Zeros]:
    """Where tensors are zero because a stream is absent, as far as that can be told."""
    present = StreamFilter(space, streams)
    known: dict[Edge, Zeros] = {space.clip: _NONE}
    for node in space.root.nodes:
        gone = not present(node.path) and not present.is_bypassed(node.path)
        known[node.output] = None if gone else _of_node(node, node.path, known, layouts)
    return known


def _of_region(
    region: Region, path: Path, known: dict[Edge, Zeros], layouts: ChannelLayouts
) -> Zeros:
    for node in region.nodes:
        known[node.output] = _of_node(node, path + node.path, known, layouts)
    return known[region.result]


def _of_node(node: Node, path: Path, known: dict[Edge, Zeros], layouts: ChannelLayouts) -> Zeros:
    if isinstance(node, CallNode):
        known.update((f, known[e]) for f, e in zip(node.formals, node.inputs, strict=True))
        return _of_region(node.body, path, known, layouts)
    if isinstance(node, OpNode):
        return _of_operation(node, path, [known[edge] for edge in node.inputs], layouts)
    constant = node.selector.is_constant
    cases = (node.cases[int(node.selector.value)],) if constant else node.cases
    found = [_of_region(case, path[: len(path) - len(node.path)], known, layouts) for case in cases]
    there = [zeros for zeros in found if zeros is not None]
    return frozenset.intersection(*there) if there else None


def _of_operation(node: OpNode, path: Path, inputs: list[Zeros], layouts: ChannelLayouts) -> Zeros:
    there = [zeros for zeros in inputs if zeros is not None]
    if not there or (len(there) < len(inputs) and not node.op.joins):
        return None
    if node.op.name == "concat":
        found: set[int] = set()
        start = 0
        for zeros, extent in zip(inputs, layouts.extents(path, len(inputs)), strict=True):
            own = range(extent) if zeros is None else zeros
            found.update(start + p for p in own)
            start += extent
        return frozenset(found)
    if node.op.name == "add":
        return frozenset.intersection(*there)
    return there[0] if node.op.keeps_zero else _NONE
