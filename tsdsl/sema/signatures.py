"""Signatures of operations and blocks: names and types of their plain parameters."""

from __future__ import annotations

import types
import typing
from functools import cache
from typing import Any

from tsdsl.ir.op import Op
from tsdsl.record import Record
from tsdsl.sema.functions import is_number, type_name
from tsdsl.syntax import ast

#: Types of the parameters of blocks. A parameter without type and default is a tensor.
TYPES = ("int", "ratio", "bool", "dims", "string", "op", "tensor")


class Parameter(Record, eq=True):
    """A plain parameter of an operation or block."""

    name: str
    #: None where any plain value is accepted here: pydantic checks it with the operation.
    type: str | None
    required: bool


@cache
def of_op(op: type[Op]) -> tuple[Parameter, ...]:
    """The arguments of a primitive operation, in call order."""
    return tuple(
        Parameter(name, _annotation_type(field.annotation), field.is_required())
        for name, field in op.Args.model_fields.items()
    )


def of_block(tree: ast.Block) -> tuple[Parameter, ...]:
    """The plain parameters of a block, in call order."""
    return tuple(
        Parameter(f.name.text, f.type.text if f.type else None, f.default is None)
        for f in tree.formals
        if not is_tensor(f)
    )


def is_tensor(formal: ast.Formal) -> bool:
    """A parameter without a type or default is a tensor."""
    if formal.type is None:
        return formal.default is None
    return formal.type.text == "tensor"


def fits(value: Any, wanted: str | None) -> bool:
    """Whether a plain value has a type. An int is also a ratio; a ratio is never an int."""
    if wanted not in TYPES:
        return True
    if wanted == "ratio":
        return is_number(value)
    return type_name(value) == wanted


def _annotation_type(annotation: Any) -> str | None:
    """The language's type for the annotation of an argument; None for a union of types."""
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        kinds = [a for a in typing.get_args(annotation) if a is not type(None)]
        return _annotation_type(kinds[0]) if len(kinds) == 1 else None
    if typing.get_origin(annotation) is tuple:
        return "dims"
    if typing.get_origin(annotation) is typing.Literal:
        values = {type(v) for v in typing.get_args(annotation)}
        return "string" if values == {str} else "int" if values == {int} else None
    return {int: "int", float: "ratio", bool: "bool", str: "string"}.get(annotation)
