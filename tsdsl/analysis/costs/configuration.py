"""A configuration: one operation with its arguments and the shapes of its inputs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from tsdsl.ir.op import Op, OpArgs, Shape


class Configuration(NamedTuple):
    """An operation's name, arguments and input shapes: everything that its cost can depend on.

    ``shapes`` have no batch axis. ``args`` are all fields of the operation's `Op.Args` as pairs of
    name and value, in the order of the model.
    """

    op: str
    args: tuple[tuple[str, Any], ...]
    shapes: tuple[Shape, ...]

    @classmethod
    def of(cls, op: type[Op], args: OpArgs, shapes: Iterable[Shape]) -> Configuration:
        named = tuple((name, getattr(args, name)) for name in type(args).model_fields)
        return cls(op.name, named, tuple(shapes))

    def __str__(self) -> str:
        given = [(name, value) for name, value in self.args if value is not None]
        args = ", ".join(f"{name}={spec_text(value)}" for name, value in given)
        inputs = ", ".join("x".join(map(str, shape)) for shape in self.shapes)
        return f"{self.op}({args}) on {inputs}"


def spec_text(value: Any) -> str:
    """Write an argument as in a spec: ``1x3x3``, ``true``, ``0.5``."""
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
