"""The space under construction: nodes, decisions and requirements, in the order of the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tsdsl.diagnostics import Span
from tsdsl.ir.graph import Guard, Node
from tsdsl.ir.space import Decision, Requirement
from tsdsl.sema.builder.overrides import Overrides
from tsdsl.sema.context import Context
from tsdsl.sema.interpreter.protocols import Override

#: A space with more operations than this is taken for a mistake (``repeat 1000000000``).
MAX_NODES = 40_000


class SpaceDraft:
    """What a space consists of so far; the `SpaceRecorder` of its interpreter."""

    def __init__(self, context: Context, overrides: Overrides) -> None:
        self.context = context
        self.overrides = overrides
        self.nodes: list[Node] = []
        self.decisions: list[Decision] = []
        self.requirements: list[Requirement] = []
        #: Path of a decision -> its documentation comment.
        self.docs: dict[str, str] = {}
        #: Path of a decision -> the place where it is declared, even if it is broken.
        self.declared: dict[str, Span] = {}
        self._count = 0

    def place(self, node: Node, span: Span) -> None:
        self._count += 1
        if self._count > MAX_NODES:
            self.context.too_large(f"this space has more than {MAX_NODES:,} operations", span)
        self.nodes.append(node)

    @contextmanager
    def region(self, guard: Guard | None = None) -> Iterator[list[Node]]:
        outer, guards = self.nodes, self.context.guards
        nodes: list[Node] = []
        self.nodes = nodes
        if guard is not None and not guard.selector.is_constant:
            self.context.guards = (*guards, guard)
        try:
            yield nodes
        finally:
            self.nodes, self.context.guards = outer, guards

    def reserve(self, path: str, span: Span) -> Span | None:
        first = self.declared.get(path)
        if first is None:
            self.declared[path] = span
        return first

    def documentation(self, path: str) -> str:
        return self.docs.get(path, "")

    def override_of(self, path: str) -> Override | None:
        return self.overrides.take(path)

    def add_decision(self, decision: Decision) -> None:
        self.decisions.append(decision)

    def add_requirement(self, requirement: Requirement) -> None:
        self.requirements.append(requirement)
