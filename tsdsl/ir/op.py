"""The contract of an operation, which every file of `tsdsl.ops` fulfils."""

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

#: A size in time x height x width.
Dims = tuple[int, int, int]

#: The largest extent of an axis; anything larger is taken for a mistake in the spec.
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
    """An operation is not defined for the shapes of its inputs. The message is shown to the
    user."""


#: The role of an axis of a parameter, by which a supernet slices it: output channels, input
#: channels, kernel time, height and width, channels of a normalisation.
Axis = Literal["OUT", "IN", "KT", "KH", "KW", "CHANNELS"]
#: The initialisation of a parameter: "he" is that of `Conv`, "linear" that of `Linear`.
Init = Literal["he", "linear", "zeros", "ones"]


class Param(Record, eq=True):
    """One parameter tensor of an operation, with the role of each axis."""

    name: str
    axes: tuple[Axis, ...]
    shape: Shape
    init: Init


class ModuleCall(Record, eq=True):
    """A `torch.nn` module as data: ``target(*args, **kwargs)``, e.g. ``torch.nn.Conv3d``.

    Arguments are plain ints, floats, bools, strings and tuples of ints. ``init`` maps parameters of
    the module to their initialisation, where it differs from the module's own.
    """

    target: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = factory(default_factory=dict)
    init: Mapping[str, Init] = factory(default_factory=dict)
    #: An expression around the call, with ``{module}`` and ``{0}`` for its input; None for a
    #: plain call.
    apply: str | None = None
    #: Torch's own defaults of ``kwargs``. ``kwargs`` is complete, so that calls of one target can
    #: be compared; emitted source leaves out those that have their default.
    defaults: Mapping[str, Any] = factory(default_factory=dict)


class FunctionCall(Record, eq=True):
    """A stateless operation as a torch expression, with ``{0}``, ``{1}`` for the inputs and
    ``{name}`` for the entries of ``args``. Tensors have a leading batch axis: N, C, T, H, W."""

    expression: str
    args: Mapping[str, Any] = factory(default_factory=dict)
    #: The same in place: it overwrites its input and is used only where nothing else needs that.
    #: None where the operation's own backward pass needs its input.
    in_place: str | None = None


class Op(ABC):
    """An operation: its arguments, shape rule, parameters, multiply-accumulates and torch call. A
    subclass is stateless and never instantiated."""

    #: The name in a spec.
    name: ClassVar[str]
    #: Number of input tensors; None for one or more (``concat``).
    inputs: ClassVar[int | None] = 1
    Args: ClassVar[type[OpArgs]]
    #: Whether the result always has the shape of the first input.
    keeps_shape: ClassVar[bool] = False
    #: Whether the result is a new tensor that its backward pass does not read, so that an
    #: activation may overwrite it. Never true for a module: a user's hooks have seen its result.
    overwritable: ClassVar[bool] = False
    #: Whether the result's channels can have a layout though those of the inputs have none.
    lays_out: ClassVar[bool] = False
    #: Whether an input channel of zeros gives the same result channel of zeros, whatever the other
    #: channels are.
    keeps_zero: ClassVar[bool] = False
    #: Whether the result leaves out channels of its input. Positions that no architecture uses are
    #: then removed from its axis in the supernet.
    leaves_out: ClassVar[bool] = False
    #: Whether it joins tensors of which some may be absent, with the streams that they belong to:
    #: zeros stand in for those, of the shape that they would have.
    joins: ClassVar[bool] = False
    #: Pairs of arguments and input shapes, which the contract tests run.
    examples: ClassVar[tuple[tuple[Mapping[str, Any], tuple[Shape, ...]], ...]]

    @staticmethod
    @abstractmethod
    def infer(args: Any, *shapes: Shape) -> Shape:
        """The shape of the result. Raises `ShapeError`."""

    @staticmethod
    def params(args: Any, *shapes: Shape) -> tuple[Param, ...]:
        """The parameters of the operation."""
        return ()

    @staticmethod
    def macs(args: Any, *shapes: Shape) -> int:
        """Multiply-accumulates for one clip. By convention of the project only convolutions,
        linear layers and matrix products have any."""
        return 0

    @classmethod
    def aligned(cls, args: Any, *shapes: Shape) -> tuple[int, ...]:
        """Indices of the inputs whose channels are aligned with the result's: channel 3 of the
        result comes from channel 3 of that input. Empty where weights mix the channels, as in a
        convolution."""
        return (0,) if cls.keeps_shape else ()

    @classmethod
    def layout(
        cls,
        args: Any,
        shapes: tuple[Shape, ...],
        layouts: tuple[Axes, ...],
        occurrences: Occurrences,
    ) -> Axes:
        """The layout of the result in a supernet (`tsdsl.ir.layout`), from the shapes and layouts
        of the inputs. By default it is that of the first aligned input that has one."""
        found = [layouts[k] for k in cls.aligned(args, *shapes)]
        rows, columns = (next((own[k] for own in found if own[k]), None) for k in (0, 1))
        return rows, columns

    @staticmethod
    @abstractmethod
    def module(args: Any, *shapes: Shape) -> ModuleCall | FunctionCall:
        """The torch module or expression that computes the operation."""
