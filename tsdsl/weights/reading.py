"""Reads tensors by name from a file: safetensors, or the format of ``torch.save``.

Files may come from anyone: nothing in a file is executed, and the sizes that it claims are checked
before memory is allocated for them.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping

import safetensors
import torch
from torch import Tensor

from tsdsl.diagnostics import Diagnostic, DiagnosticError
from tsdsl.files import PathLike, os_failure, unreadable
from tsdsl.record import Record, factory
from tsdsl.weights import torch_files
from tsdsl.weights.pickles import Foreign, PickledCall, PickledName, StorageReference
from tsdsl.weights.torch_files import MAX_DIMS, countable

#: Keys under which code bases keep the `state_dict` in a file.
INSIDE = ("model_state", "state_dict", "model", "model_state_dict")
#: Bytes of the longest safetensors header that is read, which has 100,000 tensors. Parsed, it takes
#: 30 times as much memory.
_LONGEST_HEADER = 10 << 20
#: Types of weights. The elements of packed and quantised types are not numbers by themselves.
_TYPES = {
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
}
#: Modules that no file of weights has a legitimate use for.
_SYSTEM = {"os", "posix", "nt", "sys", "subprocess", "builtins"}


class WeightsError(DiagnosticError, ValueError):
    """A file has no weights, or weights that do not fit a network."""


class StoredWeights(Record):
    """Tensors by name, with the metadata of the file."""

    tensors: dict[str, Tensor]
    about: dict[str, str] = factory(default_factory=dict[str, str])
    #: Path of the file; empty for tensors that are not from a file.
    source: str = ""
    #: "safetensors" or "torch"; empty for tensors that are not from a file.
    container: str = ""


def load(path: PathLike) -> StoredWeights:
    """Read a safetensors file, whatever its extension, or a file of ``torch.save`` that has a
    `state_dict` by itself or under one of the keys `INSIDE`.

    Raises `FileError`, and `WeightsError` for other files.
    """
    name = os.fspath(path)
    try:
        # Opening a pipe would wait for a writer.
        if not stat.S_ISREG(os.stat(name).st_mode) and not os.path.isdir(name):
            raise OSError(0, "not a regular file")
        with open(name, "rb") as file:
            head = file.read(9)
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise unreadable(error, name, "file of weights") from None
    except ValueError:
        raise os_failure("E0801", "not a file name", OSError(0, "it has a zero byte"), "") from None
    if not head:
        raise no_weights(name, "the file is empty")
    header = int.from_bytes(head[:8], "little")
    if head[8:] == b"{" and header <= size:
        if header > _LONGEST_HEADER:
            limit = f"{header >> 20:,} MiB, and at most {_LONGEST_HEADER >> 20} MiB are read"
            raise no_weights(name, f"a safetensors file with a header of {limit}")
        if header + 8 > size:
            raise no_weights(name, "a safetensors file that is cut off: its header is incomplete")
        found = _safetensors(name, header, size)
    else:
        found = _torch(name, size)
    if not found.tensors:
        raise no_weights(name, "it has no tensor")
    return found


def _safetensors(name: str, header: int, size: int) -> StoredWeights:
    with open(name, "rb") as file:
        file.seek(8)
        _check_header(name, file.read(header), size - 8 - header)
    try:
        with safetensors.safe_open(name, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, AttributeError, RuntimeError, OSError) as bad:
        # AttributeError: the library looks types up in torch, which may lack one.
        raise no_weights(name, f"a damaged safetensors file: {_first(bad)}") from None
    for key, tensor in tensors.items():
        _checked(name, key, tensor)
    return StoredWeights(tensors, dict(about), name, "safetensors")


def _check_header(name: str, header: bytes, room: int) -> None:
    """Check the sizes that a header claims, before the library relies on them. ``room``: bytes of
    tensors in the file."""

    def damaged(why: str) -> WeightsError:
        return no_weights(name, f"a damaged safetensors file: {why}")

    try:
        said = json.loads(header)
    except (ValueError, RecursionError):
        raise damaged("its header is not JSON") from None
    if not isinstance(said, dict):
        raise damaged("its header is no object")
    for key, entry in said.items():
        if key == "__metadata__":
            continue
        shown = key[:80]
        shape = entry.get("shape") if isinstance(entry, dict) else None
        if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
            raise damaged(f"{shown} has no shape")
        if len(shape) > MAX_DIMS:
            raise damaged(f"{shown} has {len(shape):,} dimensions, and at most {MAX_DIMS} are read")
        count = countable(tuple(shape))
        if count is None or count > 8 * room:
            raise damaged(f"{shown} claims more elements than the file has")


def _torch(name: str, size: int) -> StoredWeights:
    with open(name, "rb") as file:
        try:
            held = torch_files.read(file, size)
        except Foreign as beside:
            raise _foreign(name, str(beside)) from None
        except torch_files.Unread as bad:
            kinds = "neither a safetensors file nor a whole file of torch.save"
            raise no_weights(name, f"{kinds} ({bad})" if str(bad) else kinds) from None
        return _by_name(name, held)


def _by_name(name: str, held: torch_files.TorchFile) -> StoredWeights:
    found = held.value
    about = {}
    if isinstance(found, Mapping) and type(found.get("epoch")) is int:
        about["epoch"] = str(found["epoch"])
    for key in INSIDE:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
            break
    if not isinstance(found, Mapping):
        raise no_weights(name, f"it has a {_kind(found)}, not tensors by name")
    tensors = {}
    for key, value in found.items():
        if not isinstance(key, str) or not torch_files.is_tensor(value):
            what = f"'{str(key)[:60]}' is a {_kind(value)}"
            raise no_weights(name, f"it has something other than tensors by name: {what}")
        if any("\ud800" <= character <= "\udfff" for character in key):
            raise no_weights(
                name, f"{key[:80]!a} is not a valid name: it has half of a surrogate pair"
            )
        try:
            tensors[key] = _checked(name, key, held.tensor(value))
        except torch_files.NotPlain as bad:
            raise no_weights(name, f"{key[:80]} {bad}") from None
        except torch_files.Unread as bad:
            raise no_weights(name, str(bad)) from None
    return StoredWeights(tensors, about, name, "torch")


def _kind(value: object) -> str:
    if torch_files.is_tensor(value):
        return "Tensor"
    if isinstance(value, PickledCall | PickledName):
        return value.path[:80]
    return "storage" if isinstance(value, StorageReference) else type(value).__name__


def _foreign(name: str, path: str) -> WeightsError:
    """The error for a file that names a class or function, ``path``."""
    module = path.partition(".")[0]
    shown = path.removeprefix("builtins.")[:80]
    if module in _SYSTEM:
        return no_weights(name, f"reading it would run {shown}")
    return no_weights(
        name,
        f"beside tensors it has a {shown}, and making one could run any code",
        "if you trust the file: torch.save the state dict in it alone, after "
        "torch.load(..., weights_only=False)",
    )


def _checked(name: str, key: str, tensor: Tensor) -> Tensor:
    """Return a tensor if it is dense, in memory and not larger than its storage."""
    plain = tensor.layout == torch.strided and not tensor.is_quantized
    if not plain or tensor.device.type != "cpu":
        raise no_weights(name, f"{key[:80]} is not a plain tensor")
    if tensor.dtype not in _TYPES:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise no_weights(name, f"{key[:80]} has type {kind}, which no network uses")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise no_weights(name, f"{key[:80]} claims more elements than the file has")
    return tensor


def _first(bad: Exception) -> str:
    return (str(bad).strip().splitlines() or [type(bad).__name__])[0][:200]


def no_weights(name: str, why: str, hint: str | None = None) -> WeightsError:
    message = f"this file holds no weights: {why}"
    return WeightsError([Diagnostic("E0832", message, file=name, help=hint)])
