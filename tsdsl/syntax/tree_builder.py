"""From reductions of the grammar to the syntax tree: one method for each alias in the grammar.

A method ``on_ALIAS`` gets the children of a rule, tokens and nodes that are built already, and the
range of characters that the rule covers (`tsdsl.syntax.tables.Rule`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from tsdsl.diagnostics import Collector, Diagnostic, Source, Span
from tsdsl.syntax import ast
from tsdsl.syntax.lexer import Token
from tsdsl.syntax.literals import LiteralReader

#: Deepest nesting of expressions.
MAX_DEPTH = 200


class TreeBuilder:
    """Builds the syntax tree of one source."""

    def __init__(self, source: Source, docs: dict[int, str], findings: Collector) -> None:
        self.source = source
        #: Start of a statement -> its documentation comment.
        self.docs = docs
        self.findings = findings
        self.literals = LiteralReader(source, findings)
        #: Depth of each expression by identity. `_alive` keeps the expressions, so that none is
        #: freed and its identity used again.
        self._depths: dict[int, int] = {}
        self._alive: list[Any] = []
        self._depth_reported = False

    def callback(self, name: str) -> Callable[[list[Any], int, int], Any]:
        return cast(Callable[[list[Any], int, int], Any], getattr(self, f"on_{name}"))

    # -------------------------------------------------------------- helpers

    def span(self, start: int, end: int) -> Span:
        return Span(self.source, start, end)

    def ident(self, token: Token) -> ast.Ident:
        return ast.Ident(token.text, Span(self.source, token.start, token.end))

    def doc(self, start: int) -> str:
        return self.docs.get(start, "")

    def nested(self, node: ast.Expr, *children: Any) -> ast.Expr:
        """Note how deep an expression nests; past the limit it is reported, once, and cut."""
        depths = self._depths
        depth = 1
        for child in children:
            below = depths.get(id(child), 0)
            if below >= depth:
                depth = below + 1
        if depth > MAX_DEPTH:
            if not self._depth_reported:
                self._depth_reported = True
                self.findings.add(
                    Diagnostic(
                        "E0108",
                        f"this expression nests more than {MAX_DEPTH} deep",
                        self.span(node.span.start, min(node.span.end, node.span.start + 40)),
                        help="name a part of it with let",
                    )
                )
            return ast.Number(0, node.span)
        depths[id(node)] = depth
        self._alive.append(node)
        return node

    # -------------------------------------------------------------- declarations

    def on_module(self, children: list[Any], start: int, end: int) -> ast.Module:
        items = children[1:]
        return ast.Module(
            self.source,
            children[0],
            tuple(i for i in items if isinstance(i, ast.Import)),
            tuple(i for i in items if isinstance(i, ast.Space)),
            tuple(i for i in items if isinstance(i, ast.Block)),
        )

    def on_header(self, children: list[Any], start: int, end: int) -> int:
        token: Token = children[0]
        if token.text != "1":
            self.findings.add(
                Diagnostic(
                    "E0107",
                    f"this compiler reads version 1 of the language, not '{token.text}'",
                    self.span(token.start, token.end),
                    help="write: tsnet 1",
                )
            )
        return 1

    def on_import_(self, children: list[Any], start: int, end: int) -> ast.Import:
        path = self.literals.string(children[0])
        return ast.Import(path, self.ident(children[1]), self.span(start, end))

    def on_space(self, children: list[Any], start: int, end: int) -> ast.Space:
        name, *body = children
        return ast.Space(
            self.ident(name), None, tuple(body), self.doc(start), self.span(start, end)
        )

    def on_space_extends(self, children: list[Any], start: int, end: int) -> ast.Space:
        name, base, *body = children
        return ast.Space(
            self.ident(name), base, tuple(body), self.doc(start), self.span(start, end)
        )

    def on_block(self, children: list[Any], start: int, end: int) -> ast.Block:
        name, *rest, result = children
        return ast.Block(
            self.ident(name),
            tuple(r for r in rest if isinstance(r, ast.Formal)),
            tuple(r for r in rest if isinstance(r, ast.Let | ast.Require)),
            result,
            self.doc(start),
            self.span(start, end),
        )

    def on_formal(self, children: list[Any], start: int, end: int) -> ast.Formal:
        return ast.Formal(self.ident(children[0]), None, None, self.span(start, end))

    def on_formal_typed(self, children: list[Any], start: int, end: int) -> ast.Formal:
        name, kind = children
        return ast.Formal(self.ident(name), self.ident(kind), None, self.span(start, end))

    def on_formal_default(self, children: list[Any], start: int, end: int) -> ast.Formal:
        name, default = children
        return ast.Formal(self.ident(name), None, default, self.span(start, end))

    def on_formal_typed_default(self, children: list[Any], start: int, end: int) -> ast.Formal:
        name, kind, default = children
        return ast.Formal(self.ident(name), self.ident(kind), default, self.span(start, end))

    # -------------------------------------------------------------- statements

    def on_param(self, children: list[Any], start: int, end: int) -> ast.Param:
        name, value = children
        return ast.Param(self.ident(name), None, value, self.doc(start), self.span(start, end))

    def on_param_typed(self, children: list[Any], start: int, end: int) -> ast.Param:
        name, kind, value = children
        span = self.span(start, end)
        return ast.Param(self.ident(name), self.ident(kind), value, self.doc(start), span)

    def on_input_(self, children: list[Any], start: int, end: int) -> ast.Input:
        name, *arguments = children
        return ast.Input(self.ident(name), tuple(arguments), self.span(start, end))

    def on_let(self, children: list[Any], start: int, end: int) -> ast.Let:
        return ast.Let(self.ident(children[0]), children[1], self.span(start, end))

    def on_fixed(self, children: list[Any], start: int, end: int) -> ast.Binding:
        name, value = children
        return ast.Binding(self.ident(name), value, self.doc(start), self.span(start, end))

    on_decided = on_fixed

    def on_stream(self, children: list[Any], start: int, end: int) -> ast.Stream:
        name, *rest = children
        arguments = tuple(r for r in rest if isinstance(r, ast.Argument))
        body = tuple(r for r in rest if not isinstance(r, ast.Argument))
        span = self.span(start, end)
        return ast.Stream(self.ident(name), arguments, body, self.doc(start), span)

    def on_stream_amended(self, children: list[Any], start: int, end: int) -> ast.Stream:
        name, *body = children
        span = self.span(start, end)
        return ast.Stream(self.ident(name), None, tuple(body), self.doc(start), span)

    def on_stem(self, children: list[Any], start: int, end: int) -> ast.Stem:
        # The keyword is a named terminal, because paths may name the stem: it comes along.
        return ast.Stem(children[-1], self.span(start, end))

    def on_stage(self, children: list[Any], start: int, end: int) -> ast.Stage:
        name, *rest = children
        arguments = tuple(r for r in rest if isinstance(r, ast.Argument))
        body = tuple(r for r in rest if not isinstance(r, ast.Argument))
        span = self.span(start, end)
        return ast.Stage(self.ident(name), arguments, body, self.doc(start), span)

    def on_stage_plain(self, children: list[Any], start: int, end: int) -> ast.Stage:
        name, *body = children
        span = self.span(start, end)
        return ast.Stage(self.ident(name), None, tuple(body), self.doc(start), span)

    def on_use(self, children: list[Any], start: int, end: int) -> ast.Use:
        return ast.Use(None, children[0], self.span(start, end))

    def on_use_named(self, children: list[Any], start: int, end: int) -> ast.Use:
        return ast.Use(self.ident(children[0]), children[1], self.span(start, end))

    on_use_decided = on_use_named

    def on_repeat(self, children: list[Any], start: int, end: int) -> ast.Repeat:
        count, *body = children
        return ast.Repeat(None, count, tuple(body), self.span(start, end))

    def on_repeat_named(self, children: list[Any], start: int, end: int) -> ast.Repeat:
        name, count, *body = children
        return ast.Repeat(self.ident(name), count, tuple(body), self.span(start, end))

    on_repeat_decided = on_repeat_named

    def on_point(self, children: list[Any], start: int, end: int) -> ast.Ident:
        return self.ident(children[0])

    def on_fuse_fixed(self, children: list[Any], start: int, end: int) -> ast.Fuse:
        source, target, *points, value = children
        return ast.Fuse(
            self.ident(source), self.ident(target), tuple(points), value, self.span(start, end)
        )

    on_fuse_decided = on_fuse_fixed

    def on_attend_fixed(self, children: list[Any], start: int, end: int) -> ast.Attend:
        target, *points, value = children
        return ast.Attend(self.ident(target), tuple(points), value, self.span(start, end))

    on_attend_decided = on_attend_fixed

    def on_head(self, children: list[Any], start: int, end: int) -> ast.Head:
        return ast.Head(children[-1], self.span(start, end))

    def on_require(self, children: list[Any], start: int, end: int) -> ast.Require:
        return ast.Require(children[0], None, self.span(start, end))

    def on_require_else(self, children: list[Any], start: int, end: int) -> ast.Require:
        condition, token = children
        return ast.Require(condition, self.literals.string(token), self.span(start, end))

    def on_moved(self, children: list[Any], start: int, end: int) -> ast.Moved:
        return ast.Moved(children[0], children[1], self.span(start, end))

    def on_decision_path(self, children: list[Any], start: int, end: int) -> ast.DecisionPath:
        text = "".join(self.source.text[start:end].split())
        return ast.DecisionPath(text, self.span(start, end))

    # -------------------------------------------------------------- sections

    def on_search(self, children: list[Any], start: int, end: int) -> ast.Section:
        name, *settings = children
        span = self.span(start, end)
        return ast.Section("search", self.ident(name), tuple(settings), self.doc(start), span)

    def on_train(self, children: list[Any], start: int, end: int) -> ast.Section:
        return ast.Section("train", None, tuple(children), self.doc(start), self.span(start, end))

    def on_evaluate(self, children: list[Any], start: int, end: int) -> ast.Section:
        name, *settings = children
        span = self.span(start, end)
        return ast.Section("evaluate", self.ident(name), tuple(settings), self.doc(start), span)

    def on_assign(self, children: list[Any], start: int, end: int) -> ast.Assign:
        return ast.Assign(self.ident(children[0]), children[1], self.span(start, end))

    def on_budget(self, children: list[Any], start: int, end: int) -> ast.Budget:
        cost, low, high = children
        return ast.Budget(self.ident(cost), low, high, None, self.span(start, end))

    def on_budget_weighted(self, children: list[Any], start: int, end: int) -> ast.Budget:
        cost, low, high, weight = children
        return ast.Budget(self.ident(cost), low, high, weight, self.span(start, end))

    def on_phase(self, children: list[Any], start: int, end: int) -> ast.Phase:
        name, *settings = children
        return ast.Phase(self.ident(name), tuple(settings), self.span(start, end))

    def on_streams(self, children: list[Any], start: int, end: int) -> ast.Streams:
        return ast.Streams(tuple(self.ident(c) for c in children), self.span(start, end))

    def on_learn(self, children: list[Any], start: int, end: int) -> ast.Learn:
        return ast.Learn(tuple(children), self.span(start, end))

    def on_value_range(self, children: list[Any], start: int, end: int) -> ast.ValueRange:
        return ast.ValueRange(children[0], children[1], self.span(start, end))

    def on_record(self, children: list[Any], start: int, end: int) -> ast.RecordValue:
        return ast.RecordValue(tuple(children), self.span(start, end))

    # -------------------------------------------------------------- domains

    def on_options(self, children: list[Any], start: int, end: int) -> tuple[ast.Option, ...]:
        return tuple(children)

    def on_option(self, children: list[Any], start: int, end: int) -> ast.Option:
        weight = children[1] if len(children) > 1 else None
        return ast.Option(children[0], weight, self.span(start, end))

    def on_set_domain(self, children: list[Any], start: int, end: int) -> ast.SetDomain:
        default = children[1] if len(children) > 1 else None
        return ast.SetDomain(children[0], default, self.span(start, end))

    def on_range(self, children: list[Any], start: int, end: int) -> tuple[Any, ...]:
        return tuple(children)

    def on_range_domain(self, children: list[Any], start: int, end: int) -> ast.RangeDomain:
        limits: tuple[Any, ...] = children[0]
        step = limits[2] if len(limits) > 2 else None
        default = children[1] if len(children) > 1 else None
        return ast.RangeDomain(limits[0], limits[1], step, default, self.span(start, end))

    # -------------------------------------------------------------- expressions

    def on_conditional(self, children: list[Any], start: int, end: int) -> ast.Expr:
        node = ast.Conditional(children[0], children[1], children[2], self.span(start, end))
        return self.nested(node, *children)

    def on_pipe(self, children: list[Any], start: int, end: int) -> ast.Expr:
        return self.nested(ast.Pipe(children[0], children[1], self.span(start, end)), *children)

    def on_binary(self, children: list[Any], start: int, end: int) -> ast.Expr:
        left, operator, right = children
        node = ast.Binary(operator.text, left, right, self.span(start, end))
        return self.nested(node, left, right)

    def on_conjunction(self, children: list[Any], start: int, end: int) -> ast.Expr:
        left, right = children
        return self.nested(ast.Binary("and", left, right, self.span(start, end)), left, right)

    def on_disjunction(self, children: list[Any], start: int, end: int) -> ast.Expr:
        left, right = children
        return self.nested(ast.Binary("or", left, right, self.span(start, end)), left, right)

    def on_unary(self, children: list[Any], start: int, end: int) -> ast.Expr:
        operand = children[-1]
        span = self.span(start, end)
        negative = len(children) == 2
        node = ast.Unary("-", operand, span) if negative else ast.Unary("not", operand, span)
        return self.nested(node, operand)

    def on_call(self, children: list[Any], start: int, end: int) -> ast.Expr:
        function, *arguments = children
        node = ast.Call(function, tuple(arguments), self.span(start, end))
        return self.nested(node, function, *(a.value for a in arguments))

    def on_member(self, children: list[Any], start: int, end: int) -> ast.Expr:
        node = ast.Member(children[0], self.ident(children[1]), self.span(start, end))
        return self.nested(node, children[0])

    def on_index(self, children: list[Any], start: int, end: int) -> ast.Expr:
        node = ast.Index(children[0], children[1], self.span(start, end))
        return self.nested(node, children[0], children[1])

    def on_argument(self, children: list[Any], start: int, end: int) -> ast.Argument:
        value = children[0]
        if isinstance(value, ast.Argument):
            return value
        return ast.Argument(None, value, self.span(start, end))

    def on_argument_fixed(self, children: list[Any], start: int, end: int) -> ast.Argument:
        return ast.Argument(self.ident(children[0]), children[1], self.span(start, end))

    on_argument_decided = on_argument_fixed

    def on_number(self, children: list[Any], start: int, end: int) -> ast.Number | ast.Time:
        token: Token = children[0]
        if token.text.endswith("s"):
            return ast.Time(self.literals.time(token), self.span(start, end))
        return ast.Number(self.literals.number(token), self.span(start, end))

    def on_dims(self, children: list[Any], start: int, end: int) -> ast.DimsLiteral:
        return ast.DimsLiteral(self.literals.dims(children[0]), self.span(start, end))

    def on_string(self, children: list[Any], start: int, end: int) -> ast.Text:
        return ast.Text(self.literals.string(children[0]), self.span(start, end))

    def on_boolean(self, children: list[Any], start: int, end: int) -> ast.Bool:
        return ast.Bool(children[0].text == "true", self.span(start, end))

    def on_name(self, children: list[Any], start: int, end: int) -> ast.Name:
        return ast.Name(children[0].text, self.span(start, end))

    def on_name_path(self, children: list[Any], start: int, end: int) -> ast.Member:
        first, second = children
        module = ast.Name(first.text, self.span(first.start, first.end))
        return ast.Member(module, self.ident(second), self.span(start, end))
