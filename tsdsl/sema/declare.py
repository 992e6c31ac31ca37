"""What every part of a space may hold: names, fixed values, decisions, requirements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tsdsl.diagnostics import Label, Span
from tsdsl.ir.graph import BlockInfo, Edge, Path
from tsdsl.ir.space import Requirement
from tsdsl.ir.values import Val
from tsdsl.sema import signatures
from tsdsl.sema.context import POISON, SILENT, Context
from tsdsl.sema.decide import Decider
from tsdsl.sema.functions import BUILTINS, need_bool
from tsdsl.sema.modules import LoadedModule
from tsdsl.sema.scope import BlockRef, Env, Scope
from tsdsl.sema.submodule_names import name_sites
from tsdsl.syntax import ast, printer

#: Names that make no submodule where they are called.
IGNORED = frozenset(BUILTINS)


class Declarer(Decider):
    """What spaces, streams and stages have in common."""

    def __init__(self, context: Context, overrides: Mapping[str, Any]) -> None:
        super().__init__(context, overrides)
        self._blocks: dict[int, BlockRef] = {}

    def env(self, span: Span, scope: Scope, prefix: Path = ()) -> Env:
        module = self.context.loader.by_source(span.source)
        return Env(scope, module, decisions=scope, prefix=prefix)

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

    def _let(self, statement: ast.Let, env: Env) -> None:
        self._declare(env.scope, statement.name)
        outer, self.touched = self.touched, []
        value = self.evaluate(statement.value, env)
        if isinstance(value, Edge):
            value = self.context.error(
                "E0302",
                "a let of a space names a plain value or an operation, not a tensor",
                statement.value.span,
                "tensors flow through streams: put it into a stem, a stage or a block",
            )
        env.scope.names[statement.name.text] = value
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
        given = self.given(path)
        if given is not None:
            val = self.override_value(given, name.span)
        scope.names[name.text] = val

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
            elif isinstance(
                value, ast.SetDomain | ast.RangeDomain | ast.ValueRange | ast.RecordValue
            ):
                self.context.error(
                    "E0501", f"'{argument.name.text}' is fixed here, with '='", argument.span
                )
                found[argument.name.text] = (POISON, argument.span)
            else:
                found[argument.name.text] = (self.plain(value, env), argument.span)
        return found

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
        key = self.given(path) if path is not None else None
        if key is not None:
            operation = self.override_value(key, node.span)
        return operation

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

    def block(self, tree: ast.Block, module: LoadedModule) -> BlockRef:
        found = self._blocks.get(id(tree))
        if found is None:
            tensors = tuple(f.name.text for f in tree.formals if signatures.is_tensor(f))
            plain = tuple(p.name for p in signatures.of_block(tree))
            info = BlockInfo(tree.name.text, tree.doc, tensors, plain, tree.span)
            expressions = [s.value for s in tree.body if isinstance(s, ast.Let)]
            sites = name_sites([*expressions, tree.result], IGNORED)
            found = self._blocks[id(tree)] = BlockRef(tree, module, info, sites)
        return found
