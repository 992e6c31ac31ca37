"""Shapes of the results of primitive operations, as tables over what varies of their inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tsdsl.diagnostics import Span
from tsdsl.ir.op import Op, OpArgs, Shape, ShapeError
from tsdsl.ir.values import Fault, Val, constant
from tsdsl.record import Record
from tsdsl.sema.context import Context
from tsdsl.sema.functions import show
from tsdsl.sema.scope import OpValue


class ShapeFault(Record):
    """Why an operation has no result for some arguments and shapes."""

    code: str
    message: str
    #: The argument that is out of range; None where the shapes do not fit.
    argument: str | None = None


class ShapeInference:
    """Runs the shape rules of operations, each combination of arguments and shapes once."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._known: dict[tuple[Any, ...], Shape | ShapeFault] = {}

    def result(
        self,
        op: type[Op],
        args: dict[str, Val],
        shapes: list[Val],
        operation: OpValue,
        span: Span,
    ) -> Val:
        """The shape of an operation's result. Faults are placed at the argument of ``operation``
        that they concern, or at ``span``."""
        inputs = [*args.values(), *shapes]
        varying = [at for at, val in enumerate(inputs) if not val.is_constant]
        if op.keeps_shape and len(varying) <= len(shapes) and not shapes[0].is_constant:
            # The result has the shape of the input. Whether the arguments are valid does not depend
            # on it, so that one shape is enough to find out.
            usable = shapes[0].distinct()[:1]
            if usable and all(val.is_constant for val in args.values()):
                checked = self.result(op, args, [constant(usable[0])], operation, span)
                return checked if checked.faults() else shapes[0]
        names = tuple(args)
        count = len(names)
        full: list[Any] = [val.entries[0] for val in inputs]
        for val in inputs:
            if val.is_constant and isinstance(val.entries[0], Fault):
                return val

        def infer(*entries: Any) -> Any:
            for at, entry in zip(varying, entries, strict=True):
                full[at] = entry
            shape = self._infer(op, names, tuple(full[:count]), full[count:])
            if isinstance(shape, ShapeFault):
                place = operation.spans.get(shape.argument, span) if shape.argument else span
                return Fault(self.context.diagnostic(shape.code, shape.message, place))
            return shape

        return self.context.lift(infer, span, *(inputs[at] for at in varying))

    def _infer(
        self, op: type[Op], names: tuple[str, ...], values: tuple[Any, ...], shapes: Sequence[Shape]
    ) -> Shape | ShapeFault:
        # The type is part of the key: 1, 1.0 and true are equal in Python.
        key = (op, tuple((type(v), v) for v in values), tuple(shapes))
        known = self._known.get(key)
        if known is None:
            known = _infer(op, dict(zip(names, values, strict=True)), shapes)
            self._known[key] = known
        return known


def _infer(op: type[Op], args: dict[str, Any], shapes: Sequence[Shape]) -> Shape | ShapeFault:
    # Imported here: a spec without an operation needs no pydantic.
    from pydantic import ValidationError

    try:
        checked: OpArgs = op.Args(**args)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else None
        message = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
        shown = show(args[name]) if name in args else ""
        return ShapeFault("E0309", f"{op.name}: {name} = {shown} {message}", name)
    try:
        return op.infer(checked, *shapes)
    except ShapeError as error:
        return ShapeFault("E0401", str(error))
