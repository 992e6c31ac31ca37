"""Stems and stages: blocks unrolled, each under the decisions that say whether it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tsdsl.diagnostics import Label, did_you_mean
from tsdsl.ir.graph import Edge, Guard, Path, Region, Switch
from tsdsl.ir.values import Val, constant
from tsdsl.record import MutableRecord
from tsdsl.sema.builder.declarations import Declarations
from tsdsl.sema.builder.draft import SpaceDraft
from tsdsl.sema.context import POISON, ROUND, STATEMENT, Context
from tsdsl.sema.functions import ValueFault, show, type_name
from tsdsl.sema.interpreter.arguments import Argument
from tsdsl.sema.interpreter.interpreter import Interpreter
from tsdsl.sema.scope import Scope
from tsdsl.syntax import ast

#: A repeat with more blocks than this is taken for a mistake.
MAX_REPEAT = 1000


class _Unrolling(MutableRecord):
    """A stage of which some blocks are unrolled."""

    path: Path
    scope: Scope
    #: The tensor after the blocks so far.
    edge: Edge
    #: The stride of the stage, which its first block gets.
    stride: Argument | None
    #: The number of blocks so far, and the position of the next one.
    slot: int = 0


class StageBuilder:
    """Unrolls the blocks of stems and stages."""

    def __init__(
        self,
        context: Context,
        draft: SpaceDraft,
        interpreter: Interpreter,
        declarations: Declarations,
    ) -> None:
        self.context = context
        self.draft = draft
        self.interpreter = interpreter
        self.declarations = declarations

    def stem(self, stream: Scope, statement: ast.Stem, edge: Edge) -> Edge:
        """Apply the stem of a stream to its input."""
        scope = stream.child(f"{stream.path}.stem")
        stream.names["stem"] = scope
        operation = self.declarations.operation(
            statement.call, self.declarations.env(statement.span, scope)
        )
        with self.context.use(statement.span):
            path = (stream.path, "stem")
            scope.output = self.interpreter.apply(operation, (edge,), path, statement.call.span)
        return scope.output

    def stage(self, stream: Scope, tree: ast.Stage, edge: Edge) -> Edge:
        """Apply the blocks of a stage to a tensor, one after the other."""
        name = tree.name.text
        scope = stream.child(f"{stream.path}.{name}", "stage")
        stream.names[name] = scope
        env = self.declarations.env(tree.span, scope)
        stride: Argument | None = None
        for key, (val, span) in self.declarations.named_arguments(
            tree.arguments or (), env
        ).items():
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
        run = _Unrolling((stream.path, name), scope, edge, stride)
        self._items(tree.body, run, scope, None)
        if run.stride is not None and not run.slot:
            self.context.error("E0510", f"stage '{name}' has a stride and no block", run.stride[1])
        scope.output = run.edge
        return run.edge

    def _items(
        self,
        items: Sequence[ast.InStage],
        run: _Unrolling,
        scope: Scope,
        iteration: int | None,
    ) -> None:
        """Elaborate the statements of a stage (``iteration`` is None), or of one iteration of a
        repeat: then ``scope`` is also that of the block at position ``iteration``."""
        for item in items:
            self.context.spend(STATEMENT, item.span)
            env = self.declarations.env(item.span, scope)
            match item:
                case ast.Let():
                    self.declarations.let(item, env)
                case ast.Binding():
                    self.declarations.binding(item, env)
                case ast.Require():
                    self.interpreter.require(item, env)
                case ast.Repeat():
                    self._repeat(item, run, scope)
                case ast.Use():
                    own = scope
                    if iteration != run.slot:
                        own = scope.child(f"{run.scope.path}[{run.slot}]")
                        own.names["index"] = constant(run.slot)
                        run.scope.items.setdefault(run.slot, own)
                    self._use(item, run, own)

    def _use(self, item: ast.Use, run: _Unrolling, scope: Scope) -> None:
        env = self.declarations.env(item.span, scope)
        path = (*run.path, str(run.slot))
        if isinstance(item.value, ast.SetDomain | ast.RangeDomain):
            assert item.name is not None
            written = scope.join(item.name.text)
            operation = self.interpreter.decide(written, item.name, item.value, scope, env)
        else:
            label = scope.join(item.name.text) if item.name else None
            operation = self.declarations.operation(item.value, env, label)
        extra = None
        if run.slot == 0 and run.stride is not None:
            extra = {"stride": run.stride}
        with self.context.use(item.span):
            run.edge = self.interpreter.apply(operation, (run.edge,), path, item.value.span, extra)
        scope.output = run.edge
        run.slot += 1

    def _repeat(self, item: ast.Repeat, run: _Unrolling, scope: Scope) -> None:
        env = self.declarations.env(item.span, scope)
        if item.name is None:
            assert not isinstance(item.count, ast.SetDomain | ast.RangeDomain)
            count = self.interpreter.plain(item.count, env, "a number of blocks")
        else:
            self.declarations.binding(ast.Binding(item.name, item.count, "", item.span), env)
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

    def _iteration(
        self, item: ast.Repeat, run: _Unrolling, outer: Scope, counts: Val, at: int
    ) -> None:
        runs = self.context.lift(lambda count: int(count > at), item.count.span, counts)
        slot, before = run.slot, run.edge
        with self.draft.region(Guard(runs, 1)) as nodes:
            scope = Scope(f"{run.scope.path}[{slot}]", outer, guards=self.context.guards)
            scope.names["index"] = constant(slot)
            run.scope.items[slot] = scope
            self._items(item.body, run, scope, slot)
        if runs.is_constant:
            for node in nodes:
                self.draft.place(node, item.span)
            return
        shape = self.context.select(runs, (before.shape, run.edge.shape), item.span)
        output = Edge(self.context.derive(shape, f"shape after {run.scope.path}[{slot}]"))
        cases = (Region((), before), Region(tuple(nodes), run.edge))
        path = (*run.path, str(slot))
        labels = ("absent", "runs")
        switch = Switch(path, "depth", runs, labels, cases, output, item.span)
        self.draft.place(switch, item.span)
        run.edge = output
