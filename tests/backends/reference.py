"""A second execution of a network, which shares no code with the emitter.

It reads the graph and the arguments of the spec, never `ModuleCall` or `FunctionCall`, and computes
with functions of torch and a state dict.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F

from tsdsl.ir.naming import module_path
from tsdsl.ir.network import BlockCall, Body, Network, OpCall
from tsdsl.ir.network import Tensor as Symbol

State = Mapping[str, torch.Tensor]


def run(network: Network, state: State, clip: torch.Tensor) -> torch.Tensor:
    """Run a network in evaluation mode."""
    known = {network.clip: clip}
    _body(network.body, (), state, known)
    return known[network.body.result]


def _body(
    body: Body, path: tuple[str, ...], state: State, known: dict[Symbol, torch.Tensor]
) -> None:
    for call in body.calls:
        if isinstance(call, OpCall):
            key = ".".join(module_path((*path, *call.path))) + "."
            weights = {k.removeprefix(key): v for k, v in state.items() if k.startswith(key)}
            inputs = [known[t] for t in call.inputs]
            known[call.output] = result = _op(call.op.name, call.args, weights, *inputs)
            assert tuple(result.shape[1:]) == call.output.shape
        elif isinstance(call, BlockCall):
            known.update({f: known[t] for f, t in zip(call.formals, call.inputs, strict=True)})
            _body(call.body, (*path, *call.path), state, known)
            known[call.output] = known[call.body.result]
        else:
            _body(call.body, path, state, known)
            known[call.output] = known[call.body.result]


def _op(name: str, args: Any, w: State, x: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
    n, c = x.shape[:2]
    match name:
        case "conv":
            padding = args.padding
            if padding is None:
                padding = [d * (k // 2) for d, k in zip(args.dilation, args.kernel, strict=True)]
            return F.conv3d(
                x, w["weight"], w.get("bias"), args.stride, padding, args.dilation, args.groups
            )
        case "bn":
            axes = (1, c, *[1] * (x.ndim - 2))
            scale = w["weight"] / (w["running_var"] + args.eps).sqrt()
            shift = w["bias"] - w["running_mean"] * scale
            return x * scale.reshape(axes) + shift.reshape(axes)
        case "relu":
            return x.clamp(min=0)
        case "swish":
            return x / (1 + (-x).exp())
        case "sigmoid":
            return 1 / (1 + (-x).exp())
        case "gelu":
            return x * 0.5 * (1 + torch.erf(x / 2**0.5))
        case "hardswish":
            return x * (x + 3).clamp(0, 6) / 6
        case "tanh":
            return x.tanh()
        case "max_pool":
            return F.max_pool3d(x, args.kernel, args.stride, args.padding)
        case "avg_pool":
            return F.avg_pool3d(x, args.kernel, args.stride, args.padding)
        case "global_avg_pool":
            mean = x.reshape(n, c, -1).mean(2)
            return mean.reshape(n, c, *[1] * (x.ndim - 2)) if args.keep else mean
        case "dropout" | "identity":
            return x
        case "linear":
            y = torch.einsum("nc...,oc->no...", x, w["weight"])
            return y + w["bias"].reshape(1, -1, *[1] * (x.ndim - 2)) if args.bias else y
        case "softmax":
            if args.axis == "channels":
                return x.exp() / x.exp().sum(1, keepdim=True)
            flat = x.reshape(n, c, -1).exp()
            return (flat / flat.sum(2, keepdim=True)).reshape(x.shape)
        case "add":
            return torch.add(x, others[0])
        case "mul":
            return torch.mul(x, others[0])
        case "concat":
            return torch.concatenate([x, *others], 1)
        case "matmul":
            return torch.einsum("nak,nkb->nab", x, others[0])
        case "transpose":
            return x.mT
        case "flatten":
            return x.reshape(n, c, -1)
        case "unflatten":
            return x.reshape(n, c, *others[0].shape[2:])
        case "time_sample":
            return x[:, :, range(args.start, x.shape[2], args.every)]
        case "time_to_channel":
            packed = [x[:, :, i :: args.n] for i in range(args.n)]
            return torch.concatenate(packed, 1)
        case "channel_slice":
            return x.narrow(1, args.start, args.stop - args.start)
        case "channel_shuffle":
            order = torch.arange(c).reshape(args.groups, -1).T.reshape(-1)
            return x[:, order]
        case _:
            raise AssertionError(name)
