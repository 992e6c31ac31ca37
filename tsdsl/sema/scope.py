"""What names stand for while a space is elaborated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tsdsl.diagnostics import Span
from tsdsl.ir.graph import BlockInfo, Edge, Guard, Path
from tsdsl.ir.op import Op
from tsdsl.ir.values import Val
from tsdsl.record import MutableRecord, Record, factory
from tsdsl.sema.modules import LoadedModule
from tsdsl.syntax import ast

#: Operations that give back the tensor that they are applied to.
IDENTITIES = ("none", "skip")


class BlockRef(Record):
    """A block's definition in its module."""

    tree: ast.Block
    module: LoadedModule
    info: BlockInfo
    #: Call expression (by identity) -> the name of the submodule that it makes.
    sites: dict[int, str]


class OpValue(MutableRecord):
    """An operation or block with some of its arguments: a value of type ``op``.

    ``callee`` None is the identity (``none``, ``skip``). Options of a decision are such values, so
    they are compared by identity; a decision's are created empty and filled in.
    """

    callee: type[Op] | BlockRef | None
    name: str
    args: dict[str, Val] = factory(default_factory=dict)
    #: Where each argument was written.
    spans: dict[str, Span] = factory(default_factory=dict)

    def fill(self, other: OpValue) -> None:
        self.callee, self.name = other.callee, other.name
        self.args, self.spans = other.args, other.spans

    def __str__(self) -> str:
        return self.name


class Scope(MutableRecord):
    """A named part of a space: the space, a stream, a stage, a block of a stage.

    Names are looked up here and then outwards. ``guards`` tell when the part runs.
    """

    path: str
    parent: Scope | None = None
    names: dict[str, Any] = factory(default_factory=dict)
    declared: dict[str, Span] = factory(default_factory=dict)
    #: Guards of the parts of the space that the value of a name was read from.
    conditions: dict[str, tuple[Guard, ...]] = factory(default_factory=dict)
    guards: tuple[Guard, ...] = ()
    #: The tensor after this part.
    output: Edge | None = None
    #: Blocks of a stage by position.
    items: dict[int, Scope] = factory(default_factory=dict)
    kind: str = "scope"

    def child(self, path: str, kind: str = "scope") -> Scope:
        return Scope(path, self, guards=self.guards, kind=kind)

    def lookup(self, name: str) -> Any:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.parent
        return None

    def owner(self, name: str) -> str | None:
        """The path of the part of the space that has a name; None for a block."""
        scope: Scope | None = self
        while scope is not None and name not in scope.names:
            scope = scope.parent
        return None if scope is None or scope.kind == "block" else scope.path

    def conditions_of(self, name: str) -> tuple[Guard, ...]:
        scope: Scope | None = self
        while scope is not None and name not in scope.names:
            scope = scope.parent
        return scope.conditions.get(name, ()) if scope else ()

    def join(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def visible(self) -> Iterator[str]:
        scope: Scope | None = self
        while scope is not None:
            yield from scope.names
            scope = scope.parent


class Env(MutableRecord):
    """Where an expression is evaluated: its names, its module, and the names of its call sites."""

    scope: Scope
    module: LoadedModule
    #: The block whose body it is; None in a space.
    block: BlockRef | None = None
    sites: dict[int, str] = factory(default_factory=dict)
    #: Decisions written inline belong here; None where none may be written.
    decisions: Scope | None = None
    #: Path from the enclosing block call (or the space) to what is applied here.
    prefix: Path = ()

    def path(self, node: ast.Expr, default: str) -> Path:
        """The path of what an expression applies."""
        return (*self.prefix, self.sites.get(id(node), default))


Value = Val | Edge | Scope | LoadedModule
