"""The graph of one architecture: every argument is a plain value, every tensor has one shape.

It has the three kinds of node of `tsdsl.ir.graph`, without tables. A `Branch` keeps which case of a
`Switch` was selected, so that blocks of one definition can share an emitted class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tsdsl.ir.graph import BlockInfo, Path
from tsdsl.ir.op import FunctionCall, ModuleCall, Op, OpArgs, Param, Shape


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A tensor of a frozen network; compared by identity."""

    shape: Shape
    hint: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class OpCall:
    """A primitive operation with its arguments and tensors."""

    path: Path
    op: type[Op]
    args: OpArgs
    inputs: tuple[Tensor, ...]
    output: Tensor

    @property
    def shapes(self) -> tuple[Shape, ...]:
        return tuple(t.shape for t in self.inputs)

    @property
    def macs(self) -> int:
        return self.op.macs(self.args, *self.shapes)

    @property
    def params(self) -> tuple[Param, ...]:
        return self.op.params(self.args, *self.shapes)

    @property
    def module(self) -> ModuleCall | FunctionCall:
        return self.op.module(self.args, *self.shapes)


@dataclass(frozen=True, slots=True, eq=False)
class BlockCall:
    """A block that is called, with its body (see `tsdsl.ir.graph.CallNode`)."""

    path: Path
    block: BlockInfo
    args: Mapping[str, Any]
    locals: Mapping[str, Any]
    inputs: tuple[Tensor, ...]
    formals: tuple[Tensor, ...]
    body: Body
    output: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """The selected case of a switch, number ``case`` of ``cases``. ``output`` is the tensor that
    stands for the result of ``body`` outside."""

    path: Path
    kind: Literal["if", "option", "depth"]
    case: int
    cases: int
    label: str
    body: Body
    output: Tensor


Call = OpCall | BlockCall | Branch


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """Calls in order of execution, and the tensor that is their result."""

    calls: tuple[Call, ...]
    result: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A frozen network. ``clip`` is its input tensor, (channels, frames, height, width)."""

    name: str
    doc: str
    clip: Tensor
    body: Body
    #: The architecture: decision path -> option.
    decisions: Mapping[str, Any]
    space_hash: str
    #: What the head gives: ("logits") or, for a head that ends in a softmax, ("scores").
    source_name: str = ""

    def ops(self) -> Iterator[tuple[Path, OpCall]]:
        """Every operation with its full path, in order of execution."""
        yield from _ops(self.body, ())


def _ops(body: Body, path: Path) -> Iterator[tuple[Path, OpCall]]:
    for call in body.calls:
        if isinstance(call, OpCall):
            yield path + call.path, call
        elif isinstance(call, BlockCall):
            yield from _ops(call.body, path + call.path)
        else:
            yield from _ops(call.body, path)
