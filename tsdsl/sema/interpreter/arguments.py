"""Arguments bound to the parameters of an operation or a block, and their types checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tsdsl.diagnostics import Label, Span, did_you_mean
from tsdsl.ir.values import Fault, Val
from tsdsl.sema import signatures
from tsdsl.sema.context import SILENT, Context
from tsdsl.sema.functions import ValueFault, show, type_name
from tsdsl.sema.scope import BlockRef, OpValue
from tsdsl.sema.signatures import Parameter

#: A value and the place where it is written.
Argument = tuple[Val, Span]


def parameters_of(operation: OpValue) -> tuple[Parameter, ...]:
    """The plain parameters of an operation or block, bound ones included; none of the identity."""
    if operation.callee is None:
        return ()
    if isinstance(operation.callee, BlockRef):
        return signatures.of_block(operation.callee.tree)
    return signatures.of_op(operation.callee)


def declaration(operation: OpValue) -> list[Label]:
    """A label at the declaration of a block; none for a primitive operation."""
    if isinstance(operation.callee, BlockRef):
        return [Label(operation.callee.tree.name.span, "declared here")]
    return []


def bind(
    operation: Val,
    positional: Sequence[Argument],
    named: Mapping[str, Argument],
    span: Span,
    context: Context,
) -> Val:
    """The same operations with more of their arguments bound."""

    def one(value: Any) -> Any:
        if not isinstance(value, OpValue):
            raise ValueFault("E0301", f"{show(value)} ({type_name(value)}) cannot be called")
        return _bind_one(value, positional, named, context) or SILENT

    return context.lift(one, span, operation)


def _bind_one(
    operation: OpValue,
    positional: Sequence[Argument],
    named: Mapping[str, Argument],
    context: Context,
) -> OpValue | None:
    """One operation with its arguments; None where they do not fit, which is reported."""
    fine = True
    known = {p.name: p for p in parameters_of(operation)}
    free = [name for name in known if name not in operation.args]
    if len(positional) > len(free):
        fine = False
        takes = ", ".join(free) or "none"
        context.error(
            "E0304",
            f"{operation.name} takes {len(free)} argument{'s' if len(free) != 1 else ''} "
            f"by position, not {len(positional)}",
            positional[len(free)][1],
            f"its arguments are: {takes}" if free else "leave out the parentheses",
            declaration(operation),
        )
    given = dict(zip(free, positional, strict=False))
    for name, (val, place) in named.items():
        if name not in known:
            fine = False
            context.error(
                "E0306",
                f"{operation.name} has no argument '{name}'",
                place,
                did_you_mean(name, known, "it has: " + (", ".join(known) or "none")),
                declaration(operation),
            )
        elif name in operation.args or name in given:
            fine = False
            context.error("E0305", f"'{name}' is given twice", place)
        else:
            given[name] = (val, place)
    bound = OpValue(operation.callee, operation.name, dict(operation.args), dict(operation.spans))
    for name, (val, place) in given.items():
        bound.args[name] = checked(operation, known[name], val, place, context)
        bound.spans[name] = place
    return bound if fine else None


def checked(
    operation: OpValue, parameter: Parameter, val: Val, span: Span, context: Context
) -> Val:
    """An argument whose entries of another type than the parameter's are faults."""

    def check(entry: Any) -> Any:
        if signatures.fits(entry, parameter.type):
            return entry
        hint = None
        if parameter.type == "int" and type(entry) is float:
            hint = "int(...), round(...) or round8(...) makes a whole number of it"
        if parameter.type == "dims" and type(entry) is int:
            hint = "sizes are time x height x width, as in 1x3x3"
        raise ValueFault(
            "E0303",
            f"{operation.name}: {parameter.name} is of type {parameter.type}, "
            f"not {type_name(entry)} ({show(entry)})",
            hint,
        )

    if all(isinstance(e, Fault) or signatures.fits(e, parameter.type) for e in val.entries):
        return val
    return context.lift(check, span, val)
