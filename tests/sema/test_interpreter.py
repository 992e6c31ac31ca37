"""The interpreter of expressions without a builder: the protocol is all that it needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tsdsl.diagnostics import Collector, Source, Span
from tsdsl.ir.graph import Edge, Guard, Node, OpNode
from tsdsl.ir.space import Decision, Requirement
from tsdsl.ir.values import Val, Variable, constant, of_variable
from tsdsl.sema.context import Context
from tsdsl.sema.interpreter.interpreter import Interpreter
from tsdsl.sema.interpreter.protocols import Override
from tsdsl.sema.modules import Loader
from tsdsl.sema.scope import Env, Scope, Value
from tsdsl.syntax import ast


class Recorder:
    """A space that only remembers what it is given."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.decisions: list[Decision] = []
        self.requirements: list[Requirement] = []
        self.overrides: dict[str, str] = {}

    def place(self, node: Node, span: Span) -> None:
        self.nodes.append(node)

    @contextmanager
    def region(self, guard: Guard | None = None) -> Iterator[list[Node]]:
        outer, self.nodes = self.nodes, []
        try:
            yield self.nodes
        finally:
            self.nodes = outer

    def reserve(self, path: str, span: Span) -> Span | None:
        return None

    def documentation(self, path: str) -> str:
        return f"about {path}"

    def override_of(self, path: str) -> Override | None:
        return Override(path, self.overrides[path]) if path in self.overrides else None

    def add_decision(self, decision: Decision) -> None:
        self.decisions.append(decision)

    def add_requirement(self, requirement: Requirement) -> None:
        self.requirements.append(requirement)


class Bench:
    """An interpreter over a recorder, and a scope with a tensor ``x`` and an open width ``w``."""

    def __init__(self) -> None:
        self.findings = Collector()
        self.loader = Loader(self.findings)
        self.context = Context(self.findings, self.loader)
        self.space = Recorder()
        self.interpreter = Interpreter(self.context, self.space)
        self.scope = Scope("s", kind="stage")
        self.scope.names["x"] = Edge(constant((8, 4, 16, 16)), "x")
        self.width: Variable = self.context.variable("w", (8, 16))
        self.scope.names["w"] = of_variable(self.width)
        self.guard = Guard(of_variable(self.width), 0)

    def parsed(self, text: str) -> tuple[ast.Expr, Env]:
        """An expression, and where it is evaluated. No file holds its text."""
        source = f"tsnet 1\nspace S {{ let v = {text}\n}}"
        module = self.loader.load_text(source, "s.tsnet", Path("s.tsnet"))
        statement = module.tree.spaces[0].body[0]
        assert isinstance(statement, ast.Let)
        return statement.value, Env(self.scope, module, decisions=self.scope)

    def value(self, text: str) -> Value:
        return self.interpreter.evaluate(*self.parsed(text))


def test_values_are_tables_over_decisions() -> None:
    bench = Bench()
    value = bench.value("if w > 8 then 2 * w else 1")
    assert isinstance(value, Val)
    assert value.variables == (bench.width,) and value.entries == (1, 32)
    assert not len(bench.findings)


def test_an_applied_operation_is_placed_in_the_space() -> None:
    bench = Bench()
    value = bench.value("x -> conv(w, 1x3x3)")
    assert isinstance(value, Edge)
    assert [shape[0] for shape in value.shape.entries] == [8, 16]
    (node,) = bench.space.nodes
    assert isinstance(node, OpNode) and node.output is value


def test_a_domain_in_a_call_is_a_decision_of_the_space() -> None:
    bench = Bench()
    bench.value("conv(width ~ 8..32 step 8)")
    (decision,) = bench.space.decisions
    assert (decision.path, decision.options) == ("s.width", (8, 16, 24, 32))
    assert decision.doc == "about s.width"


def test_an_override_fixes_a_decision() -> None:
    bench = Bench()
    bench.space.overrides["s.width"] = "24"
    bench.value("conv(width ~ 8..32 step 8)")
    assert bench.space.decisions == []
    assert bench.scope.names["width"].value == 24


def test_a_requirement_is_handed_to_the_space_with_the_conditions_of_what_it_reads() -> None:
    bench = Bench()
    bench.scope.conditions["w"] = (bench.guard,)
    condition, env = bench.parsed("w < 16")
    bench.interpreter.require(ast.Require(condition, "narrow", condition.span), env)
    (requirement,) = bench.space.requirements
    assert requirement.guards == (bench.guard,)
    assert (requirement.message, requirement.text) == ("narrow", "w < 16")


def test_reads_are_scoped() -> None:
    """An inner scope of reads keeps its guards, passes its names on, and leaves nothing behind."""
    bench = Bench()
    bench.scope.conditions["w"] = (bench.guard,)
    with bench.interpreter.reads() as outer:
        bench.value("1 + 1")
        with bench.interpreter.reads() as inner:
            bench.value("w + w")
        assert inner.guards == [bench.guard, bench.guard] and outer.guards == []
    assert outer.names == inner.names == {("s", "w")}
    with bench.interpreter.reads() as later:
        bench.value("2")
    assert later.names == set() and later.guards == []


def test_the_reads_of_a_failed_expression_are_dropped() -> None:
    bench = Bench()
    bench.scope.conditions["w"] = (bench.guard,)
    source = Source("a", "b")
    with bench.interpreter.reads() as outer:
        try:
            with bench.interpreter.reads():
                bench.value("w")
                bench.context.too_large("stop", Span(source, 0, 1))
        except Exception as stopped:
            assert type(stopped).__name__ == "TooManyFindings"
        bench.value("3")
    assert outer.guards == []
