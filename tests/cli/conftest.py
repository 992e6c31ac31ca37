"""Running the command, in this process and in its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tsdsl.cli.__main__ import cli

# Makes `text_spaces`, which several folders of tests share, importable.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

Run = Callable[..., Result]
Spawn = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run("check", "a.tsnet")`` in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_COLOR", raising=False)

    def invoke(*arguments: str | Path) -> Result:
        return CliRunner().invoke(cli, [str(a) for a in arguments], prog_name="tsdsl")

    return invoke


@pytest.fixture
def spawn(tmp_path: Path) -> Spawn:
    """The same in a process of its own."""

    def invoke(
        *arguments: str | Path, env: dict[str, str] | None = None, **options: object
    ) -> subprocess.CompletedProcess[str]:
        settings: dict[str, object] = {"capture_output": True, "text": True, "timeout": 300}
        return subprocess.run(  # type: ignore[call-overload, no-any-return]
            [sys.executable, "-m", "tsdsl.cli", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, **(env or {})},
            **{**settings, **options},
        )

    return invoke


@pytest.fixture
def starter(run: Run, tmp_path: Path) -> Path:
    """The spec that `tsdsl init` writes."""
    assert run("init", "starter").exit_code == 0
    return tmp_path / "starter.tsnet"


@pytest.fixture
def arch(run: Run, starter: Path, tmp_path: Path) -> Path:
    """An architecture of it."""
    done = run("sample", starter, "--seed", "3", "-o", "arch.json")
    assert done.exit_code == 0, done.stderr
    return tmp_path / "arch.json"


@pytest.fixture(scope="session")
def fixed() -> Path:
    """A spec without decisions."""
    return Path(__file__).resolve().parents[2] / "specs" / "x3d_s.tsnet"
