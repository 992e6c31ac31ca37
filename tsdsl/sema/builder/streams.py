"""Streams, and the fusions and attentions between them, in the order of the file at each point.

A fusion needs the tensor of another stream, which may depend on fusions itself. So the tensor after
a point is settled on demand: `StreamBuilder.settle` first settles all that it is made from.
"""

from __future__ import annotations

from collections.abc import Sequence

from tsdsl.diagnostics import Label, did_you_mean
from tsdsl.ir.graph import Edge
from tsdsl.ir.values import Fault, constant
from tsdsl.ops.time_sample import TimeSample
from tsdsl.record import MutableRecord, Record, factory
from tsdsl.sema.builder.declarations import Declarations
from tsdsl.sema.builder.draft import SpaceDraft
from tsdsl.sema.builder.stages import StageBuilder
from tsdsl.sema.context import POISON, Context, is_broken
from tsdsl.sema.interpreter.interpreter import Interpreter
from tsdsl.sema.scope import Env, OpValue, Scope
from tsdsl.syntax import ast

#: Fusions that are made from each other in a chain, at most.
MAX_CHAIN = 10_000


class StreamDraft(MutableRecord):
    """A stream and the tensors along it, as far as they are settled."""

    tree: ast.Stream
    scope: Scope
    #: The tensor of the input that the stream begins with.
    source: Edge
    #: Name of each point -> the statement that leads to it, in order.
    points: dict[str, ast.Stem | ast.Stage] = factory(default_factory=dict)
    #: Name of a point -> the tensor after it and after the joints applied there so far.
    settled: dict[str, Edge] = factory(default_factory=dict)


class _Joint(Record):
    """A fusion or an attention at one point of the stream that it changes."""

    #: Its position among all joints of the file.
    number: int
    statement: ast.Fuse | ast.Attend
    point: ast.Ident


class StreamBuilder:
    """Builds the streams of a space. Each point waits for what it needs of the other streams."""

    def __init__(
        self,
        context: Context,
        draft: SpaceDraft,
        interpreter: Interpreter,
        declarations: Declarations,
        space: Scope,
    ) -> None:
        self.context = context
        self.interpreter = interpreter
        self.declarations = declarations
        self.space = space
        self.streams: dict[str, StreamDraft] = {}
        self._stages = StageBuilder(context, draft, interpreter, declarations)
        #: (stream, point) -> the joints there, in the order of the file.
        self._joints: dict[tuple[str, str], list[_Joint]] = {}
        self._joint_count = 0
        #: Numbers of the joints that were applied, and of those that are being applied.
        self._applied: set[int] = set()
        self._being_applied: set[int] = set()

    def declare_stream(self, tree: ast.Stream) -> None:
        env = self.declarations.env(tree.span, self.space)
        if tree.arguments is None:
            self.context.error(
                "E0208",
                f"stream '{tree.name.text}' names no input",
                tree.name.span,
                f"write: stream {tree.name.text}(clip) {{",
            )
            return
        if not self.declarations.declare(self.space, tree.name):
            return
        scope = self.space.child(tree.name.text, "stream")
        source = self._stream_source(tree, env)
        self.space.names[tree.name.text] = scope
        stream = StreamDraft(tree, scope, source)
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
                if self.declarations.declare(scope, statement.name):
                    stream.points[statement.name.text] = statement
            elif isinstance(statement, ast.Let):
                self.declarations.let(statement, self.declarations.env(statement.span, scope))
            elif isinstance(statement, ast.Binding):
                self.declarations.binding(statement, self.declarations.env(statement.span, scope))
        if "stem" in stream.points and next(iter(stream.points)) != "stem":
            self.context.error(
                "E0515", "the stem comes before the stages", stream.points["stem"].span
            )

    def _stream_source(self, tree: ast.Stream, env: Env) -> Edge:
        assert tree.arguments is not None
        first, *rest = tree.arguments or (None,)
        source: object = None
        if first is not None and first.name is None and isinstance(first.value, ast.Name):
            source = self.interpreter.evaluate(first.value, env)
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
        given = self.declarations.named_arguments([r for r in rest if r is not None], env)
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
        return self.interpreter.apply(constant(sample), (edge,), (tree.name.text, "sample"), span)

    def declare_joints(self, statements: Sequence[ast.Statement]) -> None:
        for statement in statements:
            if isinstance(statement, ast.Fuse | ast.Attend):
                ends = [statement.target]
                if isinstance(statement, ast.Fuse):
                    ends.insert(0, statement.source)
                for point in statement.points:
                    if all([self._known_point(end, point) for end in ends]):
                        self._declare_joint(statement, point)

    def _declare_joint(self, statement: ast.Fuse | ast.Attend, point: ast.Ident) -> None:
        joints = self._joints.setdefault((statement.target.text, point.text), [])
        for other in joints:
            if _join_alike(other.statement, statement):
                fuses = isinstance(statement, ast.Fuse)
                what = "a fusion of these streams" if fuses else "attention"
                self.context.error(
                    "E0202",
                    f"there is {what} after '{point.text}' already",
                    point.span,
                    "name the point once; a block can apply several operations in a row",
                    [Label(other.point.span, "given here first")],
                )
                return
        joints.append(_Joint(self._joint_count, statement, point))
        self._joint_count += 1

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

    def settle_all(self) -> None:
        """Build all streams completely."""
        for stream in self.streams.values():
            for point in stream.points:
                self._settle(stream, point, self._joint_count)
            last = list(stream.points)[-1:]
            stream.scope.output = stream.settled[last[0]] if last else stream.source

    def _settle(self, stream: StreamDraft, point: str, before: int) -> Edge:
        """The tensor of a stream after a point and after those of its joints whose number is below
        ``before``."""
        if point not in stream.settled:
            stream.settled[point] = self._reach(stream, point)
            self._name_after(stream, point)
        for joint in self._joints.get((stream.scope.path, point), ()):
            if joint.number >= before or joint.number in self._applied:
                continue
            if len(self._being_applied) >= MAX_CHAIN:
                message = f"more than {MAX_CHAIN:,} fusions are made from each other in a chain"
                self.context.too_large(message, joint.statement.span)
            if joint.number in self._being_applied:
                message = (
                    f"the fusion after '{point}' needs a tensor that is computed from its result"
                )
                self.context.error(
                    "E0516",
                    message,
                    joint.statement.span,
                    "fuse in one direction, or at points that both streams have in the same order",
                )
                return Edge(POISON)
            self._being_applied.add(joint.number)
            stream.settled[point] = self._apply_joint(joint, stream)
            self._being_applied.remove(joint.number)
            self._applied.add(joint.number)
            self._scope_of(stream, point).output = stream.settled[point]
            self._name_after(stream, point)
        return stream.settled[point]

    def _reach(self, stream: StreamDraft, point: str) -> Edge:
        """Apply the stem or stage that leads to a point, and all before it."""
        order = list(stream.points)
        at = order.index(point)
        # Points are settled in order, and not by recursion: a stream may have thousands.
        first = at
        while first and order[first - 1] not in stream.settled:
            first -= 1
        edge = stream.source
        for earlier in order[max(0, first - 1) : at]:
            edge = self._settle(stream, earlier, self._joint_count)
        statement = stream.points[point]
        if isinstance(statement, ast.Stem):
            return self._stages.stem(stream.scope, statement, edge)
        return self._stages.stage(stream.scope, statement, edge)

    def _name_after(self, stream: StreamDraft, point: str) -> None:
        """Emitted source calls the tensor of a stream by the stream's name."""
        edge = stream.settled[point]
        edge.hint = edge.hint or stream.tree.name.text

    def _scope_of(self, stream: StreamDraft, point: str) -> Scope:
        scope = stream.scope.names.get(point)
        assert isinstance(scope, Scope)
        return scope

    def _apply_joint(self, joint: _Joint, stream: StreamDraft) -> Edge:
        statement, point = joint.statement, joint.point
        target = stream.settled[point.text]
        if isinstance(statement, ast.Fuse):
            source = self._settle(self.streams[statement.source.text], point.text, joint.number)
            written = f"{statement.source.text}->{statement.target.text}"
            name = f"{statement.source.text}_to_{statement.target.text}"
            kind = "fuse"
            tensors: tuple[Edge, ...] = (source, target)
        else:
            written = name = statement.target.text
            kind = "attend"
            tensors = (target,)
        scope = self.space.child(f"{kind}.{written}.{point.text}")
        env = self.declarations.env(statement.span, scope)
        if isinstance(statement.value, ast.SetDomain | ast.RangeDomain):
            label = ast.Ident(point.text, point.span)
            operation = self.interpreter.decide(scope.path, label, statement.value, scope, env)
        else:
            operation = self.declarations.operation(statement.value, env, scope.path)
        with self.context.use(statement.span):
            return self.interpreter.apply(
                operation, tensors, (kind, name, point.text), statement.span
            )


def _join_alike(first: ast.Fuse | ast.Attend, second: ast.Fuse | ast.Attend) -> bool:
    """Whether both are attentions, or both fuse the same stream."""
    if isinstance(first, ast.Fuse) and isinstance(second, ast.Fuse):
        return first.source.text == second.source.text
    return type(first) is type(second)
