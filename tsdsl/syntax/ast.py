"""The syntax tree of a `.tsnet` file: immutable nodes, each with its span.

Only `tsdsl.syntax` handles tokens; all later passes work on these classes. They are named after the
grammar and are always written with the module's name (``ast.Stage``), because other packages have
classes for what a stage or a section means.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, cast

from tsdsl.diagnostics import Source, Span
from tsdsl.record import Record as SyntaxNode


class Ident(SyntaxNode):
    """A name that is declared or referred to, with its place."""

    text: str
    span: Span


class Comment(SyntaxNode):
    """A comment, kept for the formatter. ``doc`` marks a documentation comment, ``///``."""

    text: str
    span: Span
    doc: bool


# ------------------------------------------------------------------ expressions


class Number(SyntaxNode):
    value: int | float
    span: Span


class Time(SyntaxNode):
    """A number with a unit of time; ``value`` is in nanoseconds."""

    value: int
    span: Span


class DimsLiteral(SyntaxNode):
    value: tuple[int, int, int]
    span: Span


class Text(SyntaxNode):
    value: str
    span: Span


class Bool(SyntaxNode):
    value: bool
    span: Span


class Name(SyntaxNode):
    text: str
    span: Span


class Member(SyntaxNode):
    object: Expr
    name: Ident
    span: Span


class Index(SyntaxNode):
    object: Expr
    index: Expr
    span: Span


class Argument(SyntaxNode):
    """``value``, ``name = value`` or ``name ~ domain``."""

    name: Ident | None
    value: Expr | Domain | ValueRange | RecordValue
    span: Span


class Call(SyntaxNode):
    function: Expr
    arguments: tuple[Argument, ...]
    span: Span


class Unary(SyntaxNode):
    operator: Literal["-", "not"]
    operand: Expr
    span: Span


class Binary(SyntaxNode):
    operator: str
    left: Expr
    right: Expr
    span: Span


class Conditional(SyntaxNode):
    condition: Expr
    then: Expr
    otherwise: Expr
    span: Span


class Pipe(SyntaxNode):
    """``value -> function``: the function is applied to the value as its first tensor."""

    value: Expr
    function: Expr
    span: Span


Expr = (
    Number
    | Time
    | DimsLiteral
    | Text
    | Bool
    | Name
    | Member
    | Index
    | Call
    | Unary
    | Binary
    | Conditional
    | Pipe
)


# ------------------------------------------------------------------ domains and setting values


class Option(SyntaxNode):
    value: Expr
    weight: Expr | None
    span: Span


class SetDomain(SyntaxNode):
    options: tuple[Option, ...]
    default: Expr | None
    span: Span


class RangeDomain(SyntaxNode):
    low: Expr
    high: Expr
    step: Expr | None
    default: Expr | None
    span: Span


Domain = SetDomain | RangeDomain


class ValueRange(SyntaxNode):
    """``182..228`` as the value of a setting."""

    low: Expr
    high: Expr
    span: Span


class RecordValue(SyntaxNode):
    """``(weights=0.4, arch=0.015)`` as the value of a setting."""

    fields: tuple[Argument, ...]
    span: Span


# ------------------------------------------------------------------ statements


class Param(SyntaxNode):
    name: Ident
    type: Ident | None
    value: Expr
    doc: str
    span: Span


class Input(SyntaxNode):
    name: Ident
    arguments: tuple[Argument, ...]
    span: Span


class Let(SyntaxNode):
    name: Ident
    value: Expr
    span: Span


class Binding(SyntaxNode):
    """``name = value`` (fixed) or ``name ~ domain`` (decided)."""

    name: Ident
    value: Expr | Domain
    doc: str
    span: Span


class Stem(SyntaxNode):
    call: Expr
    span: Span


class Use(SyntaxNode):
    """``use call``, ``use name = call`` or ``use name ~ {calls}``."""

    name: Ident | None
    value: Expr | Domain
    span: Span


class Repeat(SyntaxNode):
    """``repeat count``, ``repeat name = count`` or ``repeat name ~ counts``."""

    name: Ident | None
    count: Expr | Domain
    body: tuple[InStage, ...]
    span: Span


class Stage(SyntaxNode):
    """A stage. Without parentheses ``arguments`` is None: it has stride 1 then, or amends the stage
    of that name in the base."""

    name: Ident
    arguments: tuple[Argument, ...] | None
    body: tuple[InStage, ...]
    doc: str
    span: Span


class Stream(SyntaxNode):
    """A stream. Without parentheses ``arguments`` is None: it amends the stream of that name in the
    base then."""

    name: Ident
    arguments: tuple[Argument, ...] | None
    body: tuple[InStream, ...]
    doc: str
    span: Span


class Fuse(SyntaxNode):
    source: Ident
    target: Ident
    points: tuple[Ident, ...]
    value: Expr | Domain
    span: Span


class Attend(SyntaxNode):
    target: Ident
    points: tuple[Ident, ...]
    value: Expr | Domain
    span: Span


class Head(SyntaxNode):
    value: Expr
    span: Span


class Require(SyntaxNode):
    condition: Expr
    message: str | None
    span: Span


class DecisionPath(SyntaxNode):
    """The path of a decision, or the beginning of one, without blanks."""

    text: str
    span: Span


class Moved(SyntaxNode):
    old: DecisionPath
    new: DecisionPath
    span: Span


# ------------------------------------------------------------------ sections


class Assign(SyntaxNode):
    name: Ident
    value: Expr | ValueRange | RecordValue
    span: Span


class Budget(SyntaxNode):
    cost: Ident
    low: Expr
    high: Expr
    weight: Expr | None
    span: Span


class Streams(SyntaxNode):
    names: tuple[Ident, ...]
    span: Span


class Learn(SyntaxNode):
    targets: tuple[DecisionPath, ...]
    span: Span


class Phase(SyntaxNode):
    name: Ident
    settings: tuple[Setting, ...]
    span: Span


Setting = Assign | Budget | Streams | Learn | Phase


class Section(SyntaxNode):
    """``search ALGORITHM { }``, ``train { }`` or ``evaluate NAME { }``."""

    kind: Literal["search", "train", "evaluate"]
    name: Ident | None
    settings: tuple[Setting, ...]
    doc: str
    span: Span


InStage = Let | Binding | Use | Repeat | Require
InStream = Let | Binding | Stem | Stage | Require
Statement = (
    Param | Input | Let | Binding | Stream | Fuse | Attend | Head | Require | Moved | Section
)


# ------------------------------------------------------------------ declarations


class Import(SyntaxNode):
    path: str
    alias: Ident
    span: Span


class Formal(SyntaxNode):
    name: Ident
    type: Ident | None
    default: Expr | None
    span: Span


class Block(SyntaxNode):
    name: Ident
    formals: tuple[Formal, ...]
    body: tuple[Let | Require, ...]
    result: Expr
    doc: str
    span: Span


class Space(SyntaxNode):
    name: Ident
    base: Name | Member | None
    body: tuple[Statement, ...]
    doc: str
    span: Span


class Module(SyntaxNode):
    source: Source
    version: int
    imports: tuple[Import, ...]
    spaces: tuple[Space, ...]
    blocks: tuple[Block, ...]
    comments: tuple[Comment, ...] = ()


# ------------------------------------------------------------------ traversal


def descendants(node: Any, without: object = None) -> Iterator[Any]:
    """A node, or the nodes of a sequence, and all nodes in them, except ``without`` and what is in
    it."""
    if node is without and node is not None:
        return
    if isinstance(node, tuple | list):
        for part in cast(Sequence[Any], node):
            yield from descendants(part, without)
    elif isinstance(node, SyntaxNode) and not isinstance(node, Span):
        yield node
        for field in cast(Any, node).__match_args__:
            yield from descendants(getattr(node, field), without)
