"""The syntax tree of a `.tsnet` file: frozen, and every node knows its span.

Lark's trees and tokens stop at `tsdsl.syntax.builder`; everything after works on these classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tsdsl.diagnostics import Source, Span


@dataclass(frozen=True, slots=True)
class Ident:
    """A name with its place."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment, kept for the formatter. ``doc`` for ``///``."""

    text: str
    span: Span
    doc: bool


# ------------------------------------------------------------------ expressions


@dataclass(frozen=True, slots=True)
class Number:
    value: int | float
    span: Span


@dataclass(frozen=True, slots=True)
class DimsLiteral:
    value: tuple[int, int, int]
    span: Span


@dataclass(frozen=True, slots=True)
class Text:
    value: str
    span: Span


@dataclass(frozen=True, slots=True)
class Bool:
    value: bool
    span: Span


@dataclass(frozen=True, slots=True)
class Name:
    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Member:
    object: Expr
    name: Ident
    span: Span


@dataclass(frozen=True, slots=True)
class Index:
    object: Expr
    index: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Argument:
    """``value``, ``name = value`` or ``name ~ domain``."""

    name: Ident | None
    value: Expr | Domain | ValueRange | Record
    span: Span


@dataclass(frozen=True, slots=True)
class Call:
    function: Expr
    arguments: tuple[Argument, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Unary:
    operator: Literal["-", "not"]
    operand: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Binary:
    operator: str
    left: Expr
    right: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Conditional:
    condition: Expr
    then: Expr
    otherwise: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Pipe:
    """``value -> function``: the value becomes the first tensor argument."""

    value: Expr
    function: Expr
    span: Span


Expr = (
    Number
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


@dataclass(frozen=True, slots=True)
class Option:
    value: Expr
    weight: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class SetDomain:
    options: tuple[Option, ...]
    default: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class RangeDomain:
    low: Expr
    high: Expr
    step: Expr | None
    default: Expr | None
    span: Span


Domain = SetDomain | RangeDomain


@dataclass(frozen=True, slots=True)
class ValueRange:
    """``182..228`` as the value of a setting."""

    low: Expr
    high: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Record:
    """``(weights=0.4, arch=0.015)``."""

    fields: tuple[Argument, ...]
    span: Span


# ------------------------------------------------------------------ statements


@dataclass(frozen=True, slots=True)
class Param:
    name: Ident
    type: Ident | None
    value: Expr
    doc: str
    span: Span


@dataclass(frozen=True, slots=True)
class Input:
    name: Ident
    arguments: tuple[Argument, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Let:
    name: Ident
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Binding:
    """``name = value`` (fixed) or ``name ~ domain`` (decided)."""

    name: Ident
    value: Expr | Domain
    doc: str
    span: Span


@dataclass(frozen=True, slots=True)
class Stem:
    call: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Use:
    """``use call``, ``use name = call`` or ``use name ~ {calls}``."""

    name: Ident | None
    value: Expr | Domain
    span: Span


@dataclass(frozen=True, slots=True)
class Repeat:
    """``repeat count``, ``repeat name = count`` or ``repeat name ~ counts``."""

    name: Ident | None
    count: Expr | Domain
    body: tuple[InStage, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Stage:
    """``arguments`` is None without parentheses: a stage of stride 1, or an amendment."""

    name: Ident
    arguments: tuple[Argument, ...] | None
    body: tuple[InStage, ...]
    doc: str
    span: Span


@dataclass(frozen=True, slots=True)
class Stream:
    """``arguments`` is None for an amendment of the base's stream."""

    name: Ident
    arguments: tuple[Argument, ...] | None
    body: tuple[InStream, ...]
    doc: str
    span: Span


@dataclass(frozen=True, slots=True)
class Fuse:
    source: Ident
    target: Ident
    points: tuple[Ident, ...]
    value: Expr | Domain
    span: Span


@dataclass(frozen=True, slots=True)
class Attend:
    target: Ident
    points: tuple[Ident, ...]
    value: Expr | Domain
    span: Span


@dataclass(frozen=True, slots=True)
class Head:
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Require:
    condition: Expr
    message: str | None
    span: Span


@dataclass(frozen=True, slots=True)
class DecisionPath:
    """A decision's path, or the beginning of one, as it was written."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Moved:
    old: DecisionPath
    new: DecisionPath
    span: Span


# ------------------------------------------------------------------ sections


@dataclass(frozen=True, slots=True)
class Assign:
    name: Ident
    value: Expr | ValueRange | Record
    span: Span


@dataclass(frozen=True, slots=True)
class Budget:
    cost: Ident
    low: Expr
    high: Expr
    weight: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class Streams:
    names: tuple[Ident, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Learn:
    targets: tuple[DecisionPath, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Phase:
    name: Ident
    settings: tuple[Setting, ...]
    span: Span


Setting = Assign | Budget | Streams | Learn | Phase


@dataclass(frozen=True, slots=True)
class Section:
    """``search ALGORITHM { }``, ``train { }`` or ``evaluate NAME { }``."""

    kind: Literal["search", "train", "evaluate"]
    name: Ident | None
    settings: tuple[Setting, ...]
    doc: str
    span: Span


InStage = Let | Binding | Use | Repeat | Require
InStream = Let | Binding | Stem | Stage | Require
Statement = (
    Param
    | Input
    | Let
    | Binding
    | Stream
    | Fuse
    | Attend
    | Head
    | Require
    | Moved
    | Section
)


# ------------------------------------------------------------------ declarations


@dataclass(frozen=True, slots=True)
class Import:
    path: str
    alias: Ident
    span: Span


@dataclass(frozen=True, slots=True)
class Formal:
    name: Ident
    type: Ident | None
    default: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class Block:
    name: Ident
    formals: tuple[Formal, ...]
    body: tuple[Let | Require, ...]
    result: Expr
    doc: str
    span: Span


@dataclass(frozen=True, slots=True)
class Space:
    name: Ident
    base: Name | Member | None
    body: tuple[Statement, ...]
    doc: str
    span: Span


@dataclass(frozen=True, slots=True)
class Module:
    source: Source
    version: int
    imports: tuple[Import, ...]
    spaces: tuple[Space, ...]
    blocks: tuple[Block, ...]
    comments: tuple[Comment, ...] = field(default=(), repr=False)
