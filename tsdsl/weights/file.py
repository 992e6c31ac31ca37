"""Tensors by name in a file: written as safetensors, read from that or from what torch has saved.

Nothing in a file is ever executed: files of torch are read with ``weights_only=True``.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from tsdsl.diagnostics import Diagnostic, DiagnosticError, did_you_mean
from tsdsl.files import PathLike, os_failure, write_atomic
from tsdsl.record import Record, factory

#: What ``about["format"]`` says in files of ours.
FORMAT = "tsnet-weights/1"
#: Keys under which code bases keep the `state_dict` in a file of theirs.
_INSIDE = ("model_state", "state_dict", "model", "model_state_dict")
#: Keys that a message names.
_SHOWN = 10


class WeightsError(DiagnosticError, ValueError):
    """A file that holds no weights, or weights that do not fit a network."""


class Weights(Record):
    """Tensors by name, and what the file says of them."""

    tensors: dict[str, Tensor]
    about: dict[str, str] = factory(default_factory=dict[str, str])
    #: Where they come from.
    source: str = ""


def save(path: PathLike, tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> None:
    """Write a safetensors file, whole or not at all, and have it reach the disk. Tensors that share
    memory are written each by itself. Raises `FileError`."""
    plain = {
        name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()
    }
    write_atomic(path, safetensors.torch.save(plain, dict(about)), sync=True)


def load(path: PathLike) -> Weights:
    """What a file has: a safetensors file, whatever its name, or one that ``torch.save`` wrote,
    with the `state_dict` as it is or under ``model_state``, ``state_dict`` or ``model``.

    Raises `FileError`, and `WeightsError` for what is no such file.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            head = file.read(9)
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        code = "E0802" if isinstance(error, IsADirectoryError) else "E0803"
        code = "E0801" if isinstance(error, FileNotFoundError) else code
        raise os_failure(code, "these weights cannot be read", error, name) from None
    if not head:
        raise _no_weights(name, "the file is empty")
    if len(head) == 9 and head[8:] == b"{" and struct.unpack("<Q", head[:8])[0] <= size:
        return _safetensors(name)
    return _torch(name)


def _safetensors(name: str) -> Weights:
    try:
        with safetensors.safe_open(name, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, ValueError, OSError, RuntimeError) as bad:
        raise _no_weights(name, f"a damaged safetensors file: {_first(bad)}") from None
    return Weights(tensors, dict(about), name)


def _torch(name: str) -> Weights:
    try:
        found: Any = torch.load(name, map_location="cpu", weights_only=True)
    except Exception as bad:  # whatever unpickling comes upon
        why = "neither safetensors nor a file that torch.load(weights_only=True) reads"
        raise _no_weights(name, f"{why}: {_first(bad)}") from None
    for key in _INSIDE:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
            break
    if not isinstance(found, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in found.items()
    ):
        raise _no_weights(name, "it holds something else than tensors by name")
    if not found:
        raise _no_weights(name, "it has no tensor")
    return Weights({key: value.detach() for key, value in found.items()}, {}, name)


def load_into(net: nn.Module, weights: PathLike | Weights) -> Weights:
    """Give a network weights that have exactly its names and shapes; nothing is changed if they do
    not. Gives what was read. Raises `FileError`, `WeightsError` with everything that differs."""
    found = weights if isinstance(weights, Weights) else load(weights)
    own = net.state_dict()
    wrong = differences(own, found.tensors)
    if wrong:
        raise WeightsError(
            [Diagnostic("E0831", message, file=found.source, help=hint) for message, hint in wrong]
        )
    net.load_state_dict(found.tensors)
    return found


def differences(
    own: Mapping[str, Tensor], given: Mapping[str, Tensor]
) -> list[tuple[str, str | None]]:
    """What keeps tensors from being those of a network, each with a hint."""
    wrong: list[tuple[str, str | None]] = []
    missing = [name for name in own if name not in given]
    foreign = [name for name in given if name not in own]
    for names, what in ((missing, "the network needs"), (foreign, "the network does not have")):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            others = foreign if names is missing else missing
            hint = did_you_mean(names[0], others)
            wrong.append((f"{what} {', '.join(names[:_SHOWN])}{more}", hint))
    for name, tensor in own.items():
        if name in given and given[name].shape != tensor.shape:
            shapes = [" x ".join(map(str, t.shape)) or "one number" for t in (given[name], tensor)]
            wrong.append((f"{name} is {shapes[0]}, the network's is {shapes[1]}", None))
    if len(wrong) > _SHOWN:
        wrong = [*wrong[:_SHOWN], (f"{len(wrong) - _SHOWN} more tensors do not fit", None)]
    return wrong


def classes_of(about: Mapping[str, str]) -> list[str] | None:
    """The names of classes that came with weights."""
    try:
        found = json.loads(about["classes"])
    except (KeyError, ValueError):
        return None
    if isinstance(found, list) and all(isinstance(name, str) for name in found):
        return found
    return None


def _first(bad: Exception) -> str:
    return (str(bad).strip().splitlines() or [type(bad).__name__])[0][:200]


def _no_weights(name: str, why: str) -> WeightsError:
    return WeightsError([Diagnostic("E0832", f"this file holds no weights: {why}", file=name)])
