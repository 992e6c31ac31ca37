"""Scopes, and what names stand for in them while a space is elaborated."""

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

#: Names of the identity: an operation that returns the tensor that it is applied to.
IDENTITIES = ("none", "skip")


class BlockRef(Record):
    """A block as something that can be applied: its definition, and the module it stands in."""

    tree: ast.Block
    module: LoadedModule
    info: BlockInfo
    #: Identity of a call expression -> name of the submodule that the call makes.
    sites: dict[int, str]


class OpValue(MutableRecord):
    """An operation or block with some of its arguments: a value of type ``op``.

    Equality is identity, because the options of a decision are told apart by it.
    """

    #: None for the identity (``none``, ``skip``).
    callee: type[Op] | BlockRef | None
    name: str
    args: dict[str, Val] = factory(default_factory=dict)
    #: Name of an argument -> the place where it is written.
    spans: dict[str, Span] = factory(default_factory=dict)

    def fill(self, other: OpValue) -> None:
        """Become another operation. Options with decisions of their own are created empty, because
        the variable of the outer decision must exist before theirs."""
        self.callee, self.name = other.callee, other.name
        self.args, self.spans = other.args, other.spans

    def __str__(self) -> str:
        return self.name


class Scope(MutableRecord):
    """A part of a space with names: the space itself, a stream, a stage, a block of a stage.

    A name is looked up here, and then in the parents.
    """

    path: str
    parent: Scope | None = None
    names: dict[str, Any] = factory(default_factory=dict)
    #: Name -> the place of its declaration, even if its value is broken.
    declared: dict[str, Span] = factory(default_factory=dict)
    #: Name -> guards of the parts of the space that its value was read from.
    conditions: dict[str, tuple[Guard, ...]] = factory(default_factory=dict)
    #: The conditions under which the part runs.
    guards: tuple[Guard, ...] = ()
    #: The tensor after this part.
    output: Edge | None = None
    #: Position of a block in a stage -> its scope.
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
        """The path of the part of the space that declares a name; None for a name of a block."""
        scope: Scope | None = self
        while scope is not None and name not in scope.names:
            scope = scope.parent
        return None if scope is None or scope.kind == "block" else scope.path

    def conditions_of(self, name: str) -> tuple[Guard, ...]:
        """Guards of the parts of the space that the value of a name was read from."""
        scope: Scope | None = self
        while scope is not None and name not in scope.names:
            scope = scope.parent
        return scope.conditions.get(name, ()) if scope else ()

    def join(self, name: str) -> str:
        """The path of a name in this part."""
        return f"{self.path}.{name}" if self.path else name

    def visible(self) -> Iterator[str]:
        """All names that can be read here."""
        scope: Scope | None = self
        while scope is not None:
            yield from scope.names
            scope = scope.parent


class Env(MutableRecord):
    """The environment of an expression: its scope, its module, and the names of its calls."""

    scope: Scope
    module: LoadedModule
    #: The block in whose body the expression stands; None in a space.
    block: BlockRef | None = None
    sites: dict[int, str] = factory(default_factory=dict)
    #: Where decisions in the expression (``f(width ~ {8, 16})``) are declared; None where none are
    #: allowed.
    decisions: Scope | None = None
    #: Path from the enclosing call of a block, or from the space, to the operations applied here.
    prefix: Path = ()

    def path(self, node: ast.Expr, default: str) -> Path:
        """The path of the operation that an expression applies."""
        return (*self.prefix, self.sites.get(id(node), default))


Value = Val | Edge | Scope | LoadedModule
