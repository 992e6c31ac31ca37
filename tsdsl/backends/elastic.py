"""Tensors of which every architecture of a space uses a part.

An operation of a space has one tensor for each parameter, as large as its largest configuration
needs. A smaller configuration uses the first output and input channels and the centre of the
kernel: channels are ranked as in slimmable networks (Yu et al., arXiv 1812.08928), kernels are
nested as in once-for-all (Cai et al., arXiv 1908.09791), but without its transformation matrices.
Where the channels of an axis have a layout (`tsdsl.ir.layout`; behind ``concat``), the positions of
the layout are used instead of the first ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from tsdsl.analysis.costs.configuration import Configuration
from tsdsl.backends.channel_layouts import ChannelCounts, Places
from tsdsl.backends.operation_module import build_operation
from tsdsl.ir.layout import ChannelLayout, Runs, positions
from tsdsl.ir.op import Axis, Init, Shape
from tsdsl.ops import BY_NAME
from tsdsl.record import Record

#: Axes of which a smaller configuration uses the centre. Of all other axes it uses the beginning.
_CENTRED = frozenset({"KT", "KH", "KW"})
#: Largest number of pieces of a part that are sliced one by one. A part with more pieces is
#: gathered by an index.
_PIECES = 16
_NO_ENDS = ChannelCounts()


class TensorSpec(Record):
    """Name, axes and shape of one tensor of an operation's module."""

    #: Its name in the module.
    name: str
    axes: tuple[Axis, ...]
    #: Initialisation of a parameter. None for a buffer, which starts as the layer sets it.
    init: Init | None
    shape: Shape


@lru_cache(maxsize=65536)
def tensor_specs(configuration: Configuration) -> tuple[TensorSpec, ...]:
    """The tensors of the module of one configuration: the parameters that the operation declares,
    and the layer's buffers, whose axes are channels."""
    op = BY_NAME[configuration.op]
    params = op.params(op.Args(**dict(configuration.args)), *configuration.shapes)
    if not params:
        return ()
    layer: Any = template(configuration).layer
    axis: Axis = "CHANNELS"
    return (
        *(TensorSpec(p.name, p.axes, p.init, p.shape) for p in params),
        *(TensorSpec(n, (axis,) * b.dim(), None, tuple(b.shape)) for n, b in layer.named_buffers()),
    )


@lru_cache(maxsize=65536)
def template(configuration: Configuration) -> nn.Module:
    """The operation as a module on the meta device. Its forward is the expression of an emitted
    network."""
    with torch.device("meta"):
        return build_operation(configuration).requires_grad_(False)


class Pieces(NamedTuple):
    """A part of a tensor that is not a slice of it: several slices, concatenated."""

    #: The slices of the pieces in row-major order, and the number of pieces along each axis.
    slices: tuple[tuple[slice, ...], ...]
    counts: tuple[int, ...]
    #: Index selections that follow the concatenation: axis and positions.
    picks: tuple[tuple[int, tuple[int, ...]], ...]

    def gather(self, parts: Sequence[Tensor]) -> Tensor:
        """The part, from its pieces in the order of ``slices``."""
        found = list(parts)
        for axis in reversed(range(len(self.counts))):
            count = self.counts[axis]
            if count > 1:
                groups = [found[k : k + count] for k in range(0, len(found), count)]
                found = [torch.cat(group, axis) for group in groups]
        whole = found[0]
        for axis, taken in self.picks:
            whole = whole.index_select(axis, _index(taken, whole.device))
        return whole

    def take(self, whole: Tensor) -> Tensor:
        return self.gather([whole[at] for at in self.slices])

    def put(self, whole: Tensor, part: Tensor) -> None:
        """Write a one-dimensional part back to its positions: the inverse of `take`."""
        if self.picks:
            whole.index_copy_(0, _index(self.picks[0][1], whole.device), part)
            return
        start = 0
        for (at,) in self.slices:
            size = at.stop - at.start
            whole[at].copy_(part[start : start + size])
            start += size


#: A part of a tensor: slices, pieces, or None for the whole tensor.
At = tuple[slice, ...] | Pieces | None


@lru_cache(maxsize=4096)
def _index(taken: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(taken, dtype=torch.int64, device=device)


def take(whole: Tensor, at: At) -> Tensor:
    """A part of a tensor: a view where it is a slice, else a copy."""
    if at is None:
        return whole
    return at.take(whole) if isinstance(at, Pieces) else whole[at]


def window(axes: Sequence[Axis], whole: Shape, part: Shape, places: Places | None = None) -> At:
    """The part of a tensor of shape ``whole`` that a configuration of shape ``part`` uses.
    ``places``: the layouts of the channels that the operation reads and writes."""
    if places is None and whole == part:
        return None
    along: list[Runs] = []
    for axis, size, wanted in zip(axes, whole, part, strict=True):
        layout = None if places is None else _layout(axis, places)
        if layout is not None and layout.size == wanted:
            along.append(layout.runs)
        else:
            start = (size - wanted) // 2 if axis in _CENTRED else 0
            along.append(((start, wanted),))
    if all(len(runs) == 1 for runs in along):
        if all(runs == ((0, size),) for runs, size in zip(along, whole, strict=True)):
            return None
        return tuple(slice(start, start + length) for ((start, length),) in along)
    return _pieces(along, whole)


def _pieces(along: list[Runs], whole: Shape) -> Pieces:
    picks = []
    while prod(map(len, along)) > _PIECES:
        axis = max(range(len(along)), key=lambda k: len(along[k]))
        picks.append((axis, tuple(positions(ChannelLayout(along[axis], 0), 0))))
        along[axis] = ((0, whole[axis]),)
    slices = tuple(
        tuple(slice(start, start + length) for start, length in piece) for piece in product(*along)
    )
    return Pieces(slices, tuple(map(len, along)), tuple(picks))


def _layout(axis: Axis, places: Places) -> ChannelLayout | None:
    if axis == "OUT":
        return places[1]
    return places[0] if axis in ("IN", "CHANNELS") else None


class Elastic(nn.Module):
    """The shared tensors of one operation of a space, under the names that they have in its module.
    ``channel_counts``: the numbers of positions that layouts need."""

    def __init__(
        self, configurations: Iterable[Configuration], channel_counts: ChannelCounts = _NO_ENDS
    ) -> None:
        super().__init__()
        configurations = tuple(configurations)
        every = [
            _extended(tensor_specs(configuration), configuration, channel_counts)
            for configuration in configurations
        ]
        #: The classes of the operation's layers that have tensors.
        self.layers = frozenset(
            type(cast(Any, template(own)).layer) for own in configurations if tensor_specs(own)
        )
        self.whole: dict[str, TensorSpec] = {}
        for tensor in (tensor for tensors in every for tensor in tensors):
            known = self.whole.get(tensor.name)
            if known is None:
                self.whole[tensor.name] = tensor
                continue
            assert known.axes == tensor.axes, (known, tensor)
            largest = tuple(map(max, known.shape, tensor.shape))
            self.whole[tensor.name] = TensorSpec(tensor.name, tensor.axes, tensor.init, largest)
        for name, tensor in self.whole.items():
            if tensor.init is not None:
                self.register_parameter(name, nn.Parameter(torch.empty(tensor.shape)))
            elif tensor.shape:
                self.register_buffer(name, torch.empty(tensor.shape))
            else:
                self.register_buffer(name, torch.tensor(0, dtype=torch.int64))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Initialise all tensors at their full size, as the emitted source does. Running statistics
        start at mean 0 and variance 1."""
        for name, tensor in self.whole.items():
            found = getattr(self, name)
            match tensor.init:
                case "he":
                    nn.init.kaiming_normal_(found, mode="fan_out", nonlinearity="relu")
                case "linear":
                    nn.init.normal_(found, std=0.01)
                case "zeros":
                    nn.init.zeros_(found)
                case "ones":
                    nn.init.ones_(found)
                case None:
                    found.fill_(1 if name == "running_var" else 0)

    def parts(self, configuration: Configuration, places: Places | None = None) -> Parts:
        """The parts of the shared tensors that one configuration uses."""
        return tuple(
            (t.name, t.init is not None, window(t.axes, self.whole[t.name].shape, t.shape, places))
            for t in tensor_specs(configuration)
        )

    def part(self, configuration: Configuration, places: Places | None = None) -> dict[str, Tensor]:
        """The tensors of one configuration by name: views where they are slices, else copies."""
        return {
            name: take(getattr(self, name), at) for name, _, at in self.parts(configuration, places)
        }


def _extended(
    tensors: tuple[TensorSpec, ...], configuration: Configuration, channel_counts: ChannelCounts
) -> tuple[TensorSpec, ...]:
    """Specifications whose channel axes are large enough for all positions of their layouts."""
    if channel_counts == _NO_ENDS:
        return tensors
    read = configuration.shapes[0][0]

    def size(axis: Axis, own: int) -> int:
        if axis == "OUT":
            return max(own, channel_counts.written)
        # With groups, a weight's input axis is the width of one group, which has no layout.
        return max(own, channel_counts.read) if axis in ("IN", "CHANNELS") and own == read else own

    return tuple(
        TensorSpec(t.name, t.axes, t.init, tuple(map(size, t.axes, t.shape))) for t in tensors
    )


#: For each tensor of a configuration: its name, whether it is a parameter, and its part of the
#: whole.
Parts = tuple[tuple[str, bool, At], ...]


def run(module: nn.Module, elastic: Elastic, parts: Parts, *inputs: Tensor) -> Tensor:
    """Run a template with its parts of the shared tensors. The template keeps none of them."""
    layer: Any = module.layer
    parameters, buffers = layer._parameters, layer._buffers
    try:
        for name, learned, at in parts:
            whole = cast(Tensor, (elastic._parameters if learned else elastic._buffers)[name])
            (parameters if learned else buffers)[name] = take(whole, at)
        if layer.training is not elastic.training:
            layer.training = elastic.training
        result: Tensor = module(*inputs)
        if layer.training:
            put_back(elastic, layer, parts)
    finally:
        for name, learned, _ in parts:
            (parameters if learned else buffers)[name] = None
    return result


@torch.no_grad()
def put_back(elastic: Elastic, layer: Any, parts: Parts) -> None:
    """Write running statistics that a layer has updated in a copy back to the shared buffers."""
    for name, learned, at in parts:
        if not learned and isinstance(at, Pieces):
            at.put(cast(Tensor, elastic._buffers[name]), layer._buffers[name])
