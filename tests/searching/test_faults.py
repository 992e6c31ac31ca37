"""What can go wrong while a search runs is said in a word, and what it had is kept."""

from __future__ import annotations

import builtins
import errno
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import swept
from killing import ended, forked, signal_at

import tsdsl
from tsdsl.diagnostics import FileError
from tsdsl.searching.supernet_step import SearchError
from tsdsl.training.checkpoint import Checkpoints
from tsdsl.weights.weight_files import load

Tiny = Callable[..., tsdsl.Space]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def search(space: tsdsl.Space, videos: Path, folder: Path, **options: Any) -> Any:
    options = {"log_every": 1, "save_every": 1, "resume": True, **options}
    return tsdsl.search(space, videos, device="cpu", folder=folder, **options)


def whole(folder: Path) -> int:
    """The step of the newest checkpoint, which can be read and has nothing that is not finite; the
    files beside it can be read too, but for a line that was cut off."""
    state, spoiled = Checkpoints(str(folder / "checkpoints")).newest()
    assert not spoiled
    for name in ("log.jsonl", "alpha.jsonl"):
        if (folder / name).exists():
            for line in (folder / name).read_text().splitlines(keepends=True):
                assert line.endswith("\n") is False or json.loads(line)
    for name in ("supernet.safetensors", "model.safetensors"):
        if (folder / name).exists():
            load(folder / name)
    if state is None:
        return 0
    assert all(t.isfinite().all() for t in state.weights.values())
    return state.step


def same(one: Path, other: Path) -> None:
    for name in ("supernet.safetensors", "model.safetensors"):
        left, right = load(one / name).tensors, load(other / name).tensors
        assert all(torch.equal(t, right[key]) for key, t in left.items())
    for name in ("distribution.json", "arch.json", "model.py", "alpha.jsonl"):
        assert (one / name).read_text() == (other / name).read_text()


class Disk:
    """Takes so many bytes under a folder, and then no more."""

    def __init__(self, folder: Path, room: float) -> None:
        self.folder = str(folder)
        self.room = room
        self.taken = 0
        self._open = builtins.open
        self._os_open = os.open
        self._own: set[int] = set()

    def __enter__(self) -> Disk:
        builtins.open, os.open = self.open, self.os_open  # type: ignore[assignment]
        return self

    def __exit__(self, *error: object) -> None:
        builtins.open, os.open = self._open, self._os_open

    def os_open(self, path: Any, flags: int, *more: Any, **named: Any) -> int:
        handle = self._os_open(path, flags, *more, **named)
        if str(path).startswith(self.folder):
            self._own.add(handle)
        return handle

    def open(self, file: Any, mode: str = "r", *more: Any, **named: Any) -> Any:
        opened = self._open(file, mode, *more, **named)
        ours = file in self._own if isinstance(file, int) else str(file).startswith(self.folder)
        return Written(opened, self) if ours and set(mode) & set("wa+x") else opened


class Written:
    def __init__(self, file: Any, disk: Disk) -> None:
        self._file, self._disk = file, disk

    def write(self, data: Any) -> int:
        size = len(data.encode() if isinstance(data, str) else data)
        if self._disk.taken + size > self._disk.room:
            # A part of it is still written.
            room = max(0, int(self._disk.room - self._disk.taken))
            self._file.write(data[:room])
            self._disk.taken = int(self._disk.room)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._disk.taken += size
        return int(self._file.write(data))

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Written:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


@pytest.mark.parametrize("count", [2, swept(100)])
def test_full_disk(tiny: Tiny, videos: Path, tmp_path: Path, count: int) -> None:
    """Wherever it fills up: what was there is whole, and the search goes on as if nothing was."""
    space = tiny(True)
    straight = tmp_path / "straight"
    with Disk(straight, inf) as disk:
        search(space, videos, straight)
    assert disk.taken > 20_000
    said = set()
    for k in range(count):
        folder = tmp_path / f"full{k}"
        room = disk.taken * (k + 0.5) / count
        with Disk(folder, room), pytest.raises(FileError, match="no space left") as full:
            search(space, videos, folder)
        said.add(full.value.diagnostics[0].code)
        step = whole(folder)
        # Not more is lost than what came after the last checkpoint that fitted.
        assert step >= 9 * room / disk.taken - 3
        if k % 4 == 1:
            # Again without room: nothing is lost by trying.
            with Disk(folder, 100), pytest.raises(FileError):
                search(space, videos, folder)
            assert whole(folder) == step
        search(space, videos, folder)
        same(folder, straight)
        assert not list(folder.rglob("*.tmp"))
    assert said == {"E0807"}


def test_full_disk_of_tensorboard(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorboard")
    from tsdsl.training.tensorboard import TensorBoardWriter

    board = TensorBoardWriter(str(tmp_path / "board"), 0)
    writer = next(iter(board._writer.all_writers.values())).event_writer._async_writer._writer

    def full(data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    writer.write = full
    with pytest.raises(FileError, match="no space left"):
        for step in range(200):
            board.scalars("a", {"b": 1.0, "c": None}, step)
            time.sleep(0.01)
    board.close()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("where", "value", "amp"),
    [
        ("loss", nan, True),
        ("gradient", inf, False),
        ("weights", nan, False),
        *(
            swept(where, value, amp)
            for where in ("loss", "gradient", "weights")
            for value in (nan, inf)
            for amp in (False, True)
        ),
    ],
)
def test_what_is_not_finite(
    tiny: Tiny, videos: Path, tmp_path: Path, monkeypatch, where: str, value: float, amp: bool
) -> None:
    """In the second phase: what was saved before stands, and the log has all steps before it."""
    space = tiny(True)
    from tsdsl.searching.searcher import Searcher

    step = Searcher._step

    def spoiled(self: Searcher, batches: Any) -> Any:
        if self.step == 7:
            weight = self.supernet.get_parameter("head.linear.weight")
            if where == "gradient":
                weight.register_hook(lambda grad: grad * value)
            elif where == "loss":
                monkeypatch.setattr("torch.nn.functional.cross_entropy", _worthless(value))
        found = step(self, batches)
        if where == "weights" and self.step == 8:
            with torch.no_grad():
                self.supernet.get_parameter("a.stem.conv.weight")[0] = value
        return found

    monkeypatch.setattr(Searcher, "_step", spoiled)
    with pytest.raises(SearchError, match="not finite") as bad:
        search(space, videos, tmp_path, mixed_precision=amp)
    assert bad.value.diagnostics[0].code == "E0841" and bad.value.diagnostics[0].help
    assert whole(tmp_path) == 7
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    told = [line["step"] for line in lines if line["event"] == "step"]
    assert told == list(range(1, 9 if where == "weights" else 8))
    monkeypatch.undo()
    search(space, videos, tmp_path, mixed_precision=amp)
    assert whole(tmp_path) == 9


def _worthless(value: float) -> Any:
    def loss(logits_NK: torch.Tensor, labels_N: torch.Tensor, **more: Any) -> torch.Tensor:
        return logits_NK.sum() * value

    return loss


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    ("number", "at"),
    [
        (signal.SIGINT, 6),
        swept(signal.SIGINT, 2),
        swept(signal.SIGINT, 7),
        (signal.SIGTERM, 2),
        swept(signal.SIGTERM, 6),
        swept(signal.SIGTERM, 7),
    ],
)
def test_a_search_that_is_signalled_can_be_resumed(
    spec: Callable[..., Path], videos: Path, tmp_path: Path, number: int, at: int
) -> None:
    """In the first phase, at its end, and in the second one: it saves, says how to go on, and what
    it comes to is the same."""
    from tsdsl.cli.__main__ import cli

    def run(folder: str, *more: str) -> Callable[[], None]:
        arguments = ["search", str(spec(True)), "--data", str(videos), "-o", str(tmp_path / folder)]
        arguments += ["--device", "cpu", "--workers", "0", "--log-every", "1", "--threads", "1"]

        def main() -> None:
            with open(tmp_path / f"{folder}.txt", "w") as told:
                sys.stdout = sys.stderr = told
                with pytest.raises(SystemExit) as end:
                    cli.main([*arguments, *more])
                told.write(f"exit code {end.value.code}")

        return main

    assert ended(forked(run("straight"))) == 0

    def stopped() -> None:
        from tsdsl.searching.searcher import Searcher

        signal_at(Searcher, "_step", at + 1, number)
        run("stopped")()

    assert (
        ended(forked(stopped)) == 0
    )  # of the fork, in which the command has ended with its own code
    said = (tmp_path / "stopped.txt").read_text()
    assert "the same command with --resume goes on" in said and "Traceback" not in said
    step = whole(tmp_path / "stopped")
    assert at <= step < 9 and f"stopped after step {step}" in said and "exit code 130" in said
    assert ended(forked(run("stopped", "--resume"))) == 0
    same(tmp_path / "stopped", tmp_path / "straight")
