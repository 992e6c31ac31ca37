"""The peak memory of a process does not include its parent's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tsdsl.training.session import peak_memory

PROGRAM = """
import torch
from tsdsl.training.session import peak_memory
before = peak_memory(torch.device("cpu"))
torch.ones(50 << 20, dtype=torch.uint8)
print(before, peak_memory(torch.device("cpu")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_not_that_of_the_parent() -> None:
    held = bytearray(b"\1") * (700 << 20)
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    before, after = map(int, done.stdout.split())
    assert peak_memory(torch.device("cpu")) > len(held) > after
    assert after - before > 30 << 20
