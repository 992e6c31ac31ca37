"""Streams, and what joins them: fusions and attentions, in the order of the file at each point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tsdsl.diagnostics import Label, did_you_mean
from tsdsl.ir.graph import Edge
from tsdsl.ir.values import Fault, constant
from tsdsl.ops.time_sample import TimeSample
from tsdsl.sema.context import POISON, Context, is_broken
from tsdsl.sema.scope import Env, OpValue, Scope
from tsdsl.sema.stages import Stages, Stream
from tsdsl.syntax import ast

_Slot = tuple[int, ast.Fuse | ast.Attend, ast.Ident]


class Streams(Stages):
    """Lets each point of a stream wait for what it needs of the others."""

    def __init__(self, context: Context, overrides: Mapping[str, Any]) -> None:
        super().__init__(context, overrides)
        self.streams: dict[str, Stream] = {}
        self.space = Scope("", kind="space")
        #: (stream, point) -> what is applied there: its number in the file, statement, point.
        self._slots: dict[tuple[str, str], list[_Slot]] = {}
        self._slot_count = 0
        #: Numbers of the slots that are applied already, and of those that are being applied.
        self._filled: set[int] = set()
        self._filling: set[int] = set()

    def _declare_stream(self, tree: ast.Stream) -> None:
        env = self.env(tree.span, self.space)
        if tree.arguments is None:
            self.context.error(
                "E0208",
                f"stream '{tree.name.text}' names no input",
                tree.name.span,
                f"write: stream {tree.name.text}(clip) {{",
            )
            return
        if not self._declare(self.space, tree.name):
            return
        scope = self.space.child(tree.name.text, "stream")
        source = self._stream_source(tree, env)
        self.space.names[tree.name.text] = scope
        stream = Stream(tree, scope, source)
        self.streams[tree.name.text] = stream
        for statement in tree.body:
            if isinstance(statement, ast.Stem):
                if "stem" in stream.points:
                    self.context.error(
                        "E0202",
                        f"stream '{tree.name.text}' has two stems",
                        statement.span,
                        "remove one; a block can apply several operations in a row",
                        [Label(stream.points["stem"].span, "the first is here")],
                    )
                stream.points.setdefault("stem", statement)
            elif isinstance(statement, ast.Stage):
                if self._declare(scope, statement.name):
                    stream.points[statement.name.text] = statement
            elif isinstance(statement, ast.Let):
                self._let(statement, self.env(statement.span, scope))
            elif isinstance(statement, ast.Binding):
                self.binding(statement, self.env(statement.span, scope))
        if "stem" in stream.points and next(iter(stream.points)) != "stem":
            self.context.error(
                "E0515", "the stem comes before the stages", stream.points["stem"].span
            )

    def _stream_source(self, tree: ast.Stream, env: Env) -> Edge:
        assert tree.arguments is not None
        first, *rest = tree.arguments or (None,)
        source: object = None
        if first is not None and first.name is None and isinstance(first.value, ast.Name):
            source = self.evaluate(first.value, env)
        edge = source if isinstance(source, Edge) else None
        if is_broken(source):
            return Edge(POISON)
        if edge is None:
            self.context.error(
                "E0515",
                f"stream '{tree.name.text}' needs the input that it looks at",
                first.span if first else tree.name.span,
                f"write: stream {tree.name.text}(clip) {{",
            )
            return Edge(POISON)
        given = self._named([r for r in rest if r is not None], env)
        for key, (_, span) in given.items():
            if key != "every":
                hint = did_you_mean(key, ["every"], "a stream has: every")
                self.context.error("E0306", f"a stream has no '{key}'", span, hint)
        if "every" not in given:
            return edge
        val, span = given["every"]
        if val.is_constant and val.value == 1 and type(val.value) is int:
            return edge
        sample = OpValue(TimeSample, "time_sample", {"every": val}, {"every": span})
        if not val.is_constant or type(val.value) is not int:
            if not any(isinstance(e, Fault) for e in val.entries):
                self.context.error("E0309", "every is a fixed int of at least 1", span)
            return Edge(POISON)
        return self.apply(constant(sample), (edge,), (tree.name.text, "sample"), span)

    def _declare_slots(self, statements: Sequence[ast.Statement]) -> None:
        for statement in statements:
            if isinstance(statement, ast.Fuse | ast.Attend):
                ends = [statement.target]
                if isinstance(statement, ast.Fuse):
                    ends.insert(0, statement.source)
                for point in statement.points:
                    if all([self._known_point(end, point) for end in ends]):
                        self._declare_slot(statement, point)

    def _declare_slot(self, statement: ast.Fuse | ast.Attend, point: ast.Ident) -> None:
        slots = self._slots.setdefault((statement.target.text, point.text), [])
        for _, other, place in slots:
            same = type(other) is type(statement)
            if isinstance(other, ast.Fuse) and isinstance(statement, ast.Fuse):
                same = other.source.text == statement.source.text
            if same:
                what = "a fusion of these streams" if isinstance(other, ast.Fuse) else "attention"
                self.context.error(
                    "E0202",
                    f"there is {what} after '{point.text}' already",
                    point.span,
                    "name the point once; a block can apply several operations in a row",
                    [Label(place.span, "given here first")],
                )
                return
        slots.append((self._slot_count, statement, point))
        self._slot_count += 1

    def _known_point(self, stream: ast.Ident, point: ast.Ident) -> bool:
        found = self.streams.get(stream.text)
        if found is None:
            hint = did_you_mean(stream.text, self.streams)
            self.context.error("E0209", f"there is no stream '{stream.text}'", stream.span, hint)
            return False
        if point.text not in found.points:
            known = ", ".join(found.points) or "nothing"
            self.context.error(
                "E0209",
                f"stream '{stream.text}' has no '{point.text}'",
                point.span,
                did_you_mean(point.text, found.points, f"it has: {known}"),
            )
            return False
        return True

    def settle(self, stream: Stream, point: str, before: int) -> Edge:
        """The tensor of a stream after a point and those of its fusions and attentions that stand
        before the given one in the file."""
        key = (stream.tree.name.text, point)
        if point not in stream.done:
            order = list(stream.points)
            at = order.index(point)
            edge = stream.source
            if at:
                edge = self.settle(stream, order[at - 1], self._slot_count)
            statement = stream.points[point]
            if isinstance(statement, ast.Stem):
                stream.done[point] = self._stem(stream, statement, edge)
            else:
                stream.done[point] = self._stage(stream, statement, edge)
            self._name_after(stream, point)
        for at, slot, place in self._slots.get(key, ()):
            if at < before and at in self._filling:
                self.context.error(
                    "E0516",
                    f"what is fused here after '{point}' is made from what comes after it",
                    slot.span,
                    "fuse in one direction, or at points that both streams have in the same order",
                )
                return Edge(POISON)
            if at < before and at not in self._filled:
                self._filled.add(at)
                self._filling.add(at)
                stream.done[point] = self._slot(at, slot, place, stream)
                self._filling.remove(at)
                self._scope_of(stream, point).output = stream.done[point]
                self._name_after(stream, point)
        return stream.done[point]

    def _name_after(self, stream: Stream, point: str) -> None:
        """Emitted source calls the tensor of a stream by the stream's name."""
        edge = stream.done[point]
        edge.hint = edge.hint or stream.tree.name.text

    def _scope_of(self, stream: Stream, point: str) -> Scope:
        found = stream.scope.names.get(point)
        assert isinstance(found, Scope)
        return found

    def _slot(
        self, at: int, statement: ast.Fuse | ast.Attend, point: ast.Ident, stream: Stream
    ) -> Edge:
        target = stream.done[point.text]
        if isinstance(statement, ast.Fuse):
            source = self.settle(self.streams[statement.source.text], point.text, at)
            written = f"{statement.source.text}->{statement.target.text}"
            name = f"{statement.source.text}_to_{statement.target.text}"
            kind = "fuse"
            tensors: tuple[Edge, ...] = (source, target)
        else:
            written = name = statement.target.text
            kind = "attend"
            tensors = (target,)
        scope = self.space.child(f"{kind}.{written}.{point.text}")
        env = self.env(statement.span, scope)
        if isinstance(statement.value, ast.SetDomain | ast.RangeDomain):
            label = ast.Ident(point.text, point.span)
            operation = self.decide(scope.path, label, statement.value, scope, env)
        else:
            operation = self._operation(statement.value, env, scope.path)
        with self.context.use(statement.span):
            return self.apply(operation, tensors, (kind, name, point.text), statement.span)
