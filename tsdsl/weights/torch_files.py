"""Files of ``torch.save``, with every size compared with the file before anything is allocated.

Two containers are read: an archive (``archive/data.pkl``, and one record for each storage) and what
torch wrote before version 1.6 (pickles one after another, then the storages). The pickles are read
by `tsdsl.weights.pickles`, which calls nothing; of the numbers, only those of tensors that are
wanted. ``torch.load`` is not used: it makes what a pickle claims and looks at the file afterwards.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tsdsl.weights.pickles import (
    MAX_BYTES,
    Foreign,
    PickledCall,
    PickledName,
    PickleFault,
    StorageReference,
    unpickle,
)

#: First bytes of a zip archive.
ARCHIVE = b"PK\x03\x04"
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
#: Bytes of the longest directory of an archive, which has 46 and a name for each record.
_LONGEST_DIRECTORY = 32 << 20
#: Largest number of dimensions of a tensor. Networks have at most five.
MAX_DIMS = 16
#: Largest ratio of the bytes of all tensors to the bytes of the file. It is above 1 because tensors
#: may share a storage.
_SHARED = 16

_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
#: Bytes of an element, for types whose name does not determine them.
_SIZES = {"ComplexFloatStorage": 8, "ComplexDoubleStorage": 16, "QInt32Storage": 4}
_MODULES = ("torch.", "torch.cuda.", "torch.storage.")
#: Functions that wrap a tensor -> the index of the argument that is the tensor.
_INNER = {
    "torch._utils._rebuild_parameter": 0,
    "torch._utils._rebuild_parameter_with_state": 0,
    "torch.nn.parameter.Parameter": 0,
}
_PLAIN = {"torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2"}
_SUBCLASS = "torch._tensor._rebuild_from_type_v2"
_OTHER = {
    "torch._utils._rebuild_tensor_v3",
    "torch._utils._rebuild_sparse_tensor",
    "torch._utils._rebuild_meta_tensor_no_storage",
    "torch._utils._rebuild_qtensor",
    "torch._utils._rebuild_nested_tensor",
    "torch._utils._rebuild_device_tensor_from_numpy",
    "torch._utils._rebuild_device_tensor_from_cpu_tensor",
    "torch._utils._rebuild_wrapper_subclass",
}
_TENSORS = {*_INNER, *_PLAIN, _SUBCLASS, *_OTHER}
#: Other names that files of weights contain. None of them is called.
_BESIDE = {
    *("collections.OrderedDict", "collections.Counter", "builtins.set", "builtins.complex"),
    *("torch.Size", "torch.Tensor", "torch.device", "torch.serialization._get_layout"),
    *("_codecs.encode", "numpy.dtype"),
    *("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"),
    *("torch.per_tensor_affine", "torch.per_channel_affine", "torch.per_tensor_symmetric"),
}


class Unread(Exception):
    """The file is not one of ``torch.save``, or is incomplete. The message may be empty."""


class NotPlain(Exception):
    """A value is not a plain tensor. The message continues its name: ``is of type ...``."""


def allowed(path: str) -> bool:
    """Whether a file may name something: tensors, storages, types, and numbers of numpy."""
    module, _, name = path.rpartition(".")
    if path in _BESIDE or path in _TENSORS:
        return True
    if f"{module}." in _MODULES and name.endswith("Storage"):
        return True
    known = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
    return known or (module == "numpy.dtypes" and name.endswith("DType"))


def is_tensor(value: object) -> bool:
    return isinstance(value, PickledCall) and value.path in _TENSORS


class TorchFile:
    """The contents of an open file. ``value`` has a `PickledCall` in the place of each tensor.

    ``size``: bytes of the file. ``storages``: key of a storage -> position and number of its bytes
    in the file. ``swapped``: the file's byte order is not this machine's.
    """

    def __init__(
        self,
        value: Any,
        file: io.BufferedReader,
        size: int,
        storages: Mapping[str, tuple[int, int]],
        swapped: bool,
    ) -> None:
        self.value, self.file, self.size = value, file, size
        self.storages, self.swapped = storages, swapped
        self.made: dict[str, Tensor] = {}
        #: Bytes of all tensors read so far.
        self.total = 0

    def tensor(self, call: PickledCall) -> Tensor:
        """Read the tensor of a call. Raises `NotPlain` and `Unread`."""
        part = _part(call)
        at, length = self.storages.get(part.key, (0, -1))
        if part.stored > length or part.last * part.itemsize > part.stored:
            raise NotPlain("claims more elements than the file has")
        count = (countable(part.shape) or 0) * part.itemsize
        self.total += count
        if count > max(length, 0) or self.total > _SHARED * self.size:
            raise NotPlain("claims more elements than the file has")
        if part.key not in self.made:
            self.made[part.key] = _bytes_at(self.file, at, length)
        raw = self.made[part.key]
        raw = raw[: len(raw) // part.itemsize * part.itemsize]
        if self.swapped:
            raw = raw.view(-1, part.itemsize).flip(1).flatten()
        return raw.view(part.dtype).as_strided(part.shape, part.stride, part.offset)


def read(file: io.BufferedReader, size: int) -> TorchFile:
    """Read the structure of an open file of ``size`` bytes. Raises `Unread`, `pickles.Foreign`."""
    try:
        file.seek(0)
        archive = file.read(len(ARCHIVE)) == ARCHIVE
        return _read_archive(file, size) if archive else _read_legacy(file, size)
    except Foreign:
        raise
    except PickleFault as bad:
        raise Unread(str(bad)) from None


# ---------------------------------------------------------------- the two containers


def _read_archive(file: io.BufferedReader, size: int) -> TorchFile:
    records = dict(_records(file, size))
    (prefix, *others) = [n[: -len("data.pkl")] for n in records if n.endswith("/data.pkl")] or [""]
    if others or not prefix:
        raise Unread("an archive without the pickle of torch.save")
    if f"{prefix}constants.pkl" in records:
        raise Unread("a program of TorchScript")
    at, length = records[f"{prefix}data.pkl"]
    value = unpickle(_slice(file, at, length), allowed)
    order = b""
    if f"{prefix}byteorder" in records:
        at, length = records[f"{prefix}byteorder"]
        order = _slice(file, at, min(length, 16)).read()
    inside = f"{prefix}data/"
    storages = {n.removeprefix(inside): r for n, r in records.items() if n.startswith(inside)}
    return TorchFile(value, file, size, storages, _swapped(order != b"big"))


def _records(file: io.BufferedReader, size: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """Name, position and length of each record of an archive, from its directory (APPNOTE.TXT
    4.3)."""
    tail_at = max(0, size - (1 << 16) - 22)
    file.seek(tail_at)
    tail = file.read(size - tail_at)
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) - end < 22:
        raise Unread("an archive that is cut off")
    count, length, at = struct.unpack_from("<HLL", tail, end + 10)
    if count == 0xFFFF or 0xFFFFFFFF in (length, at):
        count, length, at = _large_end(file, size, tail_at + end)
    if at + length > size or length > _LONGEST_DIRECTORY:
        raise Unread("a damaged archive")
    file.seek(at)
    directory = file.read(length)
    here = 0
    for _ in range(count):
        if directory[here : here + 4] != b"PK\x01\x02" or here + 46 > len(directory):
            raise Unread("a damaged archive")
        (flags, method) = struct.unpack_from("<HH", directory, here + 8)
        fields = struct.unpack_from("<LLHHH", directory, here + 20)
        packed, plain, named, extra, said = fields
        (header,) = struct.unpack_from("<L", directory, here + 42)
        name = directory[here + 46 : here + 46 + named]
        more = directory[here + 46 + named : here + 46 + named + extra]
        here += 46 + named + extra + said
        plain, packed, header = _large(more, plain, packed, header)
        if method or flags & 1 or packed != plain:
            raise Unread("an archive with compressed parts, which torch.save does not write")
        file.seek(min(header, size))
        local = file.read(30)
        if local[:4] != ARCHIVE or len(local) < 30:
            raise Unread("a damaged archive")
        start = header + 30 + sum(struct.unpack_from("<HH", local, 26))
        if start + plain > size:
            raise Unread("an archive that is cut off")
        yield name.decode("utf-8", "replace"), (start, plain)


def _large_end(file: io.BufferedReader, size: int, end: int) -> tuple[int, int, int]:
    """Number of entries, size and position of the directory of an archive larger than 4 GiB."""
    file.seek(max(0, end - 20))
    locator = file.read(20)
    if locator[:4] != b"PK\x06\x07":
        raise Unread("a damaged archive")
    file.seek(min(struct.unpack_from("<Q", locator, 8)[0], size))
    record = file.read(56)
    if record[:4] != b"PK\x06\x06" or len(record) < 56:
        raise Unread("a damaged archive")
    count, length, at = struct.unpack_from("<QQQ", record, 32)
    return count, length, at


def _large(extra: bytes, *values: int) -> list[int]:
    """Sizes and positions of a record. Those that exceed 32 bits are in the extra field."""
    found = list(values)
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            wide = [k for k, value in enumerate(values) if value == 0xFFFFFFFF]
            if len(wide) * 8 > min(length, len(extra) - at - 4):
                raise Unread("a damaged archive")
            for place, k in enumerate(wide):
                (found[k],) = struct.unpack_from("<Q", extra, at + 4 + 8 * place)
        at += 4 + length
    return found


def _read_legacy(file: io.BufferedReader, size: int) -> TorchFile:
    file.seek(0)
    if unpickle(file, allowed) != _MAGIC or unpickle(file, allowed) != _VERSION:
        raise Unread("")
    machine = unpickle(file, allowed)
    little = not isinstance(machine, dict) or machine.get("little_endian") is not False
    value = unpickle(file, allowed)
    keys = unpickle(file, allowed)
    if not isinstance(keys, list):
        raise Unread("")
    widths = {s.key: s.itemsize for s in _storages(value)}
    storages: dict[str, tuple[int, int]] = {}
    at = file.tell()
    for key in keys:
        file.seek(min(at, size))
        head = file.read(8)
        if len(head) < 8 or not isinstance(key, str) or key not in widths:
            raise Unread("it is cut off")
        length = struct.unpack("<q" if little else ">q", head)[0] * widths[key]
        if not 0 <= length <= size - at - 8:
            raise Unread("it is cut off")
        storages[key] = at + 8, length
        at += 8 + length
    return TorchFile(value, file, size, storages, _swapped(little))


def _swapped(little: bool) -> bool:
    return little != (struct.pack("=H", 1) == b"\x01\x00")


def _slice(file: io.BufferedReader, at: int, length: int) -> io.BytesIO:
    file.seek(at)
    return io.BytesIO(file.read(min(length, MAX_BYTES + 1)))


def _bytes_at(file: io.BufferedIOBase, at: int, length: int) -> Tensor:
    found = torch.empty(length, dtype=torch.uint8)
    file.seek(at)
    numbers: Any = found.numpy()
    if length and file.readinto(memoryview(numbers)) != length:
        raise Unread("it is cut off")
    return found


# ---------------------------------------------------------------- tensors


class _Storage(NamedTuple):
    key: str
    kind: str
    itemsize: int
    #: Position in bytes of the part of a larger storage, and position of its end.
    start: int
    end: int


class _TensorPart(NamedTuple):
    """Position of a tensor's elements in a storage. ``offset`` and ``last`` count elements."""

    key: str
    dtype: torch.dtype
    itemsize: int
    #: Bytes that the storage claims to have.
    stored: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    #: One more than the largest index of an element.
    last: int


def _part(call: PickledCall, depth: int = 0) -> _TensorPart:
    if depth > 4:
        raise NotPlain("is not a plain tensor")
    args: tuple[Any, ...] = call.args
    if call.path == _SUBCLASS and len(args) > 2 and isinstance(args[0], PickledName):
        return _part(
            PickledCall(args[0].path, args[2] if isinstance(args[2], tuple) else ()), depth + 1
        )
    if call.path in _INNER and args and isinstance(args[0], PickledCall):
        return _part(args[0], depth + 1)
    newer = call.path == "torch._utils._rebuild_tensor_v3" and len(args) > 6
    if newer and isinstance(args[6], PickledName):
        kind = args[6].path.removeprefix("torch.")
        raise NotPlain(f"has type {kind}, which no network uses")
    if call.path not in _PLAIN or len(args) < 4 or not isinstance(args[0], StorageReference):
        raise NotPlain("is not a plain tensor")
    storage = _storage(args[0])
    if storage is None:
        raise NotPlain("is not a plain tensor")
    dtype = _STORAGES.get(storage.kind)
    if dtype is None:
        kind = storage.kind.removesuffix("Storage")
        raise NotPlain(f"has type {kind}, which no network uses")
    shape, stride, offset = _extents(args[2]), _extents(args[3]), args[1]
    if shape is None or stride is None or len(shape) != len(stride) or not _is_extent(offset):
        raise NotPlain("has an invalid shape")
    if countable(shape) is None:
        raise NotPlain("claims more elements than the file has")
    offset += storage.start // storage.itemsize
    last = offset
    if 0 not in shape:
        last += 1 + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    return _TensorPart(
        storage.key, dtype, storage.itemsize, storage.end, shape, stride, offset, last
    )


def _is_extent(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 48


def _extents(value: object) -> tuple[int, ...] | None:
    """A shape or strides; None if the value is neither."""
    if isinstance(value, PickledCall) and value.path == "torch.Size" and len(value.args) == 1:
        value = value.args[0]
    if not isinstance(value, tuple) or len(value) > MAX_DIMS or not all(map(_is_extent, value)):
        return None
    return value


def countable(shape: tuple[int, ...]) -> int | None:
    """Number of elements of a shape, or None if torch cannot count them: torch multiplies the
    non-zero extents, too, and they must not overflow."""
    count = 1
    for extent in shape:
        count *= max(extent, 1)
    return None if count >= 1 << 56 else 0 if 0 in shape else count


def _storage(reference: StorageReference) -> _Storage | None:
    """Parse ``("storage", type, key, place, numbers)``, with ``(key, first, numbers)`` for a
    part."""
    said = reference.key
    if not isinstance(said, tuple) or len(said) not in (5, 6) or said[0] != "storage":
        return None
    _, kind, key, place, count, *view = said
    if not isinstance(kind, PickledName) or not isinstance(key, str) or not isinstance(place, str):
        return None
    name = kind.path.rpartition(".")[2]
    dtype = _STORAGES.get(name)
    size = dtype.itemsize if dtype else _SIZES.get(name, 1)
    if not _is_extent(count):
        return None
    if not view or view[0] is None:
        return _Storage(key, name, size, 0, count * size)
    if not isinstance(view[0], tuple) or len(view[0]) != 3 or not all(map(_is_extent, view[0][1:])):
        return None
    _, first, inside = view[0]
    return _Storage(key, name, size, first * size, min(count, first + inside) * size)


def _storages(value: object) -> Iterator[_Storage]:
    """All storages that a value refers to."""
    waiting, seen = [value], set[int]()
    while waiting:
        one = waiting.pop()
        if isinstance(one, StorageReference):
            if (found := _storage(one)) is not None:
                yield found
        elif isinstance(one, dict | list | tuple) and id(one) not in seen:
            seen.add(id(one))
            waiting.extend(one.values() if isinstance(one, dict) else one)
