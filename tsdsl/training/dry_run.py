"""The output shape and the multiply-adds of a network, from a run on the meta device."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tsdsl.diagnostics import Diagnostic, SpecError
from tsdsl.ir.network import BlockCall, Body, Network, OpCall
from tsdsl.ir.network import Tensor as Edge
from tsdsl.record import Record
from tsdsl.training.torch_errors import first_line

#: Operations that average distributions, or leave them as they are.
_MEANS = frozenset({"global_avg_pool", "avg_pool", "dropout", "identity"})


class DryRun(Record, eq=True):
    """The number of classes that a network distinguishes, and its multiply-adds for one clip
    (convolutions, linear layers and matrix products)."""

    outputs: int
    macs: int


def dry_run(net: nn.Module, clip_shape: tuple[int, int, int, int]) -> DryRun:
    """Run a network on the meta device, where only shapes are computed. ``clip_shape`` is
    [channels, frames, height, width]. Raises `SpecError` if the network does not accept such clips,
    or does not return one score for each class."""
    size = " x ".join(map(str, clip_shape))
    copy = deepcopy(net).to("meta").eval()
    like = next(iter(copy.parameters()), None)
    dtype = torch.float32 if like is None else like.dtype
    counter = FlopCounterMode(display=False)
    try:
        with torch.inference_mode(), counter:
            logits: Any = copy(torch.zeros(1, *clip_shape, dtype=dtype, device="meta"))
    except (RuntimeError, ValueError, TypeError, IndexError) as bad:
        # torch has no single error for shapes that do not fit. The block runs the network and
        # nothing else.
        raise _unfit(f"the network does not accept clips of {size}: {first_line(bad)}") from bad
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != 1:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise _unfit(
            f"the network returns {shape} for a clip of {size}, not a score for each class"
        )
    # The counter counts a multiplication and an addition as two.
    return DryRun(logits.shape[1], counter.get_total_flops() // 2)


def gives_probabilities(network: Network) -> bool:
    """Whether the head ends in a softmax over classes, possibly followed by an average over
    positions: the outputs then are probabilities rather than logits."""
    defined: dict[Edge, OpCall | Edge] = {}
    _define(network.body, defined)
    edge = network.body.result
    while edge in defined:
        found = defined[edge]
        if isinstance(found, Edge):
            edge = found
        elif found.op.name == "softmax":
            return getattr(found.args, "axis", None) == "channels"
        elif found.op.name in _MEANS:
            edge = found.inputs[0]
        else:
            return False
    return False


def _define(body: Body, defined: dict[Edge, OpCall | Edge]) -> None:
    """Map each tensor to the operation that computes it, or to the tensor that it is equal to."""
    for call in body.calls:
        if isinstance(call, OpCall):
            defined[call.output] = call
            continue
        _define(call.body, defined)
        defined[call.output] = call.body.result
        if isinstance(call, BlockCall):
            defined.update(zip(call.formals, call.inputs, strict=True))


def _unfit(message: str) -> SpecError:
    hint = (
        "compile it for that size, if the spec has a param for the size of its clip"
        " (--set crop=...), or evaluate another crop"
    )
    return SpecError([Diagnostic("E0824", message, help=hint)])
