"""What an operation is: the contract that every file of `tsdsl.ops` fulfils."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from tsdsl.ir.layout import Axes, Occurrences
from tsdsl.record import Record, factory

#: Sizes of a tensor without its batch axis. A feature map is (channels, time, height, width), a
#: matrix (channels, positions), a vector (channels,).
Shape = tuple[int, ...]

#: time x height x width
Dims = tuple[int, int, int]

#: The largest extent of an axis that is taken for meant.
MAX_EXTENT = 1 << 20

Channels = Annotated[int, Field(ge=1, le=MAX_EXTENT)]
Extent = Annotated[int, Field(ge=1, le=MAX_EXTENT)]
Extents = tuple[Extent, Extent, Extent]
Offset = Annotated[int, Field(ge=0, le=MAX_EXTENT)]
Offsets = tuple[Offset, Offset, Offset]


class OpArgs(BaseModel):
    """The arguments of an operation as it is written in a spec. Field order is call order."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, defer_build=True, allow_inf_nan=False
    )


class ShapeError(ValueError):
    """The operation is not defined for these shapes. The message is shown to the user."""


#: What an axis of a parameter is, so that a supernet knows how to slice it.
Axis = Literal["OUT", "IN", "KT", "KH", "KW", "CHANNELS"]
#: How a parameter is initialised.
Init = Literal["he", "linear", "zeros", "ones"]


class Param(Record, eq=True):
    """One tensor that an operation learns (or, for ``buffer``, keeps beside what it learns)."""

    name: str
    axes: tuple[Axis, ...]
    shape: Shape
    init: Init


class ModuleCall(Record, eq=True):
    """A `torch.nn` module as data: ``target(*args, **kwargs)``, e.g. ``torch.nn.Conv3d``.

    Arguments are plain ints, floats, bools, strings and tuples of ints. ``init`` maps a parameter
    of the module to the way in which it departs from the module's own initialisation.
    """

    target: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = factory(default_factory=dict)
    init: Mapping[str, Init] = factory(default_factory=dict)
    #: An expression around the call, with ``{module}`` and ``{0}`` for its input; None for a
    #: plain call.
    apply: str | None = None
    #: What ``kwargs`` would be if they were left out. ``kwargs`` is complete, so that calls of one
    #: target can be compared.
    defaults: Mapping[str, Any] = factory(default_factory=dict)


class FunctionCall(Record, eq=True):
    """A stateless operation as an expression of torch: ``{0}``, ``{1}`` stand for the inputs and
    ``{name}`` for the entries of ``args``. Tensors have a leading batch axis: N, C, T, H, W."""

    expression: str
    args: Mapping[str, Any] = factory(default_factory=dict)
    #: The same, written over its input, where nothing else needs that; None where its own backward
    #: pass does.
    in_place: str | None = None


class Op(ABC):
    """An operation: everything there is to know of it. Stateless; never instantiated."""

    #: As written in a spec.
    name: ClassVar[str]
    #: How many tensors it takes; None for one or more (``concat``).
    inputs: ClassVar[int | None] = 1
    Args: ClassVar[type[OpArgs]]
    #: Whether the result has the shape of the input, whatever that is.
    keeps_shape: ClassVar[bool] = False
    #: Whether the result is a new tensor that its backward pass does not read: an activation may be
    #: written over it. Never of a module, whose result a user's hooks have seen.
    overwritable: ClassVar[bool] = False
    #: Whether the result's channels can have a layout though those of the inputs have none.
    lays_out: ClassVar[bool] = False
    #: Whether a channel of zeros gives the same channel of zeros, whatever the other ones are.
    keeps_zero: ClassVar[bool] = False
    #: Whether the result leaves out channels of its input: the positions of those that are left in
    #: no architecture are closed up.
    leaves_out: ClassVar[bool] = False
    #: (arguments, input shapes) pairs that the contract tests run.
    examples: ClassVar[tuple[tuple[Mapping[str, Any], tuple[Shape, ...]], ...]]

    @staticmethod
    @abstractmethod
    def infer(args: Any, *shapes: Shape) -> Shape:
        """The shape of the result. Raises `ShapeError`."""

    @staticmethod
    def params(args: Any, *shapes: Shape) -> tuple[Param, ...]:
        """What the operation learns."""
        return ()

    @staticmethod
    def macs(args: Any, *shapes: Shape) -> int:
        """Multiply-accumulates for one clip, by the convention of the project: convolutions,
        linear layers and matrix products; nothing else."""
        return 0

    @classmethod
    def aligned(cls, args: Any, *shapes: Shape) -> tuple[int, ...]:
        """The inputs whose channels the result has, each in its place: channel 3 of the result
        comes from channel 3 of each of them. None where channels are mixed, as weights do."""
        return (0,) if cls.keeps_shape else ()

    @classmethod
    def layout(
        cls,
        args: Any,
        shapes: tuple[Shape, ...],
        layouts: tuple[Axes, ...],
        occurrences: Occurrences,
    ) -> Axes:
        """Where the result's channels lie in a supernet (`tsdsl.ir.layout`), from where those of
        the inputs do. Of aligned inputs that differ, the first that is not plain counts."""
        found = [layouts[k] for k in cls.aligned(args, *shapes)]
        rows, columns = (next((own[k] for own in found if own[k]), None) for k in (0, 1))
        return rows, columns

    @staticmethod
    @abstractmethod
    def module(args: Any, *shapes: Shape) -> ModuleCall | FunctionCall:
        """How torch computes it."""
