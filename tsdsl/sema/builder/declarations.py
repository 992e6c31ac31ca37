"""What every part of a space may hold: names, fixed values, decisions, arguments, operations."""

from __future__ import annotations

from collections.abc import Sequence

from tsdsl.diagnostics import Label, Span
from tsdsl.ir.graph import Edge, Path
from tsdsl.ir.values import Val
from tsdsl.sema.builder.draft import SpaceDraft
from tsdsl.sema.builder.overrides import override_value
from tsdsl.sema.context import POISON, Context
from tsdsl.sema.interpreter.arguments import Argument
from tsdsl.sema.interpreter.interpreter import Interpreter, as_tensor
from tsdsl.sema.scope import Env, Scope
from tsdsl.syntax import ast


class Declarations:
    """Elaborates the statements that spaces, streams and stages have in common."""

    def __init__(self, context: Context, draft: SpaceDraft, interpreter: Interpreter) -> None:
        self.context = context
        self.draft = draft
        self.interpreter = interpreter

    def env(self, span: Span, scope: Scope, prefix: Path = ()) -> Env:
        """The environment of an expression at ``span``: a scope, and the imports of its file."""
        module = self.context.loader.by_source(span.source)
        return Env(scope, module, decisions=scope, prefix=prefix)

    def declare(self, scope: Scope, name: ast.Ident) -> bool:
        """Note that a part has a name. Returns False where it had the name before, which is
        reported."""
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

    def let(self, statement: ast.Let, env: Env) -> None:
        self.declare(env.scope, statement.name)
        with self.interpreter.reads() as reads:
            value = self.interpreter.evaluate(statement.value, env)
        if isinstance(value, Edge):
            value = self.context.error(
                "E0302",
                "a let of a space names a plain value or an operation, not a tensor",
                statement.value.span,
                "tensors flow through streams: put it into a stem, a stage or a block",
            )
        env.scope.names[statement.name.text] = value
        if reads.guards:
            # Whoever reads the name reads these parts, too.
            env.scope.conditions[statement.name.text] = tuple(dict.fromkeys(reads.guards))

    def binding(self, statement: ast.Binding, env: Env) -> None:
        """``name = value`` or ``name ~ domain``."""
        scope, name = env.scope, statement.name
        is_new = self.declare(scope, name)
        path = scope.join(name.text)
        value = statement.value
        if isinstance(value, ast.SetDomain | ast.RangeDomain):
            if is_new:
                self.draft.docs[path] = statement.doc
                self.interpreter.decide(path, name, value, scope, env)
            return
        val = self.interpreter.plain(value, env)
        override = self.draft.override_of(path)
        if override is not None:
            val = override_value(override, name.span, self.interpreter, self.context)
        scope.names[name.text] = val

    def named_arguments(self, arguments: Sequence[ast.Argument], env: Env) -> dict[str, Argument]:
        """The arguments of a part (``stage s2(stride=1x2x2)``), all of them by name and fixed."""
        values: dict[str, Argument] = {}
        for argument in arguments:
            value = argument.value
            if argument.name is None:
                self.context.error("E0305", "give this by name", argument.span)
            elif argument.name.text in values:
                self.context.error(
                    "E0305", f"'{argument.name.text}' is given twice", argument.name.span
                )
            elif isinstance(
                value, ast.SetDomain | ast.RangeDomain | ast.ValueRange | ast.RecordValue
            ):
                self.context.error(
                    "E0501", f"'{argument.name.text}' is fixed here, with '='", argument.span
                )
                values[argument.name.text] = (POISON, argument.span)
            else:
                val = self.interpreter.plain(value, env)
                values[argument.name.text] = (val, argument.span)
        return values

    def operation(self, node: ast.Expr, env: Env, path: str | None = None) -> Val:
        """An operation that is applied to the tensor of the stream. One with a name, whose path is
        given, can be replaced by ``--set``."""
        for argument in node.arguments if isinstance(node, ast.Call) else ():
            given = argument.value
            if isinstance(given, ast.Name):
                named = env.scope.lookup(given.text)
                if named is not None and as_tensor(named) is not None:
                    return self.context.error(
                        "E0302",
                        f"tensor '{given.text}' is not given here",
                        given.span,
                        "leave it out: the operation is applied to the tensor of the stream",
                    )
        operation = self.interpreter.plain(node, env, "an operation")
        override = self.draft.override_of(path) if path is not None else None
        if override is not None:
            operation = override_value(override, node.span, self.interpreter, self.context)
        return operation
