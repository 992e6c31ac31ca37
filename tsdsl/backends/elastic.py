"""Tensors that every architecture of a space takes its part of.

An operation of a space has one tensor for each parameter, as large as its largest configuration.
A smaller one takes the first output and input channels and the centre of the kernel: channels are
ranked, as in slimmable networks (Yu et al., arXiv 1812.08928), kernels nest, as in once-for-all
(Cai et al., arXiv 1908.09791), but without its transformation matrices.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor, nn

from tsdsl.analysis.costs.cost_table import Configuration
from tsdsl.backends.single import single
from tsdsl.ir.op import Axis, Init, Shape
from tsdsl.ops import BY_NAME
from tsdsl.record import Record

#: Axes of which a smaller configuration takes the centre; of all others, the beginning.
_CENTRED = frozenset({"KT", "KH", "KW"})


class Held(Record):
    """One tensor of an operation's module."""

    #: Its name in the module.
    name: str
    axes: tuple[Axis, ...]
    #: None for a buffer, which starts as the module's own.
    init: Init | None
    shape: Shape


@lru_cache(maxsize=65536)
def held(asked: Configuration) -> tuple[Held, ...]:
    """What the module of one configuration holds: parameters as the operation declares them, and
    the module's buffers, whose axes are channels."""
    op = BY_NAME[asked.op]
    params = op.params(op.Args(**dict(asked.args)), *asked.shapes)
    if not params:
        return ()
    layer: Any = template(asked).layer
    axis: Axis = "CHANNELS"
    return (
        *(Held(p.name, p.axes, p.init, p.shape) for p in params),
        *(Held(n, (axis,) * b.dim(), None, tuple(b.shape)) for n, b in layer.named_buffers()),
    )


@lru_cache(maxsize=65536)
def template(asked: Configuration) -> nn.Module:
    """The operation as a module without storage: its forward is the text of an emitted network."""
    with torch.device("meta"):
        return single(asked).requires_grad_(False)


def window(axes: Sequence[Axis], whole: Shape, part: Shape) -> tuple[slice, ...] | None:
    """Where a tensor of a smaller configuration lies in the whole; None where it is the whole."""
    if whole == part:
        return None
    found = []
    for axis, size, wanted in zip(axes, whole, part, strict=True):
        start = (size - wanted) // 2 if axis in _CENTRED else 0
        found.append(slice(start, start + wanted))
    return tuple(found)


class Elastic(nn.Module):
    """The tensors of one operation of a space, under the names that they have in its module."""

    def __init__(self, configurations: Iterable[Configuration]) -> None:
        super().__init__()
        every = [held(asked) for asked in configurations]
        self.whole: dict[str, Held] = {}
        for tensor in (tensor for tensors in every for tensor in tensors):
            known = self.whole.get(tensor.name)
            if known is None:
                self.whole[tensor.name] = tensor
                continue
            assert known.axes == tensor.axes, (known, tensor)
            largest = tuple(map(max, known.shape, tensor.shape))
            self.whole[tensor.name] = Held(tensor.name, tensor.axes, tensor.init, largest)
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
        """The initialisation of the emitted source, at full size; a batch normalisation's
        statistics of nothing."""
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

    def parts(self, asked: Configuration) -> Parts:
        """Where the tensors of one configuration lie."""
        return tuple(
            (t.name, t.init is not None, window(t.axes, self.whole[t.name].shape, t.shape))
            for t in held(asked)
        )

    def part(self, asked: Configuration) -> dict[str, Tensor]:
        """Views of the tensors that one configuration has, by name."""
        return {
            name: getattr(self, name) if at is None else getattr(self, name)[at]
            for name, _, at in self.parts(asked)
        }


#: Name of a tensor, whether it is a parameter, and which part of the whole it is.
Parts = tuple[tuple[str, bool, tuple[slice, ...] | None], ...]


def run(module: nn.Module, elastic: Elastic, parts: Parts, *inputs: Tensor) -> Tensor:
    """What a template computes with its part of an operation's tensors. It keeps none of them."""
    layer: Any = module.layer
    parameters, buffers = layer._parameters, layer._buffers
    try:
        for name, learned, at in parts:
            whole = cast(Tensor, (elastic._parameters if learned else elastic._buffers)[name])
            (parameters if learned else buffers)[name] = whole if at is None else whole[at]
        if layer.training is not elastic.training:
            layer.training = elastic.training
        result: Tensor = module(*inputs)
    finally:
        for name, learned, _ in parts:
            (parameters if learned else buffers)[name] = None
    return result
