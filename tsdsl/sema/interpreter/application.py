"""Operations and blocks applied to tensors: nodes are placed, shapes inferred."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tsdsl.diagnostics import Label, Span
from tsdsl.ir.graph import CallNode, Edge, Guard, OpNode, Path, Region, Switch
from tsdsl.ir.op import Op
from tsdsl.ir.values import Val, constant
from tsdsl.sema import signatures
from tsdsl.sema.context import POISON, ROUND, STATEMENT, Context
from tsdsl.sema.functions import show, type_name
from tsdsl.sema.interpreter.arguments import Argument, checked, declaration, parameters_of
from tsdsl.sema.interpreter.protocols import Evaluator, SpaceRecorder
from tsdsl.sema.interpreter.shapes import ShapeInference
from tsdsl.sema.scope import BlockRef, Env, OpValue, Scope
from tsdsl.syntax import ast

#: Deepest nesting of calls of blocks.
MAX_CALLS = 64


class Applier:
    """Applies operations to tensors. A block is applied by evaluating its body."""

    def __init__(self, context: Context, space: SpaceRecorder, evaluator: Evaluator) -> None:
        self.context = context
        self.space = space
        self.evaluator = evaluator
        self._shapes = ShapeInference(context)

    def apply(
        self,
        operation: Val,
        tensors: Sequence[Edge],
        path: Path,
        span: Span,
        extra: Mapping[str, Argument] | None = None,
    ) -> Edge:
        """Apply an operation, or whichever one a decision chooses, to tensors.

        ``extra`` are arguments that the surroundings add (the stride of a stage).
        """
        if any(t.shape is POISON for t in tensors):
            return Edge(POISON)
        self.context.spend(ROUND, span)
        options = operation.distinct()
        if operation.is_constant:
            if not options:
                return Edge(POISON)
            return self._apply_one(options[0], tensors, path, span, extra)
        if not all(isinstance(option, OpValue) for option in options):
            return Edge(self._no_operation(options, span))
        number = {id(option): at for at, option in enumerate(options)}
        selector = self.context.lift(lambda option: number[id(option)], span, operation)
        edges: list[Edge] = []
        regions: list[Region] = []
        for case, option in enumerate(options):
            with self.space.region(Guard(selector, case)) as nodes:
                inner = (*path, option.name.rsplit(".", 1)[-1])
                edge = self._apply_one(option, tensors, inner, span, extra)
            edges.append(edge)
            regions.append(Region(tuple(nodes), edge))
        chosen = self.context.select(selector, [edge.shape for edge in edges], span)
        output = Edge(self.context.derive(chosen, "shape after " + ".".join(path)))
        labels = tuple(option.name for option in options)
        switch = Switch(path, "option", selector, labels, tuple(regions), output, span)
        self.space.place(switch, span)
        return output

    def _no_operation(self, options: Sequence[Any], span: Span) -> Val:
        other = next(o for o in options if not isinstance(o, OpValue))
        return self.context.error(
            "E0301",
            f"{show(other)} ({type_name(other)}) is no operation and cannot be applied to a tensor",
            span,
        )

    def _apply_one(
        self,
        value: Any,
        tensors: Sequence[Edge],
        path: Path,
        span: Span,
        extra: Mapping[str, Argument] | None,
    ) -> Edge:
        if not isinstance(value, OpValue):
            return Edge(self._no_operation([value], span))
        if extra:
            value = self._with_extra(value, extra, span)
        if value.callee is None:
            return tensors[-1]
        missing = [p.name for p in parameters_of(value) if p.required and p.name not in value.args]
        if missing:
            names = ", ".join(f"'{name}'" for name in missing)
            self.context.error(
                "E0307", f"{value.name} needs {names}", span, None, declaration(value)
            )
            return Edge(POISON)
        if isinstance(value.callee, BlockRef):
            return self._call_block(value, value.callee, tensors, path, span)
        return self._call_op(value, value.callee, tensors, path, span)

    def _with_extra(self, value: OpValue, extra: Mapping[str, Argument], span: Span) -> OpValue:
        """An operation with those arguments of its surroundings that it was not given itself."""
        known = {p.name for p in parameters_of(value)}
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
        args = {**value.args, **{n: v for n, (v, _) in fitting.items()}}
        return OpValue(value.callee, value.name, args, value.spans)

    # -------------------------------------------------------------- primitive operations

    def _call_op(
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
        shape = self._shapes.result(op, args, [t.shape for t in tensors], value, span)
        output = Edge(shape)
        self.space.place(OpNode(path, op, args, tuple(tensors), output, span), span)
        return output

    # -------------------------------------------------------------- blocks

    def _call_block(
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
                declaration(value),
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
        with self.context.use(span):
            args = self._bind_parameters(value, block, env)
            with self.space.region() as nodes:
                result, locals_ = self._body(block.tree, env)
        output = Edge(result.shape)
        body = Region(tuple(nodes), result)
        node = CallNode(path, block.info, args, locals_, tuple(tensors), inner, body, output, span)
        self.space.place(node, span)
        return output

    def _bind_parameters(self, value: OpValue, block: BlockRef, env: Env) -> dict[str, Val]:
        """Give the plain parameters of a block their values in its scope. Returns those that are
        no operations: the arguments of the node."""
        args: dict[str, Val] = {}
        for parameter, formal in zip(
            signatures.of_block(block.tree),
            (f for f in block.tree.formals if not signatures.is_tensor(f)),
            strict=True,
        ):
            val = value.args.get(parameter.name)
            if val is None:
                assert formal.default is not None
                val = self.evaluator.plain(formal.default, env)
                val = checked(value, parameter, val, formal.default.span, self.context)
            env.scope.names[parameter.name] = val
            if not any(isinstance(e, OpValue) for e in val.entries):
                args[parameter.name] = val
        return args

    def _body(self, tree: ast.Block, env: Env) -> tuple[Edge, dict[str, Val]]:
        """The result of a block's body, and the plain values that it names with ``let``."""
        locals_: dict[str, Val] = {}
        for statement in tree.body:
            self.context.spend(STATEMENT, statement.span)
            if isinstance(statement, ast.Require):
                self.evaluator.require(statement, env)
                continue
            value = self.evaluator.evaluate(statement.value, env)
            if isinstance(value, Edge) and not value.hint:
                value.hint = statement.name.text
            env.scope.names[statement.name.text] = value
            if isinstance(value, Val) and not any(isinstance(e, OpValue) for e in value.entries):
                locals_[statement.name.text] = value
        return self.evaluator.tensor(tree.result, env), locals_
