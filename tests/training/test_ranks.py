"""Two processes that share each batch reach the weights of one process with the whole batch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from forking import command_main, program_main, run_ranks

from tsdsl.training.ranks import LostRank, together
from tsdsl.training.torch_errors import step_failed

#: Trains in float64, once for each norm, in one group of processes; the first rank writes weights.
PROGRAM = """
import json, os, sys, torch, tsdsl
rank = int(os.environ.get("RANK", "0"))
if "RANK" in os.environ:
    torch.distributed.init_process_group("gloo")
for spec, videos, out, folder in json.load(open(sys.argv[1])):
    space = tsdsl.load(spec)
    torch.manual_seed(0)
    net = tsdsl.compile(space).double()
    done = tsdsl.train(
        net, videos, space, device="cpu", folder=folder, val=videos, micro_batch=1, log_every=1
    )
    if rank == 0:
        torch.save([net.state_dict(), done.loss, done.top1], out)
"""
NORMS = (False, True)


def launched(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Start two processes as a user does."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [sys.executable, *launch, *arguments], capture_output=True, text=True, timeout=600
    )


@pytest.fixture(scope="module")
def trained(
    spec: Callable[..., Path], videos: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[bool, int], list]:
    """Weights, loss and top-1 with and without normalisation, by one rank and by two."""
    folder = tmp_path_factory.mktemp("ranks")
    results = {}
    for ranks in (1, 2):
        names = {norm: folder / f"{norm}_{ranks}.pt" for norm in NORMS}
        tasks = [
            [str(spec(norm)), str(videos), str(out), str(folder / f"run_{norm}_{ranks}")]
            for norm, out in names.items()
        ]
        (folder / "tasks.json").write_text(json.dumps(tasks))
        main = program_main(PROGRAM, str(folder / "tasks.json"))
        for done in run_ranks([main] * ranks, folder):
            assert done.returncode == 0, done.stderr
        results.update({(norm, ranks): torch.load(out) for norm, out in names.items()})
    return results


@pytest.mark.parametrize("norm", NORMS)
def test_two_ranks_reach_what_one_reaches(
    trained: dict[tuple[bool, int], list], norm: bool
) -> None:
    (one, loss, top1), (two, loss2, top1_2) = trained[norm, 1], trained[norm, 2]
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
    done = launched(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("peak memory") == 1
    assert "2 processes" in done.stderr and done.stderr.count("epoch 3:") == 1
    again = run_ranks([command_main(arguments[2:])] * 2, tmp_path)
    assert all(each.returncode != 0 for each in again)
    # The other one waits for the first, in vain.
    assert any("there is a run in this folder" in each.stderr for each in again)
    for each in again:
        assert "internal error" not in each.stderr and "Traceback" not in each.stderr


def test_what_a_lost_process_means() -> None:
    gone = "[../gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:38212"
    with pytest.raises(LostRank, match="another process of this run has ended"), together():
        raise RuntimeError(gone)
    with pytest.raises(RuntimeError, match="no such thing"), together():
        raise RuntimeError("no such thing")
    assert step_failed("E0822", 3, RuntimeError(gone), "").code == "E0827"
