"""A tree-walking interpreter of expressions, in which every value is a table over decisions."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from tsdsl.diagnostics import Label, Span
from tsdsl.ir.graph import Edge, Guard, Region, Switch
from tsdsl.ir.space import Requirement
from tsdsl.ir.values import Val, constant
from tsdsl.ops.add import Add
from tsdsl.ops.mul import Mul
from tsdsl.sema import functions
from tsdsl.sema.context import EXPRESSION, POISON, SILENT, Context, is_broken
from tsdsl.sema.functions import BUILTINS
from tsdsl.sema.interpreter.application import Applier
from tsdsl.sema.interpreter.arguments import Argument, bind
from tsdsl.sema.interpreter.decisions import DecisionMaker
from tsdsl.sema.interpreter.names import NameResolver, Reads
from tsdsl.sema.interpreter.protocols import SpaceRecorder
from tsdsl.sema.scope import Env, OpValue, Scope, Value
from tsdsl.syntax import ast, printer


def as_tensor(value: Value) -> Edge | None:
    """The tensor that a value stands for: itself, or the current tensor of a stream."""
    if isinstance(value, Edge):
        return value
    return value.output if isinstance(value, Scope) and value.kind == "stream" else None


class Interpreter:
    """Evaluates expressions. Findings go to the context; nodes, decisions and requirements to the
    space."""

    def __init__(self, context: Context, space: SpaceRecorder) -> None:
        self.context = context
        self.space = space
        self._names = NameResolver(context)
        self._applier = Applier(context, space, self)
        self._decisions = DecisionMaker(context, space, self)
        self.apply = self._applier.apply
        self.decide = self._decisions.decide

    def reads(self) -> AbstractContextManager[Reads]:
        """Collect what expressions read inside: ``with interpreter.reads() as reads``."""
        return self._names.reads()

    def require(self, statement: ast.Require, env: Env) -> None:
        """Evaluate a requirement, and hand it to the space where some architecture may break it."""
        with self.reads() as reads:
            condition = self.plain(statement.condition, env, "a condition")
        check = lambda value: functions.need_bool("require", value)  # noqa: E731
        condition = self.context.lift(check, statement.condition.span, condition)
        guards = (*self.context.guards, *dict.fromkeys(reads.guards))
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
        self.space.add_requirement(Requirement(condition, guards, message, text, statement.span))

    # -------------------------------------------------------------- expressions

    def evaluate(self, node: ast.Expr, env: Env) -> Value:
        self.context.spend(EXPRESSION, node.span)
        match node:
            case ast.Number(value) | ast.DimsLiteral(value) | ast.Text(value) | ast.Bool(value):
                return constant(value)
            case ast.Time():
                message = f"the time {printer.time(node.value)} has no place here"
                hint = "times are limits of a budget: budget latency in 8ms..10ms"
                return self.context.error("E0312", message, node.span, hint)
            case ast.Name():
                return self._names.name(node, env)
            case ast.Member():
                return self._names.member(self.evaluate(node.object, env), node)
            case ast.Index():
                stage, position = self.evaluate(node.object, env), self.plain(node.index, env)
                return self._names.stage_block(stage, position, node)
            case ast.Call():
                return self._call(node, env)
            case ast.Pipe():
                return self._pipe(node, env)
            case ast.Binary():
                return self._binary(node, env)
            case ast.Unary(operator, operand, span):
                function = functions.negate if operator == "-" else functions.invert
                return self.context.lift(function, span, self.plain(operand, env))
            case ast.Conditional():
                return self._conditional(node, env)

    def plain(self, node: ast.Expr, env: Env, what: str = "a plain value") -> Val:
        """The value of an expression that must not be a tensor."""
        value = self.evaluate(node, env)
        if isinstance(value, Val):
            return value
        kind = "a tensor" if isinstance(value, Edge) else "a part of the space"
        if isinstance(value, Scope) and value.kind == "stream":
            kind = "a stream"
        return self.context.error("E0302", f"{what} is expected here, not {kind}", node.span)

    def tensor(self, node: ast.Expr, env: Env) -> Edge:
        """The value of an expression that must be a tensor."""
        value = self.evaluate(node, env)
        edge = as_tensor(value)
        if edge is not None:
            return edge
        if not is_broken(value):
            self.context.error("E0302", "a tensor is expected here", node.span)
        return Edge(POISON)

    # -------------------------------------------------------------- operators

    def _binary(self, node: ast.Binary, env: Env) -> Value:
        if node.operator in ("and", "or"):
            return self._logic(node, env)
        left, right = self.evaluate(node.left, env), self.evaluate(node.right, env)
        sides = [as_tensor(left), as_tensor(right)]
        if any(side is not None for side in sides):
            return self._tensor_operator(node, (left, right), sides, env)
        if not isinstance(left, Val) or not isinstance(right, Val):
            return self._no_value(right if isinstance(left, Val) else left, node.span)
        compute = lambda a, b: functions.binary(node.operator, a, b)  # noqa: E731
        return self.context.lift(compute, node.span, left, right)

    def _no_value(self, value: Value, span: Span) -> Val:
        """Report a part of the space, or a file, where a value is expected."""
        if isinstance(value, Scope) and value.kind == "stream":
            return self.context.error(
                "E0302",
                f"stream '{value.path}' has no tensor inside of itself",
                span,
                "leave it out: an operation of a stage is applied to the tensor of the stream",
            )
        if isinstance(value, Scope) and value.path:
            return self.context.error(
                "E0302",
                f"'{value.path}' is a part of the space, not a value",
                span,
                "its decisions and its .out are values",
            )
        return self.context.error("E0302", "this is an imported file, not a value", span)

    def _tensor_operator(
        self, node: ast.Binary, values: tuple[Value, Value], sides: list[Edge | None], env: Env
    ) -> Value:
        op = {"+": Add, "*": Mul}.get(node.operator)
        if any(map(is_broken, values)):
            return Edge(POISON)
        if op is None or sides[0] is None or sides[1] is None:
            return self.context.error(
                "E0302",
                f"'{node.operator}' between tensors is not defined"
                if op is None
                else f"'{node.operator}' takes two tensors or two numbers, not one of each",
                node.span,
                "tensors have + (sum) and * (product)",
            )
        value = OpValue(op, op.name)
        return self.apply(constant(value), (sides[0], sides[1]), env.path(node, op.name), node.span)

    def _logic(self, node: ast.Binary, env: Env) -> Val:
        """``and`` and ``or`` look at their right side only where the left does not settle it."""
        check = lambda value: functions.need_bool(node.operator, value)  # noqa: E731
        left = self.context.lift(check, node.left.span, self.plain(node.left, env))
        settled = node.operator == "or"
        if left.is_constant:
            if left.value is settled or left.faults():
                return left
            right = self.plain(node.right, env)
            return self.context.lift(check, node.right.span, right)
        taken = self.context.lift(lambda value: int(value is settled), node.span, left)
        with self.space.region(Guard(taken, 0)):
            right = self.context.lift(check, node.right.span, self.plain(node.right, env))
        return self.context.select(taken, (right, constant(settled)), node.span)

    def _conditional(self, node: ast.Conditional, env: Env) -> Value:
        check = lambda value: int(not functions.need_bool("if", value))  # noqa: E731
        condition = self.plain(node.condition, env, "a condition")
        selector = self.context.lift(check, node.condition.span, condition)
        if selector.is_constant and selector.faults():
            return POISON
        cases = (node.then, node.otherwise)
        values: list[Value | None] = [None, None]
        bodies: list[list[Any]] = [[], []]
        for case, expression in enumerate(cases):
            if selector.is_constant and selector.value != case:
                continue
            with self.space.region(Guard(selector, case)) as nodes:
                values[case] = self.evaluate(expression, env)
            bodies[case] = nodes
        edges = [None if v is None else as_tensor(v) for v in values]
        if any(edge is not None for edge in edges):
            return self._tensor_choice(node, selector, values, edges, bodies, env)
        chosen = [v for v in values if v is not None]
        if selector.is_constant:
            return chosen[0]
        first, second = chosen
        if not isinstance(first, Val) or not isinstance(second, Val):
            return self.context.error("E0302", "both branches must be plain values", node.span)
        return self.context.select(selector, (first, second), node.span)

    def _tensor_choice(
        self,
        node: ast.Conditional,
        selector: Val,
        values: list[Value | None],
        edges: list[Edge | None],
        bodies: list[list[Any]],
        env: Env,
    ) -> Value:
        for value, edge, branch in zip(values, edges, (node.then, node.otherwise), strict=True):
            if value is not None and edge is None:
                if not is_broken(value):
                    self.context.error(
                        "E0302",
                        "this branch is no tensor, and the other one is",
                        branch.span,
                        "both branches of an 'if' give the same type",
                    )
                return Edge(POISON)
        if env.block is None and selector.is_constant:
            taken = int(selector.value)
            for inner in bodies[taken]:
                self.space.place(inner, node.span)
            return edges[taken] or Edge(POISON)
        return self._merge("if", selector, ("then", "else"), edges, bodies, env, node)

    def _merge(
        self,
        kind: Any,
        selector: Val,
        labels: tuple[str, ...],
        edges: Sequence[Edge | None],
        bodies: Sequence[list[Any]],
        env: Env,
        node: ast.Conditional,
    ) -> Edge:
        path = env.path(node, "if")
        if selector.is_constant:
            edge = edges[selector.value]
            assert edge is not None
            shape = edge.shape
        else:
            shapes = [edge.shape for edge in edges if edge is not None]
            shape = self.context.derive(
                self.context.select(selector, shapes, node.span), "shape after " + ".".join(path)
            )
        output = Edge(shape)
        regions = tuple(
            Region(tuple(body), edge if edge is not None else output)
            for body, edge in zip(bodies, edges, strict=True)
        )
        switch = Switch(path, kind, selector, labels, regions, output, node.span)
        self.space.place(switch, node.span)
        return output

    # -------------------------------------------------------------- calls

    def _pipe(self, node: ast.Pipe, env: Env) -> Value:
        value = self.evaluate(node.value, env)
        edge = as_tensor(value)
        function = node.function
        if isinstance(function, ast.Call):
            operation, tensors = self._callee_with_arguments(function, env)
        else:
            operation, tensors = self.plain(function, env, "an operation"), ()
        if edge is None:
            if not is_broken(value):
                self.context.error("E0302", "a tensor is expected before '->'", node.value.span)
            return Edge(POISON)
        if is_broken(operation):
            return Edge(POISON)
        return self.apply(operation, (edge, *tensors), env.path(function, "op"), function.span)

    def _call(self, node: ast.Call, env: Env) -> Value:
        if isinstance(node.function, ast.Name) and env.scope.lookup(node.function.text) is None:
            name = node.function.text
            if name in BUILTINS and name not in env.module.blocks:
                return self._builtin(name, node, env)
        operation, tensors = self._callee_with_arguments(node, env)
        if not tensors:
            return operation
        if is_broken(operation):
            return Edge(POISON)
        return self.apply(operation, tensors, env.path(node, "op"), node.span)

    def _callee_with_arguments(self, node: ast.Call, env: Env) -> tuple[Val, tuple[Edge, ...]]:
        """What a call applies, with its plain arguments bound; and its tensors."""
        operation = self.plain(node.function, env, "an operation")
        tensors: list[Edge] = []
        positional: list[Argument] = []
        named: dict[str, Argument] = {}
        misplaced = False
        for argument in node.arguments:
            value = self._argument(argument, env)
            edge = as_tensor(value)
            if edge is not None and argument.name is None and not positional and not named:
                tensors.append(edge)
            elif edge is not None:
                self.context.error("E0305", "tensors come first, by position", argument.span)
            elif not isinstance(value, Val):
                self._no_value(value, argument.span)
                misplaced = True
            elif argument.name is None:
                if named:
                    self.context.error(
                        "E0305",
                        "arguments by position come before those by name",
                        argument.span,
                    )
                    misplaced = True
                positional.append((value, argument.span))
            elif argument.name.text in named:
                self.context.error(
                    "E0305",
                    f"'{argument.name.text}' is given twice",
                    argument.name.span,
                    labels=[Label(named[argument.name.text][1], "given here first")],
                )
            else:
                named[argument.name.text] = (value, argument.name.span.to(argument.span))
        if is_broken(operation) or misplaced:
            return POISON, tuple(tensors)
        return bind(operation, positional, named, node.span, self.context), tuple(tensors)

    def _argument(self, argument: ast.Argument, env: Env) -> Value:
        value = argument.value
        if isinstance(value, ast.SetDomain | ast.RangeDomain):
            assert argument.name is not None
            if env.decisions is None:
                return self.context.error(
                    "E0501",
                    "a block makes no decisions",
                    argument.span,
                    "decide in the space ('~' in use, stem, fuse or attend) and pass the value in",
                )
            path = env.decisions.join(argument.name.text)
            return self.decide(path, argument.name, value, env.decisions, env)
        if isinstance(value, ast.ValueRange | ast.RecordValue):
            return self.context.error(
                "E0302",
                "a call takes no range or record",
                argument.span,
                "a decision is written with '~', as in width ~ 8..32 step 8",
            )
        return self.evaluate(value, env)

    def _builtin(self, name: str, node: ast.Call, env: Env) -> Val:
        low, high, _, _ = BUILTINS[name]
        values: list[Val] = []
        for argument in node.arguments:
            if argument.name is not None or isinstance(
                argument.value, ast.SetDomain | ast.RangeDomain | ast.ValueRange | ast.RecordValue
            ):
                return self.context.error(
                    "E0304", f"{name} takes its arguments by position", argument.span
                )
            values.append(self.plain(argument.value, env))
        if not low <= len(values) <= high:
            count = str(low) if low == high else f"{low} to {high}"
            return self.context.error(
                "E0304", f"{name} takes {count} arguments, not {len(values)}", node.span
            )
        compute = lambda *given: functions.call_builtin(name, given)  # noqa: E731
        return self.context.lift(compute, node.span, *values)
