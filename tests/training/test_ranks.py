"""Two processes that share each batch reach the weights of one process with the whole batch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tsdsl.training.ranks import LostRank, together
from tsdsl.training.torch_errors import step_failed

#: Trains in float64 without batch normalisation; the first rank writes the weights.
PROGRAM = """
import os, sys, torch, tsdsl
spec, videos, out, folder = sys.argv[1:]
torch.set_num_threads(1)
space = tsdsl.load(spec)
torch.manual_seed(0)
net = tsdsl.compile(space).double()
done = tsdsl.train(
    net, videos, space, device="cpu", folder=folder, val=videos, micro_batch=1, log_every=1
)
if os.environ.get("RANK", "0") == "0":
    torch.save([net.state_dict(), done.loss, done.top1], out)
"""


def launched(ranks: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    start = [sys.executable]
    if ranks > 1:
        start += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    return subprocess.run(
        [*start, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.parametrize("norm", [False, True])
def test_two_ranks(spec: Callable[..., Path], videos: Path, tmp_path: Path, norm: bool) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    found = []
    for ranks in (1, 2):
        out = tmp_path / f"{ranks}.pt"
        done = launched(
            ranks, str(program), str(spec(norm)), str(videos), str(out), str(tmp_path / f"r{ranks}")
        )
        assert done.returncode == 0, done.stderr
        found.append(torch.load(out))
    (one, loss, top1), (two, loss2, top1_2) = found
    far = max(float((one[name] - two[name]).abs().max()) for name in one)
    if norm:
        # Each pass normalises by its own statistics; running statistics are those of the first
        # rank.
        assert far > 1e-3
    else:
        assert far < 1e-12
        assert (loss, top1) == (pytest.approx(loss2), top1_2)


def test_the_command_under_torchrun(
    spec: Callable[..., Path], videos: Path, tmp_path: Path
) -> None:
    run = str(tmp_path / "run")
    arguments = ["-m", "tsdsl.cli", "train", str(spec()), "--data", str(videos), "-o", run]
    arguments += ["--device", "cpu", "--workers", "1"]
    done = launched(2, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("peak memory") == 1
    assert "2 processes" in done.stderr and done.stderr.count("epoch 3:") == 1
    again = launched(2, *arguments)
    assert again.returncode != 0 and "there is a run in this folder" in again.stderr
    # The other rank waits for the first one in vain.
    assert "internal error" not in again.stderr
    assert "Traceback" not in again.stdout


def test_what_a_lost_process_means() -> None:
    gone = "[../gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:38212"
    with pytest.raises(LostRank, match="another process of this run has ended"), together():
        raise RuntimeError(gone)
    with pytest.raises(RuntimeError, match="no such thing"), together():
        raise RuntimeError("no such thing")
    assert step_failed("E0822", 3, RuntimeError(gone), "").code == "E0827"
