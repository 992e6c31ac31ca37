"""Malicious files of weights: nothing is executed, and nothing is allocated that the file does not
contain."""

from __future__ import annotations

import io
import json
import os
import pickle
import pickletools
import random
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

import tsdsl
from tsdsl.weights.weight_files import WeightsError, load, save


class Calls:
    """Pickled as a call of a function."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


def archive(pickled: bytes, storages: dict[str, bytes] | None = None) -> bytes:
    """An archive in the form of torch.save."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        file.writestr("archive/data.pkl", pickled)
        file.writestr("archive/byteorder", "little")
        for key, numbers in (storages or {}).items():
            file.writestr(f"archive/data/{key}", numbers)
        file.writestr("archive/version", "3\n")
    return made.getvalue()


def legacy(pickled: bytes, *storages: tuple[str, bytes, int]) -> bytes:
    """The form of torch.save before archives: ``storages`` are key, bytes and claimed number of
    elements."""
    first = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    parts = [pickle.dumps(value, 2) for value in first]
    parts += [pickled, pickle.dumps([key for key, _, _ in storages], 2)]
    parts += [struct.pack("<q", count) + numbers for _, numbers, count in storages]
    return b"".join(parts)


def safetensors_of(header: object, numbers: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


class Tensor:
    """A tensor with arbitrary claims."""

    def __init__(self, count: Any = 2, offset: Any = 0, shape: Any = (2,), stride: Any = (1,)):
        self.claims = count, offset, shape, stride


class Writer(pickle.Pickler):
    #: Whether storages have the form of files before archives.
    old = False

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            count, offset, shape, stride = value.claims
            args = (Storage(count), offset, shape, stride, False, {})
            return torch._utils._rebuild_tensor_v2, args
        return NotImplemented

    def persistent_id(self, value: Any) -> Any:
        if isinstance(value, Storage):
            view = (None,) if self.old else ()
            return ("storage", torch.FloatStorage, "0", "cpu", value.count, *view)
        return None


class Storage:
    def __init__(self, count: Any) -> None:
        self.count = count


def pickled(value: Any, old: bool = False) -> bytes:
    made = io.BytesIO()
    writer = Writer(made, 2)
    writer.old = old
    writer.dump(value)
    return made.getvalue()


def nested(depth: int) -> bytes:
    """``((((), ), ), )`` as a value of a dict."""
    return b"\x80\x02}(X\x01\x00\x00\x00a)" + b"\x85" * depth + b"u."


#: A key of a dict: a tuple whose hash takes 2 ** 60 steps.
HASHED = b"\x80\x02})" + b"q\x00h\x00\x86" * 60 + b"K\x01s."
LARGE = 10**9

TORCH = {
    "bytearray": pickle.dumps({"a": Calls(bytearray, LARGE)}, 2),
    "tensor": pickled({"a": Tensor(LARGE, 0, (LARGE,), (1,))}),
    "storage": pickled({"a": Tensor(LARGE)}),
    "view": pickled({"a": Tensor(2, 0, (LARGE,), (0,))}),
    "offset": pickled({"a": Tensor(2, LARGE)}),
    "negative": pickled({"a": Tensor(2, -1)}),
    "stride": pickled({"a": Tensor(2, 0, (2,), (LARGE,))}),
    "backwards": pickled({"a": Tensor(2, 0, (2,), (-1,))}),
    "huge": pickled({"a": Tensor(2, 0, (0, 2**62), (1, 1))}),
    "product": pickled({"a": Tensor(2, 0, (2**40, 2**40, 0), (0, 0, 0))}),
    "dimensions": pickled({"a": Tensor(2, 0, (1,) * 100_000, (1,) * 100_000)}),
    "text": pickled({"a": Tensor("2", 0, (2,), (1,))}),
    "memo": b"\x80\x02}r\xff\xff\xff\x7f.",
    "long": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b".",
    "string": b"\x80\x02X\xff\xff\xff\x7f.",
    "nested": nested(200_000),
    "hashed": HASHED,
    "marks": b"\x80\x02" + b"(" * 500_000 + b".",
    "empty": b"\x80\x02.",
    "many": b"\x80\x02" + b"N0" * 3_000_000 + b"N.",
    "surrogate": pickled({"\ud800": Tensor()}),
    "sparse": pickle.dumps({"a": Calls(torch._utils._rebuild_sparse_tensor, 1, (LARGE,))}, 2),
    "nested tensor": pickle.dumps(
        {"a": Calls(torch._utils._rebuild_nested_tensor, None, (LARGE,), (LARGE,), (LARGE,))}, 2
    ),
    "meta": pickle.dumps({"a": Calls(torch._utils._rebuild_meta_tensor_no_storage, 1)}, 2),
    "set": pickle.dumps({"a": Calls(set, range(LARGE))}, 2),
}
SAFETENSORS = {
    "zero and many": safetensors_of(
        {"a": {"dtype": "F32", "shape": [0, 2**62, 2**62], "data_offsets": [0, 0]}}
    ),
    "dimensions": safetensors_of(
        {"a": {"dtype": "F32", "shape": [1] * 100_000, "data_offsets": [0, 4]}}, bytes(4)
    ),
    "zeros": safetensors_of(
        {"a": {"dtype": "F32", "shape": [0] * 100_000, "data_offsets": [0, 0]}}
    ),
    "large": safetensors_of(
        {"a": {"dtype": "F32", "shape": [LARGE], "data_offsets": [0, 4 * LARGE]}}
    ),
    "list": safetensors_of(b"{" + b" " * 100 + b"}"),
    "digits": safetensors_of(b'{"a": {"shape": [' + b"9" * 10_000 + b"]}}"),
    "nested": safetensors_of(b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "header": struct.pack("<Q", 50 << 20) + b"{" + bytes(50 << 20),
}
FILES = {
    **{f"zip {name}": archive(data, {"0": bytes(8)}) for name, data in TORCH.items()},
    **{f"old {name}": legacy(data, ("0", bytes(8), 2)) for name, data in TORCH.items()},
    "old count": legacy(pickled({"a": Tensor()}), ("0", bytes(8), LARGE)),
    "old negative": legacy(pickled({"a": Tensor()}), ("0", bytes(8), -2)),
    **{f"safetensors {name}": data for name, data in SAFETENSORS.items()},
    **{f"pickle {name}": data for name, data in TORCH.items()},
}

#: Loads each file named in its input, and prints the code of its finding and the growth of the
#: process's peak memory in bytes.
CHILD = """
import resource, sys
from tsdsl.weights.weight_files import load, WeightsError
unit = 1 if sys.platform == "darwin" else 1024
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.stdin.read().split("\\n"):
    try:
        load(path)
        print("loaded")
    except WeightsError as error:
        print(",".join(d.code for d in error.diagnostics))
    except BaseException as error:
        print(type(error).__name__)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit)
"""


def test_the_writer_of_these_files_is_right(tmp_path: Path) -> None:
    """The files are refused for their claims only: without them they load, in torch as well."""
    numbers = struct.pack("<2f", 1.5, -2.5)
    for content in (
        archive(pickled({"a": Tensor()}), {"0": numbers}),
        legacy(pickled({"a": Tensor()}, old=True), ("0", numbers, 2)),
    ):
        (tmp_path / "a").write_bytes(content)
        assert load(tmp_path / "a").tensors["a"].tolist() == [1.5, -2.5]
        with open(tmp_path / "a", "rb") as file:
            assert torch.load(file, weights_only=True)["a"].tolist() == [1.5, -2.5]


def test_hostile_files_are_refused_within_little_memory(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}" for number in range(len(FILES))]
    for path, content in zip(paths, FILES.values(), strict=True):
        path.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input="\n".join(map(str, paths)),
        capture_output=True,
        text=True,
        check=True,
    )
    *codes, grown = done.stdout.splitlines()
    wrong = {name: code for name, code in zip(FILES, codes, strict=True) if code != "E0832"}
    assert not wrong
    assert int(grown) < 400 << 20


def test_a_storage_in_many_tensors_is_read_once(tmp_path: Path) -> None:
    """Shared weights are as they were; a file whose tensors are much larger than it is refused."""
    torch.save({"a": torch.ones(100, 100), "b": torch.zeros(3)}, tmp_path / "plain")
    shared = torch.arange(10_000.0)
    torch.save({"a": shared, "b": shared, "c": shared[10:20]}, tmp_path / "shared")
    tensors = load(tmp_path / "shared").tensors
    assert torch.equal(tensors["b"], shared) and tensors["c"].tolist() == list(range(10, 20))
    assert tensors["a"].data_ptr() == tensors["b"].data_ptr()
    torch.save({str(k): shared for k in range(500)}, tmp_path / "many")
    with pytest.raises(WeightsError, match="more elements than the file has"):
        load(tmp_path / "many")


@pytest.mark.parametrize("zipped", [True, False])
def test_the_other_order_of_bytes(tmp_path: Path, zipped: bool) -> None:
    """As `torch.load` reads the same file."""
    numbers = struct.pack(">2f", 1.5, -2.5)
    said = pickled({"a": Tensor()}, old=not zipped)
    if zipped:
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as file:
            file.writestr("archive/data.pkl", said)
            file.writestr("archive/byteorder", "big")
            file.writestr("archive/data/0", numbers)
            file.writestr("archive/version", "3\n")
        (tmp_path / "a").write_bytes(made.getvalue())
        assert torch.load(tmp_path / "a", weights_only=True)["a"].tolist() == [1.5, -2.5]
    else:
        first = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": False}]
        parts = [pickle.dumps(value, 2) for value in first]
        parts += [said, pickle.dumps(["0"], 2), struct.pack(">q", 2), numbers]
        (tmp_path / "a").write_bytes(b"".join(parts))
    assert load(tmp_path / "a").tensors["a"].tolist() == [1.5, -2.5]


EXTREME = (0, 1, -1, 2**31, 2**62, 2**64, -(2**63), 1e308, "", "a", None, True, [], {}, [[]])


def _mutant(kind: str, content: bytes, chance: random.Random) -> bytes:
    if kind == "safetensors":
        size = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:size])
        entry = header[chance.choice(sorted(header))]
        key = chance.choice(sorted(entry))
        if isinstance(entry[key], list) and chance.random() < 0.7:
            entry[key] = [*entry[key], 0]
            entry[key][chance.randrange(len(entry[key]))] = chance.choice(EXTREME)
        else:
            entry[key] = chance.choice(EXTREME)
        return safetensors_of(header, content[size:])
    spoiled = bytearray(content)
    opcodes = [ord(code.code) for code in pickletools.opcodes]
    for _ in range(chance.choice((1, 2, 6))):
        at = chance.randrange(min(len(spoiled), 1200))
        match chance.randrange(4):
            case 0:
                spoiled[at] = chance.choice(opcodes)
            case 1:
                spoiled[at : at + 4] = chance.choice((b"\xff" * 4, bytes(4), b"\xff\xff\xff\x7f"))
            case 2:
                del spoiled[at : at + chance.randrange(1, 8)]
            case 3:
                spoiled[at:at] = spoiled[at // 2 : at // 2 + 8]
    return bytes(spoiled)


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
def test_mutants_load_or_are_refused(tmp_path: Path, kind: str) -> None:
    torch.manual_seed(0)
    state = {"a.weight": torch.randn(4, 3), "b": torch.ones(5, dtype=torch.int64)}
    whole = tmp_path / "whole"
    if kind == "safetensors":
        save(whole, state, {"space": "X"})
    else:
        torch.save(
            {"epoch": 3, "model_state": state}, whole, _use_new_zipfile_serialization=kind == "zip"
        )
    content = whole.read_bytes()
    chance = random.Random(1)
    refused = 0
    for _ in range(200):
        (tmp_path / "mutant").write_bytes(_mutant(kind, content, chance))
        try:
            found = load(tmp_path / "mutant")
        except tsdsl.DiagnosticError as error:
            assert [d.code for d in error.diagnostics] == ["E0832"]
            refused += 1
        else:
            for tensor in found.tensors.values():
                assert tensor.clone().numel() <= os.path.getsize(whole)
    assert refused > 20
