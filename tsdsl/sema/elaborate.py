"""A space's statements to its graph: params, input, streams, fusions, attention and head."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tsdsl.diagnostics import Collector, Label, Span, did_you_mean, nearest
from tsdsl.ir.graph import BlockInfo, Edge, Guard, Path, Region, Switch
from tsdsl.ir.op import MAX_EXTENT
from tsdsl.ir.space import Requirement
from tsdsl.ir.values import Fault, Val, constant
from tsdsl.record import MutableRecord, Record, factory
from tsdsl.sema import signatures
from tsdsl.sema.context import POISON, ROUND, SILENT, STATEMENT, Context, is_broken
from tsdsl.sema.decide import Decider
from tsdsl.sema.functions import BUILTINS, Wrong, need_bool, show, type_name
from tsdsl.sema.modules import Loader, Module
from tsdsl.sema.scope import BlockRef, Env, OpValue, Scope
from tsdsl.sema.sites import name_sites
from tsdsl.syntax import ast, printer

#: A repeat with more blocks is taken for a mistake.
MAX_REPEAT = 1000
_IGNORED = frozenset(BUILTINS)


class Elaborated(Record, eq=True):
    """What elaboration found out about a space."""

    context: Context
    clip: Edge
    interval: int
    root: Region
    streams: dict[str, tuple[str, ...]]
    params: dict[str, Any]
    scope: Scope
    moved: dict[str, tuple[str, ast.Moved]] = factory(default_factory=dict)


_Slot = tuple[int, ast.Fuse | ast.Attend, ast.Ident]


class _Stream(MutableRecord):
    tree: ast.Stream
    scope: Scope
    #: Name of each point -> the statement that leads to it, in order.
    points: dict[str, ast.Stem | ast.Stage] = factory(default_factory=dict)
    done: dict[str, Edge] = factory(default_factory=dict)


class _Run(MutableRecord):
    """The blocks of a stage, as they are unrolled."""

    path: Path
    scope: Scope
    edge: Edge
    stride: tuple[Val, Span] | None
    slot: int = 0


class Elaborator(Decider):
    def __init__(self, context: Context, overrides: Mapping[str, Any]) -> None:
        super().__init__(context, overrides)
        self._blocks: dict[int, BlockRef] = {}
        self.streams: dict[str, _Stream] = {}
        self.space = Scope("", kind="space")
        self.clip = Edge(POISON, "clip")
        #: (stream, point) -> what is applied there: its number in the file, statement, point.
        self._slots: dict[tuple[str, str], list[_Slot]] = {}
        self._slot_count = 0
        #: Numbers of the slots that are applied already, and of those that are being applied.
        self._filled: set[int] = set()
        self._filling: set[int] = set()

    def run(self, name: ast.Ident, statements: Sequence[ast.Statement]) -> Elaborated | None:
        """Elaborate a space; None where it is too broken to have a graph."""
        with _deep_recursion():
            try:
                return self._run(name, statements)
            except RecursionError:
                self.context.error("E0108", "this space nests too deep", name.span)
                return None

    def _run(self, name: ast.Ident, statements: Sequence[ast.Statement]) -> Elaborated | None:
        params = self._params(statements)
        interval = self._input(name, statements)
        for statement in statements:
            env = self.env(statement.span, self.space)
            if isinstance(statement, ast.Let):
                self._let(statement, env)
            elif isinstance(statement, ast.Binding):
                self.binding(statement, env)
            elif isinstance(statement, ast.Stream):
                self._declare_stream(statement)
        self._declare_slots(statements)
        for stream in self.streams.values():
            for point in stream.points:
                self.settle(stream, point, self._slot_count)
            last = list(stream.points)[-1:]
            stream.scope.output = stream.done[last[0]] if last else stream.scope.output
        head = self._head(name, statements)
        for statement in statements:
            if isinstance(statement, ast.Require):
                self.require(statement, self.env(statement.span, self.space))
            elif isinstance(statement, ast.Stream) and statement.name.text in self.streams:
                scope = self.streams[statement.name.text].scope
                for inner in statement.body:
                    if isinstance(inner, ast.Require):
                        self.require(inner, self.env(inner.span, scope))
        self._unused_overrides(name)
        return Elaborated(
            self.context,
            self.clip,
            interval,
            Region(tuple(self.context.nodes), head),
            {name: tuple(stream.points) for name, stream in self.streams.items()},
            params,
            self.space,
            self._moved(statements),
        )

    def env(self, span: Span, scope: Scope, prefix: Path = ()) -> Env:
        module = self.context.loader.by_source(span.source)
        return Env(scope, module, decisions=scope, prefix=prefix)

    # -------------------------------------------------------------- declarations

    def _declare(self, scope: Scope, name: ast.Ident) -> bool:
        if name.text in scope.declared:
            self.context.error(
                "E0202",
                f"'{name.text}' is declared twice",
                name.span,
                "give one of them another name",
                [Label(scope.declared[name.text], "declared here first")],
            )
            return False
        scope.declared[name.text] = name.span
        return True

    def _params(self, statements: Sequence[ast.Statement]) -> dict[str, Any]:
        params: dict[str, Any] = {}
        for statement in statements:
            if not isinstance(statement, ast.Param):
                continue
            name = statement.name.text
            self._declare(self.space, statement.name)
            default = self.plain(statement.value, self.env(statement.span, self.space))
            value = default
            if name in self.overrides:
                value = self.override_value(name, statement.name.span)
            wanted = self._param_type(statement, default)
            judged = [(default, statement.value.span)]
            if value is not default:
                judged.append((value, statement.name.span))
            for val, span in judged:
                entry = val.entries[0]
                if isinstance(entry, OpValue) and wanted != "op":
                    self.context.error("E0303", "a param is a plain value", span)
                    value = POISON
                elif not isinstance(entry, Fault) and not signatures.fits(entry, wanted):
                    self.context.error(
                        "E0303",
                        f"param {name} is of type {wanted}, not {type_name(entry)} ({show(entry)})",
                        span,
                    )
                    value = POISON
            self.space.names[name] = value
            if value.is_constant and not isinstance(value.value, Fault | OpValue):
                params[name] = value.value
        return params

    def _param_type(self, statement: ast.Param, default: Val) -> str | None:
        if statement.type is not None:
            known = [t for t in signatures.TYPES if t not in ("tensor", "op")]
            if statement.type.text in known:
                return statement.type.text
            self.context.error(
                "E0310",
                f"there is no type '{statement.type.text}' for a param",
                statement.type.span,
                did_you_mean(statement.type.text, known, "types are: " + ", ".join(known)),
            )
            return None
        entry = default.entries[0]
        return None if isinstance(entry, Fault) else type_name(entry)

    def _let(self, statement: ast.Let, env: Env) -> None:
        self._declare(env.scope, statement.name)
        outer, self.touched = self.touched, []
        env.scope.names[statement.name.text] = self.evaluate(statement.value, env)
        if self.touched:
            env.scope.conditions[statement.name.text] = tuple(dict.fromkeys(self.touched))
        self.touched = outer

    def binding(self, statement: ast.Binding, env: Env) -> None:
        scope, name = env.scope, statement.name
        fine = self._declare(scope, name)
        path = scope.join(name.text)
        value = statement.value
        if isinstance(value, ast.SetDomain | ast.RangeDomain):
            if fine:
                self.docs[path] = statement.doc
                self.decide(path, name, value, scope, env)
            return
        val = self.plain(value, env)
        if path in self.overrides:
            val = self.override_value(path, name.span)
        scope.names[name.text] = val

    # -------------------------------------------------------------- input

    def _input(self, name: ast.Ident, statements: Sequence[ast.Statement]) -> int:
        inputs = [s for s in statements if isinstance(s, ast.Input)]
        if not inputs:
            self.context.error(
                "E0514",
                f"space '{name.text}' has no input",
                name.span,
                "add: input clip(channels=3, frames=16, height=160, width=160)",
            )
            return 1
        statement = inputs[0]
        self._declare(self.space, statement.name)
        given = self._named(statement.arguments, self.env(statement.span, self.space))
        known = {"channels": None, "frames": None, "height": None, "width": None, "interval": 1}
        values: dict[str, int] = {}
        fine = True
        for key, (val, span) in given.items():
            if key not in known:
                hint = did_you_mean(key, known, "it has: " + ", ".join(known))
                self.context.error("E0306", f"an input has no '{key}'", span, hint)
                continue
            entry = val.entries[0] if val.is_constant else None
            if isinstance(entry, Fault):
                fine = False
            elif type(entry) is not int or not 1 <= entry <= MAX_EXTENT:
                self.context.error(
                    "E0309",
                    f"{key} of an input is a fixed int from 1 to {MAX_EXTENT:,}, "
                    f"not {show(entry) if val.is_constant else 'a decision'}",
                    span,
                )
                fine = False
            else:
                values[key] = entry
        missing = [k for k, default in known.items() if default is None and k not in given]
        if missing:
            names = ", ".join(missing)
            self.context.error("E0307", f"the input needs {names}", statement.span)
            fine = False
        if fine:
            shape = (values["channels"], values["frames"], values["height"], values["width"])
            self.clip = Edge(constant(shape), statement.name.text)
        self.space.names[statement.name.text] = self.clip
        return values.get("interval", 1)

    def _named(self, arguments: Sequence[ast.Argument], env: Env) -> dict[str, tuple[Val, Span]]:
        found: dict[str, tuple[Val, Span]] = {}
        for argument in arguments:
            value = argument.value
            if argument.name is None:
                self.context.error("E0305", "give this by name", argument.span)
            elif argument.name.text in found:
                self.context.error(
                    "E0305", f"'{argument.name.text}' is given twice", argument.name.span
                )
            elif isinstance(value, ast.SetDomain | ast.RangeDomain | ast.ValueRange | ast.Record):
                self.context.error(
                    "E0501", f"'{argument.name.text}' is fixed here, with '='", argument.span
                )
                found[argument.name.text] = (POISON, argument.span)
            else:
                found[argument.name.text] = (self.plain(value, env), argument.span)
        return found

    # -------------------------------------------------------------- streams

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
        scope.output = self._stream_source(tree, env)
        self.space.names[tree.name.text] = scope
        stream = _Stream(tree, scope)
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
        sample = OpValue(_time_sample(), "time_sample", {"every": val}, {"every": span})
        if not val.is_constant or type(val.value) is not int:
            if not any(isinstance(e, Fault) for e in val.entries):
                self.context.error("E0309", "every is a fixed int of at least 1", span)
            return Edge(POISON)
        return self.apply(constant(sample), (edge,), (tree.name.text, "sample"), span)

    # -------------------------------------------------------------- points

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

    def settle(self, stream: _Stream, point: str, before: int) -> Edge:
        """The tensor of a stream after a point and those of its fusions and attentions that stand
        before the given one in the file."""
        key = (stream.tree.name.text, point)
        if point not in stream.done:
            order = list(stream.points)
            at = order.index(point)
            edge = stream.scope.output or Edge(POISON)
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

    def _name_after(self, stream: _Stream, point: str) -> None:
        """Emitted source calls the tensor of a stream by the stream's name."""
        edge = stream.done[point]
        edge.hint = edge.hint or stream.tree.name.text

    def _scope_of(self, stream: _Stream, point: str) -> Scope:
        found = stream.scope.names.get(point)
        assert isinstance(found, Scope)
        return found

    def _slot(
        self, at: int, statement: ast.Fuse | ast.Attend, point: ast.Ident, stream: _Stream
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

    def _operation(self, node: ast.Expr, env: Env, path: str | None = None) -> Val:
        for argument in node.arguments if isinstance(node, ast.Call) else ():
            given = argument.value
            if isinstance(given, ast.Name):
                named = env.scope.lookup(given.text)
                if named is not None and self.as_tensor(named) is not None:
                    return self.context.error(
                        "E0302",
                        f"tensor '{given.text}' is not given here",
                        given.span,
                        "leave it out: the operation is applied to the tensor of the stream",
                    )
        operation = self.plain(node, env, "an operation")
        if path is not None and path in self.overrides:
            operation = self.override_value(path, node.span)
        return operation

    # -------------------------------------------------------------- stems and stages

    def _stem(self, stream: _Stream, statement: ast.Stem, edge: Edge) -> Edge:
        scope = stream.scope.child(f"{stream.scope.path}.stem")
        stream.scope.names["stem"] = scope
        operation = self._operation(statement.call, self.env(statement.span, scope))
        with self.context.use(statement.span):
            path = (stream.tree.name.text, "stem")
            scope.output = self.apply(operation, (edge,), path, statement.call.span)
        return scope.output

    def _stage(self, stream: _Stream, tree: ast.Stage, edge: Edge) -> Edge:
        name = tree.name.text
        scope = stream.scope.child(f"{stream.scope.path}.{name}", "stage")
        stream.scope.names[name] = scope
        env = self.env(tree.span, scope)
        stride: tuple[Val, Span] | None = None
        for key, (val, span) in self._named(tree.arguments or (), env).items():
            if key != "stride":
                hint = did_you_mean(key, ["stride"], "a stage has: stride")
                self.context.error("E0306", f"a stage has no '{key}'", span, hint)
                continue

            def check(value: Any) -> Any:
                if type_name(value) != "dims":
                    raise Wrong("E0303", f"a stride is a size such as 1x2x2, not {show(value)}")
                return value

            checked = self.context.lift(check, span, val)
            if not (checked.is_constant and checked.value == (1, 1, 1)):
                stride = (checked, span)
        run = _Run((stream.tree.name.text, name), scope, edge, stride)
        self._items(tree.body, run, scope, None)
        if run.stride is not None and not run.slot:
            self.context.error("E0510", f"stage '{name}' has a stride and no block", run.stride[1])
        scope.output = run.edge
        return run.edge

    def _items(
        self,
        items: Sequence[ast.InStage],
        run: _Run,
        scope: Scope,
        iteration: int | None,
    ) -> None:
        """Elaborate statements of a stage or of one iteration of a repeat."""
        for item in items:
            self.context.spend(STATEMENT, item.span)
            env = self.env(item.span, scope)
            match item:
                case ast.Let():
                    self._let(item, env)
                case ast.Binding():
                    self.binding(item, env)
                case ast.Require():
                    self.require(item, env)
                case ast.Repeat():
                    self._repeat(item, run, scope)
                case ast.Use():
                    own = scope
                    if iteration != run.slot:
                        own = scope.child(f"{run.scope.path}[{run.slot}]")
                        own.names["index"] = constant(run.slot)
                        run.scope.items.setdefault(run.slot, own)
                    self._use(item, run, own)

    def _use(self, item: ast.Use, run: _Run, scope: Scope) -> None:
        env = self.env(item.span, scope)
        path = (*run.path, str(run.slot))
        if isinstance(item.value, ast.SetDomain | ast.RangeDomain):
            assert item.name is not None
            written = scope.join(item.name.text)
            operation = self.decide(written, item.name, item.value, scope, env)
        else:
            label = scope.join(item.name.text) if item.name else None
            operation = self._operation(item.value, env, label)
        extra = None
        if run.slot == 0 and run.stride is not None:
            extra = {"stride": run.stride}
        with self.context.use(item.span):
            run.edge = self.apply(operation, (run.edge,), path, item.value.span, extra)
        scope.output = run.edge
        run.slot += 1

    def _repeat(self, item: ast.Repeat, run: _Run, scope: Scope) -> None:
        env = self.env(item.span, scope)
        if item.name is None:
            assert not isinstance(item.count, ast.SetDomain | ast.RangeDomain)
            count = self.plain(item.count, env, "a number of blocks")
        else:
            self.binding(ast.Binding(item.name, item.count, "", item.span), env)
            found = scope.names.get(item.name.text)
            count = found if isinstance(found, Val) else POISON
        counts = self._counts(count, item)
        if counts is None:
            return
        most = max(counts.distinct(), default=0)
        if run.stride is not None and run.slot == 0 and min(counts.distinct(), default=1) == 0:
            self.context.error(
                "E0510",
                "this stage has a stride, and its first block may not run",
                item.count.span,
                "let the repeat run at least once",
                [Label(run.stride[1], "the stride is given here")],
            )
        for at in range(most):
            self.context.spend(ROUND, item.span)
            self._iteration(item, run, scope, counts, at)

    def _counts(self, count: Val, item: ast.Repeat) -> Val | None:
        def check(value: Any) -> Any:
            if type(value) is not int or value < 0:
                raise Wrong(
                    "E0517", f"a repeat takes a whole number of at least 0, not {show(value)}"
                )
            if value > MAX_REPEAT:
                raise Wrong(
                    "E0511", f"{value:,} blocks in one repeat; at most {MAX_REPEAT:,} are meant"
                )
            return value

        counts = self.context.lift(check, item.count.span, count)
        return None if not counts.distinct() else counts

    def _iteration(self, item: ast.Repeat, run: _Run, outer: Scope, counts: Val, at: int) -> None:
        runs = self.context.lift(lambda count: int(count > at), item.count.span, counts)
        slot, before = run.slot, run.edge
        with self.context.region(Guard(runs, 1)) as nodes:
            scope = Scope(f"{run.scope.path}[{slot}]", outer, guards=self.context.guards)
            scope.names["index"] = constant(slot)
            run.scope.items[slot] = scope
            self._items(item.body, run, scope, slot)
        if runs.is_constant:
            for node in nodes:
                self.context.emit(node, item.span)
            return
        shape = self.context.select(runs, (before.shape, run.edge.shape), item.span)
        output = Edge(self.context.derive(shape, f"shape after {run.scope.path}[{slot}]"))
        cases = (Region((), before), Region(tuple(nodes), run.edge))
        path = (*run.path, str(slot))
        labels = ("absent", "runs")
        switch = Switch(path, "depth", runs, labels, cases, output, item.span)
        self.context.emit(switch, item.span)
        run.edge = output

    # -------------------------------------------------------------- head and constraints

    def _head(self, name: ast.Ident, statements: Sequence[ast.Statement]) -> Edge:
        heads = [s for s in statements if isinstance(s, ast.Head)]
        if not heads:
            self.context.error(
                "E0514",
                f"space '{name.text}' has no head",
                name.span,
                "add, for example: head sparse -> global_avg_pool -> dropout(0.5) -> linear(400)",
            )
            return Edge(POISON)
        statement = heads[0]
        scope = self.space.child("head")
        env = self.env(statement.span, scope, ("head",))
        env.sites.update(name_sites([statement.value], _IGNORED))
        with self.context.use(statement.span):
            edge = self.tensor(statement.value, env)
        if is_broken(edge.shape):
            return edge

        def check(shape: Any) -> Any:
            if len(shape) != 1:
                raise Wrong(
                    "E0402",
                    f"the head gives [{', '.join(map(str, shape))}], not one score for each class",
                    "end it with global_avg_pool and linear(classes)",
                )
            return shape

        checked = self.context.lift(check, statement.value.span, edge.shape)
        if len(checked.distinct()) > 1:
            self.context.error(
                "E0402",
                "the number of classes depends on a decision",
                statement.value.span,
                "fix the width of the last layer",
            )
        return edge

    def require(self, statement: ast.Require, env: Env) -> None:
        self.touched.clear()
        condition = self.plain(statement.condition, env, "a condition")
        check = lambda value: need_bool("require", value)  # noqa: E731
        condition = self.context.lift(check, statement.condition.span, condition)
        guards = (*self.context.guards, *dict.fromkeys(self.touched))
        text = printer.expression(statement.condition)
        message = statement.message or f"this does not hold: {text}"
        if condition.is_constant and not guards:
            if condition.value is False:
                self.context.error(
                    "E0505",
                    message,
                    statement.condition.span,
                    f"{text} is false" if statement.message else None,
                )
            return
        if condition.is_constant and (condition.value is True or condition.value is SILENT):
            return
        self.context.requirements.append(
            Requirement(condition, guards, message, text, statement.span)
        )

    # -------------------------------------------------------------- blocks

    def block(self, tree: ast.Block, module: Module) -> BlockRef:
        found = self._blocks.get(id(tree))
        if found is None:
            tensors = tuple(f.name.text for f in tree.formals if signatures.is_tensor(f))
            plain = tuple(p.name for p in signatures.of_block(tree))
            info = BlockInfo(tree.name.text, tree.doc, tensors, plain, tree.span)
            expressions = [s.value for s in tree.body if isinstance(s, ast.Let)]
            sites = name_sites([*expressions, tree.result], _IGNORED)
            found = self._blocks[id(tree)] = BlockRef(tree, module, info, sites)
        return found

    def _moved(self, statements: Sequence[ast.Statement]) -> dict[str, tuple[str, ast.Moved]]:
        moved: dict[str, tuple[str, ast.Moved]] = {}
        for statement in statements:
            if not isinstance(statement, ast.Moved):
                continue
            old = statement.old
            if old.text in moved:
                self.context.error(
                    "E0202",
                    f"'{old.text}' has moved twice",
                    old.span,
                    "keep the move that architecture files were written under",
                    [Label(moved[old.text][1].old.span, "the first is here")],
                )
            moved.setdefault(old.text, (statement.new.text, statement))
        return moved

    def _unused_overrides(self, name: ast.Ident) -> None:
        known = [*self.space.names, *self.declared]
        for key in self.overrides:
            if key not in self.used:
                close = nearest(key, known)
                params = ", ".join(n for n, v in self.space.names.items() if isinstance(v, Val))
                self.context.error(
                    "E0508",
                    f"--set {key}: space '{name.text}' has no param or decision of that name",
                    name.span,
                    f"did you mean '{close}'?" if close else f"it has: {params}",
                )


@contextmanager
def _deep_recursion() -> Iterator[None]:
    """Nested blocks recurse deeper than Python's default allows; frames are on the heap."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, 40_000))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def _time_sample() -> Any:
    from tsdsl.ops.time_sample import TimeSample

    return TimeSample


def elaborate(
    name: ast.Ident,
    statements: Sequence[ast.Statement],
    loader: Loader,
    found: Collector,
    overrides: Mapping[str, Any],
) -> Elaborated | None:
    """Elaborate the statements of a space. Findings go to ``found``."""
    return Elaborator(Context(found, loader), overrides).run(name, statements)
