"""The class of a block."""

from __future__ import annotations

from collections.abc import Iterator

from tsdsl.backends.source.constructor import Constructor, ModuleContext
from tsdsl.backends.source.forward import Forward
from tsdsl.backends.source.groups import BlockGroup
from tsdsl.backends.source.naming import unique, variable
from tsdsl.backends.source.quoting import WIDTH, docstring
from tsdsl.backends.source.values import Vector


def block_class(group: BlockGroup, context: ModuleContext, taken: frozenset[str]) -> Iterator[str]:
    """The lines of the class. Sets ``group.params``, which the classes that use it read."""
    written = Constructor(group, context)
    inputs: list[str] = []
    for name in group.block.tensors:
        inputs.append(unique(variable(name), {*inputs, *taken}))
    forward = Forward(group.body, inputs, written.built, taken, shapes=len(group.calls) == 1)
    yield f"class {group.name}(nn.Module):"
    if group.block.doc.strip():
        yield from docstring(group.block.doc, 4)
        yield ""
    lines = [*written.built.attributes, *written.built.lines]
    if lines or group.params:
        params = [f"{name}: {_annotation(vector)}" for name, vector in group.params.items()]
        yield from _signature("__init__", params, "None")
        yield "        super().__init__()"
        yield from (f"        {line}" for line in lines)
        yield ""
    yield from _signature("forward", [f"{name}: Tensor" for name in inputs], "Tensor")
    yield from (f"        {line}" for line in forward.lines)


def _signature(name: str, params: list[str], result: str) -> Iterator[str]:
    inside = ", ".join(["self", *params])
    line = f"    def {name}({inside}) -> {result}:"
    if len(line) <= WIDTH:
        yield line
        return
    yield f"    def {name}("
    if len(inside) + 8 <= WIDTH:
        yield f"        {inside}"
    else:
        yield from (f"        {param}," for param in ["self", *params])
    yield f"    ) -> {result}:"


def _annotation(vector: Vector) -> str:
    return " | ".join(sorted({_kind(value) for value in vector.values()}))


def _kind(value: object) -> str:
    if isinstance(value, tuple):
        size = len(value)  # pyright: ignore[reportUnknownArgumentType]
        return f"tuple[{', '.join(['int'] * size)}]"
    return type(value).__name__
