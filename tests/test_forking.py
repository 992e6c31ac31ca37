"""A fork of the tests does what a fresh interpreter would, within its own limits."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import torch
from _pytest.mark import ParameterSet
from cases import cases, swept
from forking import command, program, program_main, run_ranks


def test_streams_folder_environment_and_exit_code_are_its_own(tmp_path: Path) -> None:
    text = "import os, sys; print(os.getcwd(), os.environ['A']); sys.exit('no')"
    done = program(text, tmp_path, env={"A": "b"})
    assert (done.returncode, done.stdout, done.stderr) == (1, f"{tmp_path} b\n", "no\n")
    assert Path.cwd() != tmp_path and "A" not in os.environ
    failed = program("print(1, flush=True); raise OSError('lost')", tmp_path, merged=True)
    assert failed.returncode == 1 and failed.stdout.startswith("1\nTraceback")
    assert failed.stdout.endswith("OSError: lost\n") and failed.stderr == ""


def test_commands_end_with_their_exit_code(tmp_path: Path) -> None:
    for arguments, code in ((["--version"], 0), (["check", "missing.tsnet"], 3), (["nothing"], 2)):
        done = command(arguments, tmp_path)
        assert done.returncode == code and (done.stdout if code == 0 else done.stderr)


def test_limits_end_what_takes_too_much(tmp_path: Path) -> None:
    endless = program("while True: pass", tmp_path, cpu_seconds=1)
    assert endless.returncode in (-signal.SIGXCPU, -signal.SIGKILL)
    large = program("bytearray(2 << 30)", tmp_path, further_bytes=1 << 30)
    assert large.returncode == 1 and "MemoryError" in large.stderr
    assert program("bytearray(1 << 29)", tmp_path, further_bytes=1 << 30).returncode == 0
    assert program("import time; time.sleep(60)", tmp_path, seconds=1).returncode < 0


def test_what_tests_changed_of_torch_is_as_in_a_fresh_interpreter(tmp_path: Path) -> None:
    text = "import torch; print(torch.get_default_dtype(), torch.initial_seed())"
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        assert program(text, tmp_path).stdout == "torch.float32 67280421310721\n"
    finally:
        torch.set_default_dtype(before)


def test_ranks_meet_in_one_group(tmp_path: Path) -> None:
    text = (
        "import torch.distributed as dist, torch\n"
        "dist.init_process_group('gloo')\n"
        "total = torch.tensor(dist.get_rank() + 1)\n"
        "dist.all_reduce(total)\n"
        "print(dist.get_rank(), int(total))\n"
    )
    done = run_ranks([program_main(text)] * 2, tmp_path)
    assert [each.stdout for each in done] == ["0 3\n", "1 3\n"], done[0].stderr
    (alone,) = run_ranks([program_main("import os; print('RANK' in os.environ)")], tmp_path)
    assert alone.stdout == "False\n"


def test_further_cases_are_marked() -> None:
    *default, third = cases(2, sweep=3)
    assert default == [0, 1] and third == swept(2)
    assert isinstance(third, ParameterSet)
    assert [mark.name for mark in third.marks] == ["sweep"]
