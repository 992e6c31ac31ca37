"""Reading tensors by name from a file: safetensors, or what ``torch.save`` wrote.

Nothing in a file is ever executed, and a file's claims about sizes are checked before they are
believed: files come from anyone.
"""

from __future__ import annotations

import os
import re
import stat
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any

import safetensors
import torch
from torch import Tensor

from tsdsl.diagnostics import Diagnostic, DiagnosticError
from tsdsl.files import PathLike, os_failure, unreadable
from tsdsl.record import Record, factory

#: Keys under which code bases keep the `state_dict` in a file of theirs.
INSIDE = ("model_state", "state_dict", "model", "model_state_dict")
#: Bytes of a safetensors header that are believed: the library's own limit.
_LONGEST_HEADER = 100_000_000
#: Types that weights have; packed and quantised ones are no numbers by themselves.
_TYPES = {
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
}
_NAMED = re.compile(r"GLOBAL ([\w.]+)")


class WeightsError(DiagnosticError, ValueError):
    """A file that holds no weights, or weights that do not fit a network."""


class Weights(Record):
    """Tensors by name, and what the file says of them."""

    tensors: dict[str, Tensor]
    about: dict[str, str] = factory(default_factory=dict[str, str])
    #: Where they come from.
    source: str = ""
    #: safetensors or torch; empty for what is not from a file.
    container: str = ""


def load(path: PathLike) -> Weights:
    """What a file has: a safetensors file, whatever its name, or one that ``torch.save`` wrote,
    with the `state_dict` as it is or under ``model_state``, ``state_dict`` or ``model``.

    Raises `FileError`, and `WeightsError` for what is no such file.
    """
    name = os.fspath(path)
    try:
        # Opening a pipe would wait for somebody to write.
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
    if head[8:] == b"{" and header <= _LONGEST_HEADER:
        if header + 8 > size:
            raise no_weights(name, "a safetensors file that is cut off: its header is incomplete")
        found = _safetensors(name)
    else:
        found = _torch(name)
    if not found.tensors:
        raise no_weights(name, "it has no tensor")
    return found


def _safetensors(name: str) -> Weights:
    try:
        with safetensors.safe_open(name, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except Exception as bad:  # SafetensorError, and what torch says of types that it lacks
        raise no_weights(name, f"a damaged safetensors file: {_first(bad)}") from None
    for key, tensor in tensors.items():
        _checked(name, key, tensor)
    return Weights(tensors, dict(about), name, "safetensors")


def _torch(name: str) -> Weights:
    _check_archive(name)
    try:
        # By its name, torch would take some for what they are not.
        with (
            open(name, "rb") as file,
            warnings.catch_warnings(),
            torch.serialization.safe_globals(_numpy_scalars()),
        ):
            # Of storages of old files; nothing that a user could do.
            warnings.simplefilter("ignore")
            found: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as bad:  # whatever unpickling comes upon
        raise _unread(name, str(bad)) from None
    about = {}
    if isinstance(found, Mapping) and isinstance(found.get("epoch"), int):
        about["epoch"] = str(found["epoch"])
    for key in INSIDE:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
            break
    if not isinstance(found, Mapping):
        raise no_weights(name, f"it holds a {type(found).__name__}, not tensors by name")
    tensors = {}
    for key, value in found.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            what = f"'{str(key)[:60]}' is a {type(value).__name__}"
            raise no_weights(name, f"it holds something else than tensors by name: {what}")
        tensors[key] = _checked(name, key, value.detach())
    return Weights(tensors, about, name, "torch")


def _numpy_scalars() -> list[Any]:
    """What numbers of numpy are made with (an epoch, a loss: published files have them beside the
    tensors). None of it runs anything else."""
    import numpy as np

    scalar: Any = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "?")]
    return [
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
        np.dtype,
        *kinds,
    ]


def _check_archive(name: str) -> None:
    """``torch.save`` compresses nothing: what is smaller on disk was made to fill the memory."""
    if not zipfile.is_zipfile(name):
        return
    try:
        with zipfile.ZipFile(name) as archive:
            packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as bad:
        raise no_weights(name, f"a damaged archive: {_first(bad)}") from None
    if packed:
        raise no_weights(name, "an archive with compressed parts, which torch.save does not write")


def _unread(name: str, why: str) -> WeightsError:
    """``why``: what torch says."""
    if named := _NAMED.search(why):
        if "is blocked" in why:
            return no_weights(name, f"reading it would run {named[1]}")
        return no_weights(
            name,
            f"beside tensors it has a {named[1]}, and making one could run any code",
            "if you trust the file: torch.save the state dict in it alone, after "
            "torch.load(..., weights_only=False)",
        )
    detail = why.strip().split(". ")[0].split("\n")[0][:160]
    # What Python or the system says of a byte stream is no help.
    known = " " in detail and not re.match(r"Weights only|\[Errno|pop from", detail)
    kinds = "neither a safetensors file nor a whole file of torch.save"
    return no_weights(name, f"{kinds} ({detail})" if known else kinds)


def _checked(name: str, key: str, tensor: Tensor) -> Tensor:
    """A tensor that is numbers in memory, as many as it says."""
    plain = tensor.layout == torch.strided and not tensor.is_quantized
    if not plain or tensor.device.type != "cpu":
        raise no_weights(name, f"{key[:80]} is not a plain tensor with its numbers")
    if tensor.dtype not in _TYPES:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise no_weights(name, f"{key[:80]} is of type {kind}, which no network has")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise no_weights(name, f"{key[:80]} says that it has more numbers than there are")
    return tensor


def _first(bad: Exception) -> str:
    return (str(bad).strip().splitlines() or [type(bad).__name__])[0][:200]


def no_weights(name: str, why: str, hint: str | None = None) -> WeightsError:
    message = f"this file holds no weights: {why}"
    return WeightsError([Diagnostic("E0832", message, file=name, help=hint)])
