"""The scripts in examples/ run, and print what they promise."""

from __future__ import annotations

import subprocess
import sys

import pytest
from figures import EXAMPLES

PRINTED = {
    "explore.py": "GFLOPs (multiply-adds)",
    "compile_and_run.py": "the same bits",
    "own_blocks.py": "R2Plus1D: 40.52 GFLOPs, 31,505,325 parameters",
}


@pytest.mark.parametrize("name", PRINTED)
def test_scripts_run(name: str) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert PRINTED[name] in done.stdout
