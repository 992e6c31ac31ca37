"""Expressions to values: an interpreter in which every value is a table over decisions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from tsdsl.diagnostics import Label, Span, did_you_mean
from tsdsl.ir.graph import Edge, Guard, Region, Switch
from tsdsl.ir.values import Val, constant
from tsdsl.ops import BY_NAME
from tsdsl.ops.add import Add
from tsdsl.ops.mul import Mul
from tsdsl.sema import functions
from tsdsl.sema.apply import Applier
from tsdsl.sema.context import EXPRESSION, POISON, Context, is_broken
from tsdsl.sema.functions import BUILTINS, DIMS_MEMBERS, TENSOR_MEMBERS, ValueFault
from tsdsl.sema.modules import LoadedModule
from tsdsl.sema.scope import BlockRef, Env, OpValue, Scope, Value
from tsdsl.syntax import ast, printer

IDENTITIES = ("none", "skip")


class Evaluator(Applier):
    """`evaluate` gives the value of an expression; what is wrong in it goes to the context."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        #: Guards of the parts of the space that were named since this was last emptied.
        self.touched: list[Guard] = []
        #: Names that were read: the path of the part that has it (None in a block), and the name.
        self.read: set[tuple[str | None, str]] = set()

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
                return self.name(node, env)
            case ast.Member():
                return self.member(node, env)
            case ast.Index():
                return self.index(node, env)
            case ast.Call():
                return self.call(node, env)
            case ast.Pipe():
                return self.pipe(node, env)
            case ast.Binary():
                return self.binary(node, env)
            case ast.Unary(operator, operand, span):
                function = functions.negate if operator == "-" else functions.invert
                return self.context.lift(function, span, self.plain(operand, env))
            case ast.Conditional():
                return self.conditional(node, env)

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
        edge = self.as_tensor(value)
        if edge is not None:
            return edge
        if not is_broken(value):
            self.context.error("E0302", "a tensor is expected here", node.span)
        return Edge(POISON)

    # -------------------------------------------------------------- names

    def name(self, node: ast.Name, env: Env) -> Value:
        value: Value | None = env.scope.lookup(node.text)
        if value is not None:
            self.read.add((env.scope.owner(node.text), node.text))
            self.touched.extend(env.scope.conditions_of(node.text))
            return value
        if node.text in IDENTITIES:
            return constant(OpValue(None, node.text))
        found = self.definition(node.text, env.module)
        if found is not None:
            return found
        return self.unknown(node.text, node.span, env)

    def definition(self, name: str, module: LoadedModule) -> Value | None:
        """A block or import of the module, or a primitive operation."""
        if name in module.blocks:
            return constant(OpValue(self.block(module.blocks[name], module), name))
        if name in module.imports:
            return module.imports[name] or POISON
        if name in BY_NAME:
            return constant(OpValue(BY_NAME[name], name))
        return None

    def unknown(self, name: str, span: Span, env: Env) -> Val:
        if name in env.module.lost:
            return POISON
        for alias, module in env.module.imports.items():
            if module is not None and name in module.blocks:
                return self.context.error(
                    "E0201", f"'{name}' is not known here", span, f"did you mean '{alias}.{name}'?"
                )
        names = [*env.scope.visible(), *env.module.blocks, *env.module.imports, *BY_NAME, *BUILTINS]
        hint = did_you_mean(name, [*names, *IDENTITIES])
        if name in BUILTINS:
            return self.context.error(
                "E0203", f"'{name}' is a function of values: call it, as in {name}(...)", span
            )
        return self.context.error("E0201", f"'{name}' is not known here", span, hint)

    def member(self, node: ast.Member, env: Env) -> Value:
        owner = self.evaluate(node.object, env)
        name = node.name.text
        if is_broken(owner):
            return POISON
        if isinstance(owner, LoadedModule):
            if name in owner.blocks:
                return constant(OpValue(self.block(owner.blocks[name], owner), name))
            if name in owner.lost:
                return POISON
            hint = did_you_mean(name, owner.blocks, "it has: " + ", ".join(sorted(owner.blocks)))
            message = f"{owner.tree.source.name} has no block '{name}'"
            return self.context.error("E0204", message, node.name.span, hint)
        if isinstance(owner, Scope):
            self.touched.extend(owner.guards)
            return self.scope_member(owner, node)
        if isinstance(owner, Edge):
            if name not in TENSOR_MEMBERS:
                return self.context.error(
                    "E0204",
                    f"a tensor has no '{name}'",
                    node.name.span,
                    did_you_mean(name, TENSOR_MEMBERS, "it has: " + ", ".join(TENSOR_MEMBERS)),
                )
            read = lambda shape: functions.tensor_member(name, shape)  # noqa: E731
            return self.context.lift(read, node.span, owner.shape)

        def extent(value: Any) -> int:
            if type(value) is not tuple or name not in DIMS_MEMBERS:
                raise ValueFault(
                    "E0204",
                    f"{functions.show(value)} ({functions.type_name(value)}) has no '{name}'",
                    "a size has .t, .h and .w" if type(value) is tuple else None,
                )
            return int(value[DIMS_MEMBERS[name]])

        return self.context.lift(extent, node.span, owner)

    def scope_member(self, scope: Scope, node: ast.Member) -> Value:
        name = node.name.text
        if name == "out":
            if scope.output is not None:
                return scope.output
            return self.context.error("E0204", "this part has no output", node.name.span)
        # Nested repeats can begin with the same block: what each declares is under its path.
        part: Scope | None = scope
        names: list[str] = []
        while part is not None and part.path == scope.path:
            if name in part.names:
                self.read.add((part.path, name))
                self.touched.extend(part.conditions.get(name, ()))
                found: Value = part.names[name]
                return found
            names.extend(part.names)
            part = part.parent
        known = [*names, "out"]
        where = f"'{scope.path}'" if scope.path else "the space"
        hint = did_you_mean(name, known, "it has: " + ", ".join(known))
        return self.context.error("E0204", f"{where} has no '{name}'", node.name.span, hint)

    def index(self, node: ast.Index, env: Env) -> Value:
        owner = self.evaluate(node.object, env)
        position = self.plain(node.index, env)
        if is_broken(owner) or is_broken(position):
            return POISON
        if not isinstance(owner, Scope) or not owner.items:
            return self.context.error("E0205", "only a stage has numbered blocks", node.object.span)
        if not position.is_constant or type(position.value) is not int:
            return self.context.error(
                "E0205", "a block's position is a whole number that is fixed", node.index.span
            )
        found = owner.items.get(position.value)
        if found is None:
            return self.context.error(
                "E0205",
                f"'{owner.path}' has no block [{position.value}]",
                node.span,
                f"it has [{min(owner.items)}] to [{max(owner.items)}]",
            )
        return found

    # -------------------------------------------------------------- operators

    def binary(self, node: ast.Binary, env: Env) -> Value:
        if node.operator in ("and", "or"):
            return self.logic(node, env)
        left, right = self.evaluate(node.left, env), self.evaluate(node.right, env)
        sides = [self.as_tensor(left), self.as_tensor(right)]
        if any(side is not None for side in sides):
            return self.tensor_operator(node, (left, right), sides, env)
        if not isinstance(left, Val) or not isinstance(right, Val):
            return self.no_value(right if isinstance(left, Val) else left, node.span)
        compute = lambda a, b: functions.binary(node.operator, a, b)  # noqa: E731
        return self.context.lift(compute, node.span, left, right)

    def no_value(self, value: Value, span: Span) -> Val:
        """Report a part of the space, or a file, where a value is expected."""
        if isinstance(value, Scope) and value.kind == "stream":
            return self.context.error(
                "E0302",
                f"stream '{value.path}' has no tensor inside of itself",
                span,
                "leave it out: an operation of a stage is applied to the tensor of the stream",
            )
        what = f"'{value.path}'" if isinstance(value, Scope) and value.path else "this"
        return self.context.error(
            "E0302", f"{what} is no value", span, "a part's decisions and .out are its members"
        )

    def tensor_operator(
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

    def logic(self, node: ast.Binary, env: Env) -> Val:
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
        with self.context.region(Guard(taken, 0)):
            right = self.context.lift(check, node.right.span, self.plain(node.right, env))
        return self.context.select(taken, (right, constant(settled)), node.span)

    def conditional(self, node: ast.Conditional, env: Env) -> Value:
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
            with self.context.region(Guard(selector, case)) as nodes:
                values[case] = self.evaluate(expression, env)
            bodies[case] = nodes
        edges = [None if v is None else self.as_tensor(v) for v in values]
        if any(edge is not None for edge in edges):
            return self.tensor_choice(node, selector, values, edges, bodies, env)
        chosen = [v for v in values if v is not None]
        if selector.is_constant:
            return chosen[0]
        first, second = chosen
        if not isinstance(first, Val) or not isinstance(second, Val):
            return self.context.error("E0302", "both branches must be plain values", node.span)
        return self.context.select(selector, (first, second), node.span)

    def tensor_choice(
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
                self.context.emit(inner, node.span)
            return edges[taken] or Edge(POISON)
        return self.merge("if", selector, ("then", "else"), edges, bodies, env, node)

    def merge(
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
        self.context.emit(switch, node.span)
        return output

    # -------------------------------------------------------------- calls

    def pipe(self, node: ast.Pipe, env: Env) -> Value:
        value = self.evaluate(node.value, env)
        edge = self.as_tensor(value)
        function = node.function
        if isinstance(function, ast.Call):
            operation, tensors = self.callee_with_arguments(function, env)
        else:
            operation, tensors = self.plain(function, env, "an operation"), ()
        if edge is None:
            if not is_broken(value):
                self.context.error("E0302", "a tensor is expected before '->'", node.value.span)
            return Edge(POISON)
        if is_broken(operation):
            return Edge(POISON)
        return self.apply(operation, (edge, *tensors), env.path(function, "op"), function.span)

    def call(self, node: ast.Call, env: Env) -> Value:
        if isinstance(node.function, ast.Name) and env.scope.lookup(node.function.text) is None:
            name = node.function.text
            if name in BUILTINS and name not in env.module.blocks:
                return self.builtin(name, node, env)
        operation, tensors = self.callee_with_arguments(node, env)
        if not tensors:
            return operation
        if is_broken(operation):
            return Edge(POISON)
        return self.apply(operation, tensors, env.path(node, "op"), node.span)

    def callee_with_arguments(self, node: ast.Call, env: Env) -> tuple[Val, tuple[Edge, ...]]:
        """What a call applies, with its plain arguments bound; and its tensors."""
        operation = self.plain(node.function, env, "an operation")
        tensors: list[Edge] = []
        positional: list[tuple[Val, Span]] = []
        named: dict[str, tuple[Val, Span]] = {}
        misplaced = False
        for argument in node.arguments:
            value = self.argument(argument, env)
            edge = self.as_tensor(value)
            if edge is not None and argument.name is None and not positional and not named:
                tensors.append(edge)
            elif edge is not None:
                self.context.error("E0305", "tensors come first, by position", argument.span)
            elif not isinstance(value, Val):
                self.no_value(value, argument.span)
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
        return self.bind(operation, positional, named, node.span), tuple(tensors)

    def argument(self, argument: ast.Argument, env: Env) -> Value:
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

    def builtin(self, name: str, node: ast.Call, env: Env) -> Val:
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

    # -------------------------------------------------------------- provided by the elaboration

    @abstractmethod
    def decide(
        self, path: str, name: ast.Ident, domain: ast.Domain, scope: Scope, env: Env
    ) -> Val: ...

    @abstractmethod
    def block(self, tree: ast.Block, module: LoadedModule) -> BlockRef: ...
