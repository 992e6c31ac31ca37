"""One operation in one of its configurations, applied to its slices of the shared weights."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tsdsl.analysis.costs.configuration import Configuration
from tsdsl.backends.channel_layouts import Places
from tsdsl.backends.elastic import Elastic, Pieces, put_back, run, take, template
from tsdsl.backends.slice_gradients import SliceGradients, WeightSlice


class ConfiguredOperation:
    """Callable with the operation's inputs; returns its result.

    Outside of `SliceGradients.placing`, the slices are cut out of the shared tensors at each call,
    as operations that autograd records. Inside of it, a copy of the layer holds them as views,
    which are made once. Weights that are not contiguous slices are gathered from one view for each
    piece at every call. Where a user has registered hooks on the shared tensors, autograd has to
    see the slicing, so that it stays as outside.
    """

    def __init__(
        self,
        configuration: Configuration,
        elastic: Elastic,
        gradients: SliceGradients,
        places: Places | None = None,
    ) -> None:
        self._template = template(configuration)
        self._elastic = elastic
        self._parts = elastic.parts(configuration, places)
        self._gradients = gradients

    def __call__(self, *inputs: Tensor) -> Tensor:
        gradients = self._gradients
        if not gradients.active or (gradients.hooked and self._is_hooked()):
            return run(self._template, self._elastic, self._parts, *inputs)
        found = gradients.kept.get(self)
        if found is None:
            found = self._made()
            gradients.keep(self, found)
        forward, layer, leaves, counter = found
        if torch.is_grad_enabled():
            gradients.take(leaves)
        training = self._elastic.training
        if layer.training is not training:
            layer.training = training
        if training and counter is not None:
            gradients.count(counter)
        result: Tensor = forward(*inputs)
        return result

    def _is_hooked(self) -> bool:
        tensors = self._elastic._parameters.values()
        return not self._gradients.hooked.isdisjoint(map(id, tensors))

    def _made(self) -> tuple[Callable[..., Any], Any, list[WeightSlice], Tensor | None]:
        """Returns the callable, the layer that it runs, the slices whose gradients are wanted, and
        the layer's counter of batches."""
        module, layer = _twin(self._template), _twin(cast(nn.Module, self._template.layer))
        module._modules["layer"] = layer
        leaves: list[WeightSlice] = []
        gathered: list[tuple[dict[str, Any], str, Callable[[], Tensor]]] = []
        for name, learned, at in self._parts:
            whole = (self._elastic._parameters if learned else self._elastic._buffers)[name]
            assert whole is not None
            if isinstance(at, Pieces):
                held = layer._parameters if learned else layer._buffers
                if learned and whole.requires_grad:
                    own = [WeightSlice(whole, piece) for piece in at.slices]
                    leaves += own
                    pieces = [leaf.part for leaf in own]
                else:
                    pieces = [whole.detach()[piece] for piece in at.slices]
                gathered.append((held, name, partial(at.gather, pieces)))
                continue
            if learned and whole.requires_grad:
                leaves.append(leaf := WeightSlice(whole, at))
                part = leaf.part
            else:
                part = take(whole.detach(), at)
            (layer._parameters if learned else layer._buffers)[name] = cast(Any, part)
        counter = None
        if isinstance(layer, _BatchNorm) and layer.momentum is not None:
            # The layer reads the counter only where it averages over all batches (momentum None).
            layer.num_batches_tracked = None
            counter = self._elastic._buffers.get("num_batches_tracked")
        if gathered:
            return self._gathering(module, layer, gathered), layer, leaves, counter
        # The layer is a private copy without hooks, so that ``__call__`` can be bypassed.
        if not cast(Any, type(module)).calls_its_layer:
            return module.forward, layer, leaves, counter
        return _direct(layer), layer, leaves, counter

    def _gathering(
        self,
        module: nn.Module,
        layer: Any,
        gathered: list[tuple[dict[str, Any], str, Callable[[], Tensor]]],
    ) -> Callable[..., Tensor]:
        """A forward that first concatenates the pieces of the layer's tensors."""

        def forward(*inputs: Tensor) -> Tensor:
            try:
                for held, name, gather in gathered:
                    held[name] = gather()
                result: Tensor = module.forward(*inputs)
                if layer.training:
                    put_back(self._elastic, layer, self._parts)
            finally:
                for held, name, _ in gathered:
                    held[name] = None
            return result

        return forward


def _direct(layer: Any) -> Callable[..., Tensor]:
    """The forward of a layer. For the most frequent layers, the functional call is made directly,
    without the checks of torch's Python classes: on a GPU, small networks wait for that Python
    code."""
    if type(layer) is nn.Conv3d and layer.padding_mode == "zeros":
        weight, bias = layer.weight, layer.bias
        settings: Any = layer.stride, layer.padding, layer.dilation, layer.groups
        return lambda x: torch.conv3d(x, weight, bias, *settings)
    if type(layer) is nn.BatchNorm3d and layer.momentum is not None and layer.track_running_stats:
        tensors = layer.weight, layer.bias, layer.running_mean, layer.running_var
        momentum, eps = layer.momentum, layer.eps
        plain: Callable[..., Tensor] = layer.forward

        def batch_norm(x: Tensor) -> Tensor:
            training = layer.training
            if x.dim() != 5 or (training and x.numel() == x.shape[1]):
                return plain(x)  # which says what is wrong
            cudnn = torch.backends.cudnn.enabled
            return torch.batch_norm(x, *tensors, training, momentum, eps, cudnn)

        return batch_norm
    return cast(Callable[..., Tensor], layer.forward)


def _twin(module: nn.Module) -> nn.Module:
    """A shallow copy of a module with its own dicts of parameters, buffers and submodules."""
    twin = copy(module)
    for name in ("_parameters", "_buffers", "_modules"):
        twin.__dict__[name] = dict(module.__dict__[name])
    return twin
