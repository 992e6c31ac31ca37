"""Positions in the shared weights of the channels of every tensor of a space.

Layouts (`tsdsl.ir.layout`) are propagated forward through the graph by the rules of the operations,
as tables over decisions. Convolutions and linear layers begin a new axis. If their result is added
to or multiplied with a tensor that has a layout (the last convolution of a residual block, the gate
of a squeeze-and-excitation), it gets the same layout: channel 12 of a gate gates channel 12.

Non-goals. In these cases channels are ranked, which changes what is shared and never an output: a
layout that depends on too many decisions for a table; a convolution whose groups straddle the
inputs of a ``concat``; the results of the options of a choice, which replace one another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from tsdsl.analysis.costs.configuration import Configuration
from tsdsl.analysis.elimination.configurations import by_operation
from tsdsl.ir.graph import CallNode, Edge, Node, OpNode, Path, Region, Switch
from tsdsl.ir.layout import PLAIN, Axes, ChannelLayout, Occurrences, layout_of, positions, ranked
from tsdsl.ir.op import OpArgs, Shape
from tsdsl.ir.space import SpaceGraph
from tsdsl.ir.values import Fault, TableTooLarge, Val, constant, lift, select
from tsdsl.ops import BY_NAME

_PLAIN = constant(PLAIN)
#: Largest number of passes over the graph. A space without layouts needs one, others two or three.
#: Channels are ranked if layouts have not settled by then.
_PASSES = 8


class ChannelCounts(NamedTuple):
    """Numbers of positions that layouts need along the channels that an operation reads and writes;
    0 where there is no layout."""

    read: int = 0
    written: int = 0


#: Layouts of the channels that an operation reads and of those that it writes.
Places = tuple[ChannelLayout | None, ChannelLayout | None]


class ChannelLayouts:
    """The layouts of one space. ``configurations``: the configurations of each operation, by path
    (`by_operation`)."""

    def __init__(self, space: SpaceGraph) -> None:
        self.configurations = dict(by_operation(space))
        self._space = space
        self._known = {
            path: {own: _arguments(own) for own in found}
            for path, found in self.configurations.items()
        }
        self._now: dict[Edge, Val] = {}
        self._extents: dict[Path, list[int]] = {}
        #: Result of an operation that begins an axis -> the tensor that it is aligned with.
        self._partners: dict[Edge, Edge] = {}
        #: Positions that are used of an axis of which an operation leaves channels out.
        self._left: dict[Path, tuple[int, ...]] = {}
        self._placed: dict[OpNode, Val] = {}
        self._ends: dict[Path, ChannelCounts] = {}
        nodes = self._nodes = list(_nodes(space.root, ()))
        if not any(isinstance(n, OpNode) and n.op.lays_out for _, n in nodes):
            return
        self._producers: dict[Edge, tuple[Path, Node]] = {n.output: (p, n) for p, n in nodes}
        self._outside: dict[Edge, Edge] = {
            formal: edge
            for _, n in nodes
            if isinstance(n, CallNode)
            for formal, edge in zip(n.formals, n.inputs, strict=True)
        }
        for _ in range(_PASSES):
            self._grew = False
            # A partner may come later in the graph: its layout is that of the previous pass.
            self._before, self._now = self._now, {space.clip: _PLAIN}
            self._region(space.root, ())
            found = self._demands(nodes)
            self._partners |= found
            if not found and not self._grew:
                break
        else:
            self._now = dict.fromkeys(self._now, _PLAIN)
        for path, node in nodes:
            if isinstance(node, OpNode):
                self._place(path, node)

    def of(self, node: OpNode) -> Val | None:
        """A table of `Places`, with None for ranked channels; None if channels are ranked in all
        architectures."""
        return self._placed.get(node)

    def channel_counts(self, path: Path) -> ChannelCounts:
        return self._ends.get(path, ChannelCounts())

    def extents(self, path: Path, inputs: int) -> list[int]:
        """For each input of a ``concat``, the number of positions of its segment."""
        held = self._extents.get(path, [])
        return [*held, *[0] * (inputs - len(held))][:inputs]

    @property
    def digest(self) -> str:
        """Digest of all segments: equal for spaces whose channels have equal positions. Empty if no
        weights are gathered by a layout."""
        if not self._placed:
            return ""
        laid_out = {path for path, node in self._nodes if _has_rows(self._now[node.output])}
        told = sorted(
            (path, extents, self._left.get(path, ()))
            for path, extents in self._extents.items()
            if path in laid_out
        )
        return f"segments/1 {hashlib.blake2b(repr(told).encode(), digest_size=8).hexdigest()}"

    # ------------------------------------------------------------ forward

    def _region(self, region: Region, path: Path) -> None:
        now = self._now
        for node in region.nodes:
            if isinstance(node, OpNode):
                now[node.output] = self._operation(node, path + node.path)
            elif isinstance(node, CallNode):
                now.update(
                    (formal, now[edge])
                    for formal, edge in zip(node.formals, node.inputs, strict=True)
                )
                self._region(node.body, path + node.path)
                now[node.output] = now[node.body.result]
            else:
                cases = _cases(node)
                for case in cases:
                    self._region(case, path)
                now[node.output] = self._selected(node, cases)

    def _selected(self, node: Switch, cases: tuple[Region, ...]) -> Val:
        results = [self._now[case.result] for case in cases]
        if len(cases) == 1:
            return results[0]
        if all(result is _PLAIN for result in results):
            return _PLAIN
        try:
            return _settled(select(_indices(node.selector), results))
        except TableTooLarge:
            return _PLAIN

    def _operation(self, node: OpNode, path: Path) -> Val:
        known = self._known.get(path)
        inputs = [self._now[edge] for edge in node.inputs]
        partner = self._partners.get(node.output)
        if partner is not None:
            return self._aligned(node, partner)
        if known is None or not (node.op.lays_out or any(val is not _PLAIN for val in inputs)):
            return _PLAIN
        extents = self._extent(path, node, inputs)
        occurrences = Occurrences(
            tuple(extents),
            tuple((a, own.shapes) for own, a in known.items()),
            _has_rows(inputs[0]),
        )
        names, count = list(node.args), len(node.inputs)

        def laid_out(*values: Any) -> Axes | None:
            args = dict(zip(names, values, strict=False))
            shapes, layouts = values[len(names) : -count], values[-count:]
            order = node.op.Args.model_fields
            own = Configuration(node.op.name, tuple((n, args[n]) for n in order), shapes)
            given = known.get(own)
            # No architecture has this combination of arguments and shapes.
            return None if given is None else node.op.layout(given, shapes, layouts, occurrences)

        vals = [*node.args.values(), *(edge.shape for edge in node.inputs), *inputs]
        try:
            found = lift(laid_out, *vals)
        except TableTooLarge:
            return _PLAIN
        return _settled(self._closed_up(path, found) if node.op.leaves_out else found)

    def _aligned(self, node: OpNode, partner: Edge) -> Val:
        """The partner's layout, if the result has the partner's number of channels in all
        architectures. Otherwise (a block that has no shortcut in some of them) it is ranked in all:
        one channel cannot have two positions."""

        def taken(shape: Shape, other: Shape, axes: Axes) -> Axes | None:
            return (axes[0], None) if shape[0] == other[0] else None

        axes_of_partner = self._now.get(partner) or self._before.get(partner, _PLAIN)
        try:
            found = lift(taken, node.output.shape, partner.shape, axes_of_partner)
        except TableTooLarge:
            return _PLAIN
        return _PLAIN if any(entry is None for entry in found.entries) else _settled(found)

    def _closed_up(self, path: Path, found: Val) -> Val:
        """The layouts with the positions that no architecture uses taken out, and the others
        renumbered."""
        layouts = {
            axes[0]
            for axes in found.entries
            if axes is not None and not isinstance(axes, Fault) and axes[0] is not None
        }
        used = {p for layout in layouts for p in positions(layout, 0)} | {*self._left.get(path, ())}
        self._grew |= path in self._left and len(used) > len(self._left[path])
        left = self._left[path] = tuple(sorted(used))
        place = {p: k for k, p in enumerate(left)}
        made = {
            layout: ranked(layout_of((place[p] for p in positions(layout, 0)), len(left)))
            for layout in layouts
        }

        def renumbered(axes: Axes | None) -> Axes | None:
            return axes if axes is None or axes[0] is None else (made[axes[0]], axes[1])

        return lift(renumbered, found)

    def _extent(self, path: Path, node: OpNode, inputs: list[Val]) -> list[int]:
        """For each input, the largest number of positions that any operation of this path needs.
        Options that share a block share a path."""
        first = path not in self._extents
        held = self._extents.setdefault(path, [])
        held += [0] * (len(inputs) - len(held))
        shapes = [own.shapes for own in self._known[path]]
        for k, val in enumerate(inputs):
            widths = [taken[k][0] for taken in shapes if k < len(taken)]
            wholes = [axes[0].whole for axes in val.entries if axes[0] is not None]
            largest = max([held[k], *widths, *wholes])
            if largest != held[k]:
                held[k] = largest
                self._grew |= not first
        return held[: len(inputs)]

    # ------------------------------------------------------------ backward

    def _demands(self, nodes: list[tuple[Path, Node]]) -> dict[Edge, Edge]:
        """New partners of results that begin an axis and have no layout yet."""
        found: dict[Edge, Edge] = {}
        for path, node in nodes:
            if not isinstance(node, OpNode) or len(node.inputs) < 2:
                continue
            joined = [node.inputs[k] for k in self._aligned_inputs(path, node)]
            laid_out = [edge for edge in joined if _has_rows(self._now[edge])]
            if not laid_out:
                continue
            for edge in joined:
                if edge is not laid_out[0]:
                    for begun in self._beginnings(edge):
                        if begun not in self._partners and begun not in found:
                            found[begun] = laid_out[0]
        return found

    def _aligned_inputs(self, path: Path, node: OpNode) -> tuple[int, ...]:
        every = {node.op.aligned(a, *own.shapes) for own, a in self._known.get(path, {}).items()}
        return every.pop() if len(every) == 1 else ()

    def _beginnings(self, edge: Edge) -> list[Edge]:
        """The results that begin an axis and whose channels are, in order, the channels of a
        tensor."""
        found, waiting, seen = [], [edge], set[Edge]()
        while waiting:
            edge = waiting.pop()
            if edge in seen:
                continue
            seen.add(edge)
            if edge in self._outside:
                waiting.append(self._outside[edge])
                continue
            if edge not in self._producers:
                continue
            path, node = self._producers[edge]
            if isinstance(node, CallNode):
                waiting.append(node.body.result)
            elif isinstance(node, Switch):
                waiting += [case.result for case in _cases(node)]
            elif sources := self._aligned_inputs(path, node):
                waiting += [node.inputs[k] for k in sources]
            elif self._begins(path):
                found.append(edge)
        return found

    def _begins(self, path: Path) -> bool:
        """Whether the result is made by weights without groups, whose output channels can have any
        positions."""
        return any(
            param.axes[:2] == ("OUT", "IN") and param.shape[1] == own.shapes[0][0]
            for own, args in self._known.get(path, {}).items()
            for param in _op(own).params(args, *own.shapes)
        )

    # ------------------------------------------------------------ weights

    def _place(self, path: Path, node: OpNode) -> None:
        read, written = self._now.get(node.inputs[0]), self._now.get(node.output)
        if read is None or written is None or (read is _PLAIN and written is _PLAIN):
            return
        if path not in self._known or not any(
            _op(own).params(args, *own.shapes) for own, args in self._known[path].items()
        ):
            return

        def places(one: Axes, other: Axes) -> Places | None:
            return None if one[0] is None and other[0] is None else (one[0], other[0])

        try:
            found = lift(places, read, written)
        except TableTooLarge:
            return
        entries = [entry for entry in found.entries if entry is not None]
        if not entries:
            return
        self._placed[node] = found
        wholes = [[own[k].whole for own in entries if own[k] is not None] for k in (0, 1)]
        before = self.channel_counts(path)
        self._ends[path] = ChannelCounts(
            *(max([b, *w]) for b, w in zip(before, wholes, strict=True))
        )


def _nodes(region: Region, path: Path) -> Iterator[tuple[Path, Node]]:
    """All nodes of a region and of its nested regions, each with its full path."""
    for node in region.nodes:
        if isinstance(node, Switch):
            yield path, node
            for case in _cases(node):
                yield from _nodes(case, path)
            continue
        yield path + node.path, node
        if isinstance(node, CallNode):
            yield from _nodes(node.body, path + node.path)


def _cases(node: Switch) -> tuple[Region, ...]:
    """The cases that can run. If the selector is constant, the other cases may be incomplete."""
    return (node.cases[int(node.selector.value)],) if node.selector.is_constant else node.cases


def _has_rows(val: Val) -> bool:
    return any(axes[0] is not None for axes in val.entries)


def _op(own: Configuration) -> Any:
    return BY_NAME[own.op]


def _arguments(own: Configuration) -> OpArgs:
    made: OpArgs = _op(own).Args(**dict(own.args))
    return made


def _indices(selector: Val) -> Val:
    """A selector as case numbers. Where it has no value, no case runs, and 0 stands for it."""
    entries = (0 if isinstance(e, Fault) or e is None else int(e) for e in selector.entries)
    return Val(selector.variables, tuple(entries))


def _settled(found: Val) -> Val:
    """A table without gaps. If an axis has the same layout in all architectures, the layout is
    plain: each position then has the same channel everywhere."""
    entries = [None if isinstance(entry, Fault) else entry for entry in found.entries]
    there = {entry for entry in entries if entry is not None}
    rows, columns = ({axes[k] for axes in there} for k in (0, 1))
    if len(rows) < 2 and len(columns) < 2:
        return _PLAIN
    kept = len(rows) > 1, len(columns) > 1

    def plain(axes: Axes | None) -> Axes:
        if axes is None:
            return PLAIN
        return (axes[0] if kept[0] else None), (axes[1] if kept[1] else None)

    made = lift(plain, Val(found.variables, tuple(entries)))
    return _PLAIN if made.is_constant and made.value == PLAIN else made
