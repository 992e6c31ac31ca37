"""Applying operations and blocks to tensors: arguments bound, shapes inferred, nodes emitted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from tsdsl.diagnostics import Label, Span, did_you_mean
from tsdsl.ir.graph import CallNode, Edge, Guard, OpNode, Path, Region, Switch
from tsdsl.ir.op import Op, OpArgs, Shape, ShapeError
from tsdsl.ir.values import Fault, Val, constant
from tsdsl.sema import signatures
from tsdsl.sema.context import POISON, ROUND, SILENT, STATEMENT, Context
from tsdsl.sema.functions import ValueFault, show, type_name
from tsdsl.sema.scope import BlockRef, Env, OpValue, Scope, Value
from tsdsl.sema.signatures import Parameter
from tsdsl.syntax import ast

#: Blocks may call blocks this deep.
MAX_CALLS = 64


class Applier(ABC):
    def __init__(self, context: Context) -> None:
        self.context = context
        self._shapes: dict[tuple[Any, ...], Shape | tuple[str, str, str | None]] = {}

    def as_tensor(self, value: Value) -> Edge | None:
        if isinstance(value, Edge):
            return value
        return value.output if isinstance(value, Scope) and value.kind == "stream" else None

    # -------------------------------------------------------------- binding

    def parameters(self, value: OpValue) -> tuple[Parameter, ...]:
        if value.callee is None:
            return ()
        if isinstance(value.callee, BlockRef):
            return signatures.of_block(value.callee.tree)
        return signatures.of_op(value.callee)

    def bind(
        self,
        operation: Val,
        positional: Sequence[tuple[Val, Span]],
        named: dict[str, tuple[Val, Span]],
        span: Span,
    ) -> Val:
        """The same operations with more arguments given."""

        def one(value: Any) -> Any:
            if not isinstance(value, OpValue):
                raise ValueFault("E0301", f"{show(value)} ({type_name(value)}) cannot be called")
            return self.bind_one(value, positional, named, span)

        return self.context.lift(one, span, operation)

    def bind_one(
        self,
        value: OpValue,
        positional: Sequence[tuple[Val, Span]],
        named: dict[str, tuple[Val, Span]],
        span: Span,
    ) -> Any:
        fine = True
        known = {p.name: p for p in self.parameters(value)}
        free = [name for name in known if name not in value.args]
        result = OpValue(value.callee, value.name, dict(value.args), dict(value.spans))
        given: list[tuple[str, Val, Span]] = []
        if len(positional) > len(free):
            fine = False
            extra = positional[len(free)][1]
            takes = ", ".join(free) or "none"
            declared = self._declared(value)
            self.context.error(
                "E0304",
                f"{value.name} takes {len(free)} argument{'s' if len(free) != 1 else ''} "
                f"by position, not {len(positional)}",
                extra,
                f"its arguments are: {takes}" if free else "leave out the parentheses",
                declared,
            )
        for name, (val, where) in zip(free, positional, strict=False):
            given.append((name, val, where))
        for name, (val, where) in named.items():
            if name not in known:
                fine = False
                self.context.error(
                    "E0306",
                    f"{value.name} has no argument '{name}'",
                    where,
                    did_you_mean(name, known, "it has: " + (", ".join(known) or "none")),
                    self._declared(value),
                )
            elif name in value.args or any(name == g[0] for g in given):
                fine = False
                self.context.error("E0305", f"'{name}' is given twice", where)
            else:
                given.append((name, val, where))
        for name, val, where in given:
            result.args[name] = self.typed(value, known[name], val, where)
            result.spans[name] = where
        return result if fine else SILENT

    def _declared(self, value: OpValue) -> list[Label]:
        if isinstance(value.callee, BlockRef):
            return [Label(value.callee.tree.name.span, "declared here")]
        return []

    def typed(self, value: OpValue, parameter: Parameter, val: Val, span: Span) -> Val:
        """Check each value against the parameter's type."""

        def check(entry: Any) -> Any:
            if signatures.fits(entry, parameter.type):
                return entry
            hint = None
            if parameter.type == "int" and type(entry) is float:
                hint = "int(...), round(...) or round8(...) makes a whole number of it"
            if parameter.type == "dims" and type(entry) is int:
                hint = "sizes are time x height x width, as in 1x3x3"
            raise ValueFault(
                "E0303",
                f"{value.name}: {parameter.name} is of type {parameter.type}, "
                f"not {type_name(entry)} ({show(entry)})",
                hint,
            )

        if all(isinstance(e, Fault) or signatures.fits(e, parameter.type) for e in val.entries):
            return val
        return self.context.lift(check, span, val)

    # -------------------------------------------------------------- application

    def apply(
        self,
        operation: Val,
        tensors: Sequence[Edge],
        path: Path,
        span: Span,
        extra: dict[str, tuple[Val, Span]] | None = None,
    ) -> Edge:
        """Apply an operation, or whichever a decision chooses, to tensors.

        ``extra`` are arguments that the surroundings add (the stride of a stage).
        """
        if any(t.shape is POISON for t in tensors):
            return Edge(POISON)
        self.context.spend(ROUND, span)
        options = operation.distinct()
        if operation.is_constant:
            if not options:
                return Edge(POISON)
            return self.apply_one(options[0], tensors, path, span, extra)
        if not all(isinstance(option, OpValue) for option in options):
            return Edge(self._no_operation(options, span))
        number = {id(option): at for at, option in enumerate(options)}
        selector = self.context.lift(lambda option: number[id(option)], span, operation)
        edges: list[Edge] = []
        regions: list[Region] = []
        for case, option in enumerate(options):
            with self.context.region(Guard(selector, case)) as nodes:
                inner = (*path, option.name.rsplit(".", 1)[-1])
                edge = self.apply_one(option, tensors, inner, span, extra)
            edges.append(edge)
            regions.append(Region(tuple(nodes), edge))
        chosen = self.context.select(selector, [edge.shape for edge in edges], span)
        output = Edge(self.context.derive(chosen, "shape after " + ".".join(path)))
        labels = tuple(option.name for option in options)
        switch = Switch(path, "option", selector, labels, tuple(regions), output, span)
        self.context.emit(switch, span)
        return output

    def _no_operation(self, options: Sequence[Any], span: Span) -> Val:
        wrong = next(o for o in options if not isinstance(o, OpValue))
        return self.context.error(
            "E0301",
            f"{show(wrong)} ({type_name(wrong)}) is no operation and cannot be applied to a tensor",
            span,
        )

    def apply_one(
        self,
        value: Any,
        tensors: Sequence[Edge],
        path: Path,
        span: Span,
        extra: dict[str, tuple[Val, Span]] | None,
    ) -> Edge:
        if not isinstance(value, OpValue):
            return Edge(self._no_operation([value], span))
        if extra:
            known = {p.name for p in self.parameters(value)}
            fitting = {n: v for n, v in extra.items() if n in known and n not in value.args}
            missing = [n for n in extra if n not in known]
            if missing:
                place = extra[missing[0]][1]
                self.context.error(
                    "E0509",
                    f"{value.name} has no argument '{missing[0]}', which its stage gives it",
                    span,
                    "the stride of a stage goes to its first block",
                    [Label(place, "given here")],
                )
            value = OpValue(
                value.callee,
                value.name,
                {**value.args, **{n: v for n, (v, _) in fitting.items()}},
                value.spans,
            )
        if value.callee is None:
            return tensors[-1]
        missing_args = [
            p.name for p in self.parameters(value) if p.required and p.name not in value.args
        ]
        if missing_args:
            names = ", ".join(f"'{name}'" for name in missing_args)
            self.context.error(
                "E0307", f"{value.name} needs {names}", span, None, self._declared(value)
            )
            return Edge(POISON)
        if isinstance(value.callee, BlockRef):
            return self.call_block(value, value.callee, tensors, path, span)
        return self.call_op(value, value.callee, tensors, path, span)

    # -------------------------------------------------------------- primitive operations

    def call_op(
        self, value: OpValue, op: type[Op], tensors: Sequence[Edge], path: Path, span: Span
    ) -> Edge:
        wanted = op.inputs
        if wanted is not None and len(tensors) != wanted:
            self.context.error(
                "E0308",
                f"{op.name} takes {wanted} tensor{'s' if wanted != 1 else ''}, not {len(tensors)}",
                span,
            )
            return Edge(POISON)
        args: dict[str, Val] = {}
        for name, field in op.Args.model_fields.items():
            args[name] = value.args.get(name) or constant(field.get_default())
        shape = self.result_shape(op, args, [t.shape for t in tensors], value, span)
        output = Edge(shape)
        node = OpNode(path, op, args, tuple(tensors), output, span)
        self.context.emit(node, span)
        return output

    def result_shape(
        self, op: type[Op], args: dict[str, Val], shapes: list[Val], value: OpValue, span: Span
    ) -> Val:
        """The shape of an operation's result as a table, over what varies of its inputs."""
        inputs = [*args.values(), *shapes]
        varying = [at for at, val in enumerate(inputs) if not val.is_constant]
        if op.keeps_shape and len(varying) <= len(shapes) and not shapes[0].is_constant:
            # Only whether the arguments are valid is to be found out, for any one shape.
            usable = shapes[0].distinct()[:1]
            if usable and all(val.is_constant for val in args.values()):
                checked = self.result_shape(op, args, [constant(usable[0])], value, span)
                return checked if checked.faults() else shapes[0]
        names = tuple(args)
        count = len(names)
        full: list[Any] = [val.entries[0] for val in inputs]
        for val in inputs:
            if val.is_constant and isinstance(val.entries[0], Fault):
                return val

        def infer(*entries: Any) -> Any:
            for at, entry in zip(varying, entries, strict=True):
                full[at] = entry
            result = self.infer(op, names, tuple(full[:count]), full[count:])
            if isinstance(result[0], str):
                code, message, name = result
                where = value.spans.get(str(name), span) if name else span
                return Fault(self.context.diagnostic(str(code), str(message), where))
            return result

        return self.context.lift(infer, span, *(inputs[at] for at in varying))

    def infer(
        self, op: type[Op], names: tuple[str, ...], values: tuple[Any, ...], shapes: Sequence[Shape]
    ) -> Any:
        """The shape of a result, or (code, message, name of the argument or None)."""
        key = (op, tuple((type(v), v) for v in values), tuple(shapes))
        known = self._shapes.get(key)
        if known is None:
            known = _infer(op, dict(zip(names, values, strict=True)), shapes)
            self._shapes[key] = known
        return known

    # -------------------------------------------------------------- blocks

    def call_block(
        self, value: OpValue, block: BlockRef, tensors: Sequence[Edge], path: Path, span: Span
    ) -> Edge:
        formals = [f for f in block.tree.formals if signatures.is_tensor(f)]
        if len(tensors) != len(formals):
            names = ", ".join(f.name.text for f in formals)
            self.context.error(
                "E0308",
                f"{value.name} takes {len(formals)} tensors ({names}), not {len(tensors)}",
                span,
                None,
                self._declared(value),
            )
            return Edge(POISON)
        if len(self.context.uses) > MAX_CALLS:
            self.context.error(
                "E0207",
                f"blocks call each other more than {MAX_CALLS} deep",
                block.tree.name.span,
                "does a block call itself?",
            )
            return Edge(POISON)
        scope = Scope("", kind="block")
        inner = tuple(
            Edge(tensor.shape, f.name.text) for tensor, f in zip(tensors, formals, strict=True)
        )
        for formal, edge in zip(formals, inner, strict=True):
            scope.names[formal.name.text] = edge
        env = Env(scope, block.module, block, block.sites)
        args: dict[str, Val] = {}
        with self.context.use(span):
            for parameter, formal in zip(
                signatures.of_block(block.tree),
                (f for f in block.tree.formals if not signatures.is_tensor(f)),
                strict=True,
            ):
                val = value.args.get(parameter.name)
                if val is None:
                    assert formal.default is not None
                    val = self.plain(formal.default, env)
                    val = self.typed(value, parameter, val, formal.default.span)
                scope.names[parameter.name] = val
                if not any(isinstance(e, OpValue) for e in val.entries):
                    args[parameter.name] = val
            with self.context.region() as nodes:
                result, locals_ = self.body(block.tree, env)
        output = Edge(result.shape)
        node = CallNode(
            path,
            block.info,
            args,
            locals_,
            tuple(tensors),
            inner,
            Region(tuple(nodes), result),
            output,
            span,
        )
        self.context.emit(node, span)
        return output

    def body(self, tree: ast.Block, env: Env) -> tuple[Edge, dict[str, Val]]:
        locals_: dict[str, Val] = {}
        for statement in tree.body:
            self.context.spend(STATEMENT, statement.span)
            if isinstance(statement, ast.Require):
                self.require(statement, env)
                continue
            value = self.evaluate(statement.value, env)
            if isinstance(value, Edge) and not value.hint:
                value.hint = statement.name.text
            env.scope.names[statement.name.text] = value
            if isinstance(value, Val) and not any(isinstance(e, OpValue) for e in value.entries):
                locals_[statement.name.text] = value
        return self.tensor(tree.result, env), locals_

    # -------------------------------------------------------------- provided further down

    @abstractmethod
    def evaluate(self, node: ast.Expr, env: Env) -> Value: ...

    @abstractmethod
    def plain(self, node: ast.Expr, env: Env, what: str = "a plain value") -> Val: ...

    @abstractmethod
    def tensor(self, node: ast.Expr, env: Env) -> Edge: ...

    @abstractmethod
    def require(self, statement: ast.Require, env: Env) -> None: ...


def _infer(op: type[Op], args: dict[str, Any], shapes: Sequence[Shape]) -> Any:
    from pydantic import ValidationError

    try:
        checked: OpArgs = op.Args(**args)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else None
        message = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
        shown = show(args[name]) if name in args else ""
        return ("E0309", f"{op.name}: {name} = {shown} {message}", name)
    try:
        return op.infer(checked, *shapes)
    except ShapeError as error:
        return ("E0401", str(error), None)
