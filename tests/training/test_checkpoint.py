"""Checkpoints that are spoiled, disks that are full, folders that hold another run."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from tsdsl.diagnostics import FileError, SpecError
from tsdsl.training import checkpoint
from tsdsl.training.checkpoint import (
    Checkpoints,
    State,
    StateMismatch,
    load_optimizer,
    load_tensors,
    restoring,
)
from tsdsl.training.folder import RunFolder, open_folder
from tsdsl.training.session import _read_bad
from tsdsl.weights.weight_files import load


def state(step: int, average: bool = False) -> State:
    weights = {"a": torch.full((3,), float(step)), "n": torch.tensor(step)}
    training: dict[str, Any] = {"optimizer": {"state": {0: {"m": torch.ones(2)}}}, "best": None}
    return State(step, weights, weights if average else None, training)


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(str(tmp_path / "checkpoints"))


def test_round_trip_and_what_is_kept(checkpoints: Checkpoints) -> None:
    assert checkpoints.newest() == (None, [])
    for step in (5, 10, 100_000_000, 200_000_000):
        checkpoints.save(state(step, average=True), {"epoch": "1"})
    assert checkpoints.steps() == [100_000_000, 200_000_000]
    found, spoiled = checkpoints.newest()
    assert found is not None and not spoiled
    assert found.step == 200_000_000 and found.weights["n"].item() == 200_000_000
    assert found.average is not None and torch.equal(found.average["a"], found.weights["a"])
    assert torch.equal(found.training["optimizer"]["state"][0]["m"], torch.ones(2))
    about = load(os.path.join(checkpoints.path(found.step), "weights.safetensors")).about
    assert about == {"epoch": "1"}
    assert not [n for n in os.listdir(checkpoints.folder) if n.startswith(".")]


def spoil(path: str, how: str) -> None:
    if how == "cut":
        os.truncate(path, os.path.getsize(path) // 2)
    elif how == "gone":
        os.unlink(path)
    elif how == "empty":
        os.truncate(path, 0)
    else:
        with open(path, "r+b") as file:
            file.seek(os.path.getsize(path) // 2)
            byte = file.read(1)
            file.seek(-1, 1)
            file.write(bytes([byte[0] ^ 1]))


@pytest.mark.parametrize("how", ["cut", "gone", "empty", "bit"])
@pytest.mark.parametrize("file", ["weights.safetensors", "training.pt", "contents.json"])
def test_a_spoiled_one_is_passed_over(checkpoints: Checkpoints, file: str, how: str) -> None:
    if (file, how) == ("contents.json", "bit"):
        how = "cut"
    for step in (1, 2):
        checkpoints.save(state(step), {})
    spoil(os.path.join(checkpoints.path(2), file), how)
    found, spoiled = checkpoints.newest()
    assert found is not None and found.step == 1
    assert [d.code for d in spoiled] == ["W0971"] and spoiled[0].file == checkpoints.path(2)
    # The step is repeated, and replaces the spoiled checkpoint.
    checkpoints.save(state(2), {})
    again, spoiled = checkpoints.newest()
    assert again is not None and again.step == 2 and not spoiled


def test_none_can_be_read(checkpoints: Checkpoints) -> None:
    for step in (1, 2):
        checkpoints.save(state(step), {})
        spoil(os.path.join(checkpoints.path(step), "training.pt"), "bit")
    with pytest.raises(FileError) as error:
        checkpoints.newest()
    assert [d.code for d in error.value.diagnostics] == ["W0971", "W0971", "E0823"]


@pytest.mark.parametrize("function", ["fsync", "mkdir", "rename"])
def test_a_full_disk_keeps_what_was_there(
    checkpoints: Checkpoints, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.save(state(1), {})

    def full(*arguments: Any, **more: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, function, full)
        with pytest.raises(FileError) as error:
            checkpoints.save(state(2), {})
    assert error.value.diagnostics[0].code == "E0807"
    assert "no space left" in error.value.diagnostics[0].message
    found, spoiled = checkpoints.newest()
    assert found is not None and found.step == 1 and not spoiled
    checkpoints.save(state(2), {})
    assert checkpoints.steps() == [1, 2]
    assert not [n for n in os.listdir(checkpoints.folder) if n.startswith(".")]


ABOUT = {"format": "tsnet-run/1", "recipe": {"lr": 0.1, "epochs": 3}, "conditions": {"world": 1}}


def test_a_folder_goes_on_with_the_same_run_only(tmp_path: Path) -> None:
    path = str(tmp_path / "run")
    with open_folder(path) as folder:
        # Without a checkpoint there is nothing to lose: a first attempt that failed is overwritten.
        assert folder.describe({**ABOUT, "seed": 3}, resume=False) == []
        assert folder.describe(ABOUT, resume=True) == []
        folder.checkpoints.save(state(1), {})
        with pytest.raises(FileError, match="another process") as busy, open_folder(path):
            pass
        assert busy.value.diagnostics[0].code == "E0808"
    with open_folder(path) as folder:
        with pytest.raises(FileError, match="there is a run"):
            folder.describe(ABOUT, resume=False)
        assert folder.describe(ABOUT, resume=True) == []
        other = {**ABOUT, "recipe": {"lr": 0.2, "epochs": 3}, "seed": 1}
        with pytest.raises(SpecError, match=r"recipe.lr was 0.1, is 0.2; seed was not set, is 1"):
            folder.describe(other, resume=True)
        (warning,) = folder.describe({**ABOUT, "conditions": {"world": 2}}, resume=True)
        assert warning.code == "W0972" and "world was 1, is 2" in warning.message
    (tmp_path / "run" / "run.json").rename(tmp_path / "kept")
    for resume in (False, True):
        with pytest.raises(FileError, match=r"has no run\.json, but .*: checkpoints") as taken:
            RunFolder(path).describe(ABOUT, resume=resume)
        assert taken.value.diagnostics[0].code == "E0808"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.py").write_text("mine")
    with open_folder(str(tmp_path / "mine")) as mine, pytest.raises(FileError, match=r"model\.py"):
        mine.describe(ABOUT, resume=True)
    assert (tmp_path / "mine" / "model.py").read_text() == "mine"
    for text in ("{", "[]", '{"format": "tsnet-run/9"}'):
        (tmp_path / "run" / "run.json").write_text(text)
        with pytest.raises(SpecError, match="does not describe a run"):
            RunFolder(path).describe(ABOUT, resume=True)


def test_the_log_forgets_what_will_happen_again(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path))
    folder.open_log(0)
    for step in range(1, 6):
        folder.log("step", step, loss=0.5)
    folder.close()
    with open(folder.at("log.jsonl"), "a") as file:
        file.write('{"event": "step", "step": 6, "lo')
    folder.open_log(3)
    folder.log("step", 4, loss=0.25)
    folder.close()
    lines = [json.loads(line) for line in Path(folder.at("log.jsonl")).read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [
        (1, 0.5),
        (2, 0.5),
        (3, 0.5),
        (4, 0.25),
    ]


def test_published_weights_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(str(tmp_path))
    path = folder.checkpoints.save(state(1), {"step": "1"})
    folder.publish("last.safetensors", os.path.join(path, "weights.safetensors"))
    assert load(folder.at("last.safetensors")).about == {"step": "1"}

    def without(*arguments: Any) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", without)
    path = folder.checkpoints.save(state(2), {"step": "2"})
    folder.publish("last.safetensors", os.path.join(path, "weights.safetensors"))
    assert load(folder.at("last.safetensors")).about == {"step": "2"}


class Payload:
    """Runs code if it is unpickled without care."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("executed",)


def damage(path: str, draw: random.Random) -> None:
    """Damage a checkpoint's folder in one way; digests may be corrected afterwards."""
    name = draw.choice(["contents.json", "training.pt", "weights.safetensors"])
    file = Path(path) / name
    kinds = ["cut", "gone", "empty", "bytes", "folder"]
    how = draw.choice([*kinds, *(["json"] * 6 if name == "contents.json" else ["object"] * 6)])
    if how == "gone":
        file.unlink()
    elif how == "folder":
        file.unlink()
        file.mkdir()
    elif how == "cut":
        file.write_bytes(file.read_bytes()[: draw.randrange(file.stat().st_size)])
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "bytes":
        file.write_bytes(draw.randbytes(draw.randrange(1, 300)))
    elif how == "json":
        lists = ["[]", "null", "7", '"a"', "{}", "[" * 100_000, '{"blake2b": []}', "1e999"]
        more = ['{"blake2b": null}', '{"blake2b": {"../x": "y"}}', '{"blake2b": {}}']
        file.write_text(draw.choice([*lists, *more]))
    else:
        torch.save(draw.choice([[1], 1, None, "a", Payload(), {"a": Payload()}]), file)
    contents = Path(path) / "contents.json"
    if name != "contents.json" and file.is_file() and draw.random() < 0.7:
        made = json.loads(contents.read_text())
        data = file.read_bytes()
        made["blake2b"][name] = hashlib.blake2b(data, digest_size=16).hexdigest()
        contents.write_text(json.dumps(made))


@pytest.mark.parametrize("seed", range(100))
def test_whatever_is_damaged_is_passed_over(
    checkpoints: Checkpoints, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for step in (1, 2):
        checkpoints.save(state(step), {})
    draw = random.Random(seed)
    damage(checkpoints.path(2), draw)
    found, spoiled = checkpoints.newest()
    assert found is not None and found.step == 1
    assert [d.code for d in spoiled] == ["W0971"]
    damage(checkpoints.path(1), draw)
    with pytest.raises(FileError) as error:
        checkpoints.newest()
    assert [d.code for d in error.value.diagnostics] == ["W0971", "W0971", "E0823"]
    assert not Path("executed").exists()


@pytest.mark.parametrize(
    "tail", [b"\0" * 4096, b'{"event": "st\xc3', b"\xff\xfe\n", b"[" * 100_000]
)
def test_a_log_whose_end_a_power_cut_has_spoiled(tmp_path: Path, tail: bytes) -> None:
    folder = RunFolder(str(tmp_path))
    folder.open_log(0)
    folder.log("step", 1, loss=0.5)
    folder.close()
    with open(folder.at("log.jsonl"), "ab") as file:
        file.write(tail)
    folder.open_log(3)
    folder.log("step", 2, loss=0.25)
    folder.close()
    lines = [json.loads(line) for line in Path(folder.at("log.jsonl")).read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [(1, 0.5), (2, 0.25)]
    assert [d.code for d in folder.warnings] == ([] if tail.startswith(b"[") else ["W0985"])


def test_a_log_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log.jsonl")
    with pytest.raises(FileError, match="not a regular file"):
        RunFolder(str(tmp_path)).open_log(0)


def test_a_description_that_is_nested_too_deep(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"a": ' * 100_000)
    (tmp_path / "checkpoints" / "step-00000001").mkdir(parents=True)
    with pytest.raises(SpecError, match="nested too deep"):
        RunFolder(str(tmp_path)).describe(ABOUT, resume=True)


def test_an_error_of_the_reader_itself_is_no_damage(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a fault of this package nor a lack of memory spoils a good checkpoint."""
    for step in (1, 2):
        checkpoints.save(state(step), {})
    files = sorted(str(p) for p in Path(checkpoints.folder).rglob("*"))
    for place, error in (("_digests", TypeError("a bug")), ("_load_training", KeyError("a bug"))):

        def fails(*given: Any, error: Exception = error) -> Any:
            raise error

        with monkeypatch.context() as patched:
            patched.setattr(checkpoint, place, fails)
            with pytest.raises(type(error), match="a bug"):
                checkpoints.newest()
    with monkeypatch.context() as patched:
        full = RuntimeError("DefaultCPUAllocator: not enough memory")
        patched.setattr(torch, "load", lambda *given, **more: (_ for _ in ()).throw(full))
        with pytest.raises(RuntimeError, match="not enough memory"):
            checkpoints.newest()
    assert sorted(str(p) for p in Path(checkpoints.folder).rglob("*")) == files
    found, spoiled = checkpoints.newest()
    assert found is not None and found.step == 2 and not spoiled


@pytest.mark.parametrize("error", [KeyError("a"), RuntimeError("b"), TypeError("c")])
def test_restoring_hides_no_error_of_ours(error: Exception) -> None:
    """Only a state of another network is answered with advice to begin anew."""
    with pytest.raises(type(error)), restoring(state(1)):
        raise error
    with pytest.raises(SpecError, match="is not one of this network") as bad, restoring(state(1)):
        state(1).entry("chosen")
    assert bad.value.diagnostics[0].code == "E0823"
    assert "no entry 'chosen'" in (bad.value.diagnostics[0].help or "")


def test_tensors_and_optimizers_of_another_network_change_nothing() -> None:
    net = torch.nn.Linear(2, 3)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    for other, why in (
        (torch.nn.Linear(2, 4), "'weight' is"),
        (torch.nn.Linear(2, 3, bias=False), "no tensor 'bias'"),
        (torch.nn.BatchNorm1d(3), "'weight' is"),
    ):
        with pytest.raises(StateMismatch, match=why):
            load_tensors(net, other.state_dict())
        assert all(torch.equal(net.state_dict()[name], before[name]) for name in before)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    other_optimizer = torch.optim.SGD([net.weight], lr=0.3)
    with pytest.raises(StateMismatch, match=r"groups of \[1\] parameters"):
        load_optimizer(optimizer, other_optimizer.state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_a_log_that_is_the_state_of_a_run_is_kept_without_a_description(tmp_path: Path) -> None:
    """If run.json is damaged, the log that is a run's state is not overwritten."""
    about = {"format": "tsnet-run/1", "state": "log.jsonl"}
    folder = RunFolder(str(tmp_path))
    assert folder.describe(about, resume=False) == []
    folder.open_log(0)
    folder.log("trained", 1, top1=0.5)
    folder.close()
    log = (tmp_path / "log.jsonl").read_bytes()
    for text in ("{", "", "[]"):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(SpecError, match="does not describe a run"):
            RunFolder(str(tmp_path)).describe(about, resume=False)
        assert (tmp_path / "log.jsonl").read_bytes() == log


def test_lines_of_a_log_that_are_no_objects_are_left_out(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path))
    good = '{"event": "step", "step": 1}'
    lines = [good, "7", "[]", "{", '{"event": "step"}', '{"step": "1"}', '{"step": true}', "null"]
    (tmp_path / "log.jsonl").write_text("\n".join([*lines, "[" * 100_000]) + "\n")
    folder.open_log(3)
    folder.close()
    assert (tmp_path / "log.jsonl").read_text() == good + "\n"


def test_a_damaged_line_of_rejected_videos_loses_no_other(tmp_path: Path) -> None:
    path = tmp_path / "bad-videos.jsonl"
    assert _read_bad(str(path)) == {}
    rows = [{"path": f"/{k}.mp4", "kind": "corrupt", "detail": ""} for k in range(3)]
    damaged = [{"path": "/x.mp4", "kind": "no such kind", "detail": ""}, {"path": "/y.mp4"}, 7]
    lines = [json.dumps(row) for row in (rows[0], *damaged, *rows[1:])]
    path.write_text("\n".join([*lines[:2], "{", *lines[2:]]) + "\n")
    assert list(_read_bad(str(path))) == ["/0.mp4", "/1.mp4", "/2.mp4"]
