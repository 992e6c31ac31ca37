"""Standard streams that are closed or full: documented exit codes, and never a traceback."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tsdsl.cli.group import VERBS

SPECS = Path(__file__).resolve().parents[2] / "specs"
FIXED, SPACE = SPECS / "x3d_xs.tsnet", SPECS / "auto_tsnet_s.tsnet"
needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
needs_shell = pytest.mark.skipif(os.name != "posix", reason="no shell")
pytestmark = [needs_full, needs_shell]

#: Redirections, and whether data that is printed is lost with them.
REDIRECTIONS = {
    ">&-": True,
    "2>&-": False,
    "<&-": False,
    ">&- 2>&- <&-": True,
    ">/dev/full": True,
    "2>/dev/full": False,
    ">/dev/full 2>/dev/full": True,
}


def redirected(folder: Path, redirection: str, *arguments: str | Path) -> tuple[int, str]:
    """The exit code, and what was printed on streams that are open."""
    words = [sys.executable, "-m", "tsdsl.cli", *map(str, arguments)]
    temporary = folder / "crashes"
    temporary.mkdir(exist_ok=True)
    done = subprocess.run(
        ["sh", "-c", f"{shlex.join(words)} {redirection}"],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    assert not any(temporary.iterdir()), "a crash was reported"
    said = done.stdout + done.stderr
    assert "Traceback" not in said and "Exception ignored" not in said
    return done.returncode, said


@pytest.mark.parametrize("verb", [(), *((verb,) for verb in VERBS)], ids=lambda v: "".join(v))
def test_help_of_every_verb(tmp_path: Path, verb: tuple[str, ...]) -> None:
    """Help is data on standard output: where that cannot be written, it is a failure of output."""
    code, _ = redirected(tmp_path, ">&- 2>&- <&-", *verb, "--help")
    assert code == 3
    code, said = redirected(tmp_path, ">/dev/full", *verb, "--help")
    assert code == 3 and "cannot write the output" in said


#: What is run, what it exits with, and whether it prints data.
RUNS = {
    "check": (("check", FIXED), 0, False),
    "check json": (("check", FIXED, "--format", "json"), 0, True),
    "check nothing": (("check", "missing.tsnet"), 3, False),
    "flops": (("flops", FIXED), 0, True),
    "sample": (("sample", SPACE, "--seed", "1"), 0, True),
    "compile": (("compile", FIXED, "-o", "-"), 0, True),
    "completion": (("completion", "bash"), 0, True),
    "no weights": (("weights", FIXED), 1, False),
    "no verb": (("cheque",), 2, False),
    "no list": (("data", "check", "missing.csv"), 3, False),
}


@pytest.mark.parametrize("name", RUNS)
def test_runs(tmp_path: Path, name: str) -> None:
    arguments, usual, prints = RUNS[name]
    quick = name in ("check", "check json", "check nothing")
    for redirection in REDIRECTIONS if quick else (">&- 2>&- <&-", "2>/dev/full"):
        wanted = 3 if REDIRECTIONS[redirection] and prints else usual
        code, _ = redirected(tmp_path, redirection, *arguments)
        assert code == wanted, redirection


def test_what_is_opened_is_no_standard_stream(tmp_path: Path) -> None:
    """A file that is written while standard streams are closed holds what it should, alone."""
    wanted, _ = redirected(tmp_path, "", "compile", FIXED, "-o", "open.py")
    code, _ = redirected(tmp_path, ">&- 2>&- <&-", "compile", FIXED, "-o", "closed.py")
    assert (wanted, code) == (0, 0)
    assert (tmp_path / "closed.py").read_bytes() == (tmp_path / "open.py").read_bytes()


def test_a_reader_that_leaves(tmp_path: Path) -> None:
    """Both streams in one pipe that is closed: quiet, with the code of a broken pipe."""
    for end in ("| head -c 1", "2>&1 | head -c 1", "2>&1 | true"):
        words = [sys.executable, "-m", "tsdsl.cli", "flops", str(FIXED)]
        done = subprocess.run(
            ["sh", "-c", f"({shlex.join(words)}; echo $? > code) {end}"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert (tmp_path / "code").read_text() in ("0\n", "141\n")
        assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
