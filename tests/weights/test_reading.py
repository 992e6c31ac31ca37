"""Files of weights: tensors survive a round trip, and any other file gives one clear finding."""

from __future__ import annotations

import json
import os
import pickle
import random
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch
from torch import Tensor

import tsdsl
from tsdsl.weights.weight_files import WeightsError, load, save, save_torch

State = dict[str, Tensor]


@pytest.fixture
def state() -> State:
    torch.manual_seed(0)
    return {
        "stem.weight": torch.randn(8, 3, 1, 3, 3),
        "stem.bias": torch.randn(8, dtype=torch.float64),
        "bn.num_batches_tracked": torch.tensor(12345678901, dtype=torch.int64),
        "half": torch.randn(4, 4).to(torch.bfloat16),
        "empty": torch.empty(0, 3),
        "nan": torch.tensor([float("nan"), float("inf"), -0.0]),
    }


def assert_same(given: State, wanted: State) -> None:
    assert sorted(given) == sorted(wanted)
    for name, tensor in wanted.items():
        assert given[name].dtype == tensor.dtype and given[name].shape == tensor.shape
        as_bytes = [t.contiguous().flatten().view(torch.uint8) for t in (given[name], tensor)]
        assert torch.equal(*as_bytes), name


def code(path: Path | str) -> str:
    """The code of the only finding for a file that cannot be loaded."""
    with pytest.raises(tsdsl.DiagnosticError) as caught:
        load(path)
    (finding,) = caught.value.diagnostics
    assert finding.file == os.fspath(path)
    return finding.code


# ---------------------------------------------------------------- what is written comes back


def test_bits_types_and_what_is_said(tmp_path: Path, state: State) -> None:
    save(tmp_path / "a", state, {"space": "X", "classes": '["Ü", "b"]'})
    found = load(tmp_path / "a")
    assert_same(found.tensors, state)
    assert found.about == {"space": "X", "classes": '["Ü", "b"]'}
    assert found.container == "safetensors" and found.source == str(tmp_path / "a")
    assert os.listdir(tmp_path) == ["a"]


def test_equal_weights_are_equal_files(tmp_path: Path, state: State) -> None:
    """In every process, whatever their metadata is."""
    about = {name: f"of {name}, \u00fc" for name in ("format", "space", "classes", "step", "epoch")}
    save(tmp_path / "here.safetensors", state, about)
    program = (
        "import json, sys, safetensors.torch\n"
        "from tsdsl.weights.weight_files import load, save\n"
        "found = load(sys.argv[1])\n"
        "save(sys.argv[2], found.tensors, dict(reversed(found.about.items())))\n"
    )
    for k in range(3):
        there = tmp_path / f"there{k}.safetensors"
        subprocess.run(
            [sys.executable, "-c", program, tmp_path / "here.safetensors", there], check=True
        )
        assert there.read_bytes() == (tmp_path / "here.safetensors").read_bytes()
    with safetensors.safe_open(tmp_path / "here.safetensors", "pt") as file:
        assert file.metadata() == about and set(file.keys()) == set(state)


def test_shared_and_strided_tensors(tmp_path: Path) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    state = {"a": base, "same": base, "turned": base.t(), "part": base[1:3, ::2]}
    save(tmp_path / "a", state, {})
    assert_same(load(tmp_path / "a").tensors, state)
    save_torch(tmp_path / "b.pyth", state)
    assert_same(load(tmp_path / "b.pyth").tensors, state)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("inside", ["model_state", "state_dict", "model", None])
def test_files_of_torch(tmp_path: Path, state: State, zipped: bool, inside: str | None) -> None:
    parameters = {name: t for name, t in state.items() if t.is_floating_point()}
    held = {name: torch.nn.Parameter(t) for name, t in parameters.items()}
    extra = {"epoch": 7, "cfg": "a: 1", "optimizer_state": {"lr": [0.1]}}
    file = {inside: held, **extra} if inside else held
    path = tmp_path / "named.safetensors"  # the content decides
    torch.save(file, path, _use_new_zipfile_serialization=zipped)
    found = load(path)
    assert_same(found.tensors, parameters)
    assert found.container == "torch"
    assert found.about == ({"epoch": "7"} if inside else {})
    assert not any(t.requires_grad for t in found.tensors.values())


def test_a_file_that_cannot_be_written_stays(tmp_path: Path, state: State) -> None:
    save(tmp_path / "a", state, {})
    with pytest.raises(tsdsl.FileError):
        save(tmp_path / "nowhere" / "a", state, {})
    with pytest.raises(tsdsl.FileError):
        save(tmp_path, state, {})
    assert_same(load(tmp_path / "a").tensors, state)


# ---------------------------------------------------------------- what is no such file


def test_not_a_file(tmp_path: Path) -> None:
    assert code(tmp_path / "missing") == "E0801"
    assert code(tmp_path) == "E0802"
    os.mkfifo(tmp_path / "pipe")
    assert code(tmp_path / "pipe") == "E0803"
    assert code("/dev/zero") == "E0803"
    with pytest.raises(tsdsl.FileError):
        load("a\0b")


def test_a_missing_file_names_its_neighbour(tmp_path: Path, state: State) -> None:
    save(tmp_path / "best.safetensors", state, {})
    with pytest.raises(tsdsl.FileError, match=r"did you mean '.*best\.safetensors'"):
        load(tmp_path / "best.safetensor")


class Runs:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (self.path, "w")


@pytest.mark.parametrize("inside", [False, True])
def test_nothing_is_run(tmp_path: Path, inside: bool) -> None:
    victim = tmp_path / "victim"
    value = {"model_state": {"a": torch.ones(1)}, "extra": Runs(victim)} if inside else Runs(victim)
    for zipped in (True, False):
        torch.save(value, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
        assert code(tmp_path / "a.pt") == "E0832"
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
    assert code(tmp_path / "a.pkl") == "E0832"
    assert not victim.exists()
    # The file does what it is meant to.
    torch.load(tmp_path / "a.pt", weights_only=False)
    assert victim.exists()


def _safetensors(header: object, numbers: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + numbers


def _one(**changes: object) -> dict[str, object]:
    return {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"{",
        b"not weights",
        b"PK\x03\x04",
        b"\x80\x04",
        b"\x80\x02}q\x00.",
        b"\xff" * 100,
        _safetensors({}),
        _safetensors(_one()),
        _safetensors(_one(), bytes(7)),
        _safetensors(_one(), bytes(9)),
        _safetensors(_one(), bytes(8), length=2**63),
        _safetensors(_one(), bytes(8), length=10**6),
        _safetensors(_one(), bytes(8), length=3),
        _safetensors(_one(shape=[2**62, 4]), bytes(8)),
        _safetensors(_one(shape=[-2]), bytes(8)),
        _safetensors(_one(data_offsets=[0, 2**63]), bytes(8)),
        _safetensors(_one(data_offsets=[8, 0]), bytes(8)),
        _safetensors(_one(dtype="F31"), bytes(8)),
        _safetensors(_one(dtype="F4", shape=[16]), bytes(8)),
        _safetensors(_one(dtype="F8_E4M3", shape=[8]), bytes(8)),
        _safetensors(_one(dtype="C64", shape=[1]), bytes(8)),
        _safetensors({"__metadata__": {"a": 1}, **_one()}, bytes(8)),
        _safetensors(b"{" + b"[" * 10_000, bytes(8)),
        _safetensors(b'{"a": ', bytes(8)),
        _safetensors(b"{\xff\xfe}", bytes(8)),
    ],
    ids=lambda content: str(content[:30]),
)
def test_foreign_content(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    assert code(tmp_path / "a") == "E0832"


@pytest.mark.parametrize(
    "value",
    [
        [torch.ones(2)],
        torch.ones(2),
        3,
        {},
        {"model_state": {}},
        {"a": torch.ones(2), "b": 3},
        {1: torch.ones(2)},
        {"a": torch.ones(1).expand(10**12)},
        {"a": torch.ones(3).to_sparse()},
        {"a": torch.empty(3, device="meta")},
    ],
    ids=str,
)
def test_torch_files_of_something_else(tmp_path: Path, value: object) -> None:
    torch.save(value, tmp_path / "a.pt")
    assert code(tmp_path / "a.pt") == "E0832"


def test_an_archive_that_would_fill_the_memory(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(100_000)}, tmp_path / "a.pt")
    with (
        zipfile.ZipFile(tmp_path / "a.pt") as plain,
        zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in plain.namelist():
            packed.writestr(entry, plain.read(entry))
    assert (tmp_path / "b.pt").stat().st_size < 10_000
    assert code(tmp_path / "b.pt") == "E0832"


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
def test_cut_off_anywhere(tmp_path: Path, state: State, kind: str) -> None:
    whole = tmp_path / "whole"
    if kind == "safetensors":
        save(whole, state, {"space": "X"})
    else:
        torch.save(state, whole, _use_new_zipfile_serialization=kind == "zip")
    content = whole.read_bytes()
    for length in random.Random(0).sample(range(len(content)), 60):
        (tmp_path / "cut").write_bytes(content[:length])
        assert code(tmp_path / "cut") == "E0832", length


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
def test_spoiled_anywhere(tmp_path: Path, state: State, kind: str) -> None:
    """Loading gives tensors or a finding, and nothing else."""
    whole = tmp_path / "whole"
    if kind == "safetensors":
        save(whole, state, {"space": "X"})
    else:
        torch.save(state, whole, _use_new_zipfile_serialization=kind == "zip")
    content = whole.read_bytes()
    chance = random.Random(0)
    refused = 0
    for _ in range(150):
        spoiled = bytearray(content)
        # Claims that might be believed are in the header.
        for _ in range(chance.choice((1, 8))):
            limit = len(spoiled) if chance.random() < 0.3 else min(len(spoiled), 600)
            spoiled[chance.randrange(limit)] = chance.randrange(256)
        (tmp_path / "spoiled").write_bytes(spoiled)
        try:
            load(tmp_path / "spoiled")
        except WeightsError as error:
            assert [d.code for d in error.diagnostics] == ["E0832"]
            refused += 1
    assert refused


def test_numbers_of_numpy_beside_tensors(tmp_path: Path) -> None:
    """Published files have numbers of numpy: an epoch, a loss."""
    path = tmp_path / "published.pyth"
    state = {"a.weight": torch.ones(2)}
    beside = {"loss": np.float32(0.5), "top": np.float64(1.5), "step": np.int64(7)}
    torch.save({"epoch": 3, "model_state": state, **beside}, path)
    found = load(path)
    assert torch.equal(found.tensors["a.weight"], state["a.weight"])


def test_an_error_of_the_unpickler_is_no_damage_of_the_file(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.pt"
    save_torch(path, state)

    def fails(self: object, name: str, argument: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("tsdsl.weights.pickles._Machine.step", fails)
    with pytest.raises(ValueError, match="a bug") as bad:
        load(path)
    assert not isinstance(bad.value, WeightsError)
