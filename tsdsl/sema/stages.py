"""Stems and stages: blocks unrolled, each under the decisions that say whether it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tsdsl.diagnostics import Label, Span, did_you_mean
from tsdsl.ir.graph import Edge, Guard, Path, Region, Switch
from tsdsl.ir.values import Val, constant
from tsdsl.record import MutableRecord, factory
from tsdsl.sema.context import POISON, ROUND, STATEMENT
from tsdsl.sema.declare import Declarer
from tsdsl.sema.functions import ValueFault, show, type_name
from tsdsl.sema.scope import Scope
from tsdsl.syntax import ast

#: A repeat with more blocks is taken for a mistake.
MAX_REPEAT = 1000


class Stream(MutableRecord):
    """A stream and the tensors along it."""

    tree: ast.Stream
    scope: Scope
    #: What it looks at.
    source: Edge
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


class Stages(Declarer):
    """Unrolls the blocks of stems and stages."""

    def _stem(self, stream: Stream, statement: ast.Stem, edge: Edge) -> Edge:
        scope = stream.scope.child(f"{stream.scope.path}.stem")
        stream.scope.names["stem"] = scope
        operation = self._operation(statement.call, self.env(statement.span, scope))
        with self.context.use(statement.span):
            path = (stream.tree.name.text, "stem")
            scope.output = self.apply(operation, (edge,), path, statement.call.span)
        return scope.output

    def _stage(self, stream: Stream, tree: ast.Stage, edge: Edge) -> Edge:
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
                    raise ValueFault(
                        "E0303", f"a stride is a size such as 1x2x2, not {show(value)}"
                    )
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
                raise ValueFault(
                    "E0517", f"a repeat takes a whole number of at least 0, not {show(value)}"
                )
            if value > MAX_REPEAT:
                raise ValueFault(
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
