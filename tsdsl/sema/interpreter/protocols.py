"""The two protocols of the interpreter: what it needs of the space, and what its parts need of it.

An expression adds to the space in which it stands: a call of an operation is a node of the graph,
``width ~ {8, 16}`` is a decision. The interpreter hands these to a `SpaceRecorder` and knows
nothing else of the space. The compiler's recorder is `tsdsl.sema.builder.draft.SpaceDraft`;
``tests/sema/test_interpreter.py`` has another one.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from tsdsl.diagnostics import Span
from tsdsl.ir.graph import Edge, Guard, Node
from tsdsl.ir.space import Decision, Requirement
from tsdsl.ir.values import Val
from tsdsl.record import Record
from tsdsl.sema.scope import Env, Value
from tsdsl.syntax import ast


class Override(Record):
    """A value from ``--set``, as the user gave it. ``key`` is the path under which it was given,
    which may be an earlier path of a decision that has moved."""

    key: str
    value: Any


class SpaceRecorder(Protocol):
    """The space under construction, as the interpreter sees it."""

    def place(self, node: Node, span: Span) -> None:
        """Append a node to the region that is being filled."""

    def region(self, guard: Guard | None = None) -> AbstractContextManager[list[Node]]:
        """A region of its own: collects the nodes that are placed inside. With ``guard``, they run
        only under that condition."""

    def reserve(self, path: str, span: Span) -> Span | None:
        """Reserve the path of a decision. Returns None, or the place of the decision that has this
        path already."""

    def documentation(self, path: str) -> str:
        """The documentation comment of a decision; empty without one."""

    def override_of(self, path: str) -> Override | None:
        """The value that ``--set`` gives a decision. It counts as used from then on."""

    def add_decision(self, decision: Decision) -> None: ...

    def add_requirement(self, requirement: Requirement) -> None: ...


class Evaluator(Protocol):
    """The evaluation of expressions, for the parts of the interpreter that meet inner ones: in the
    body of a block that is applied, in the options of a decision."""

    def evaluate(self, node: ast.Expr, env: Env) -> Value: ...

    def plain(self, node: ast.Expr, env: Env, what: str = "a plain value") -> Val: ...

    def tensor(self, node: ast.Expr, env: Env) -> Edge: ...

    def require(self, statement: ast.Require, env: Env) -> None: ...
