"""Peers in environments of their own: set up, run, and skipped with a reason if that fails."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from .quantities import Figure

SCRIPTS = Path(__file__).resolve().parents[1] / "peers"
#: Seconds for a peer on one space, and for its setup.
RUN = 400
SET_UP = 1200


class Peer(NamedTuple):
    tool: str
    script: str
    module: str
    requirements: tuple[str, ...]


def _torch() -> str:
    """The requirement for this environment's torch, for which a CPU build is used."""
    try:
        return f"torch=={version('torch').split('+')[0]}"
    except PackageNotFoundError:
        return "torch"


PEERS = (
    Peer("PyGlove", "with_pyglove.py", "pyglove", ("pyglove==0.4.5", "numpy")),
    Peer("ConfigSpace", "with_configspace.py", "ConfigSpace", ("ConfigSpace==1.2.2", "numpy")),
    Peer(
        "NNI",
        "with_nni.py",
        "nni",
        ("nni==3.0", _torch(), "pytorch_lightning==2.6.6", "numpy"),
    ),
)


class Skipped(Exception):
    """A peer cannot be run. The message says why in a line."""


def set_up(peer: Peer, cache: Path) -> None:
    """Create an environment with the peer, if there is none. Raises `Skipped`."""
    if _interpreter(peer, cache) is not None:
        return
    home = cache / peer.module
    _call([sys.executable, "-m", "venv", "--clear", "--without-pip", str(home)], SET_UP)
    pip = [sys.executable, "-m", "pip", "--python", str(_python(home))]
    quiet = ["--quiet", "--disable-pip-version-check"]
    _call([*pip, "install", *quiet, *peer.requirements], SET_UP)
    (home / "ready").write_text("\n".join(peer.requirements), encoding="utf-8")


def figures(
    peer: Peer, cache: Path, description: Path, long: float, clock: str = "wall"
) -> list[Figure]:
    """The measurements of a peer, or one without a value that says why there are none."""
    try:
        python = _interpreter(peer, cache)
        if python is None and importlib.util.find_spec(peer.module) is not None:
            python = Path(sys.executable)
        if python is None:
            raise Skipped("not installed; --peers sets it up")
        arguments = [str(SCRIPTS / peer.script), str(description), str(long), clock]
        answer = _run([str(python), *arguments])
    except Skipped as why:
        return [Figure("", peer.tool, None, f"skipped: {why}")]
    tool = f"{peer.tool} {answer['version']}"
    cannot = [f"cannot: {what}" for what in answer["cannot"]]
    made = [
        Figure(
            key, tool, figure.get("value"), figure.get("note", ""), figure.get("expected", False)
        )
        for key, figure in answer["figures"].items()
    ]
    return [*made, *(Figure("", tool, None, what) for what in cannot)]


def _run(command: list[str]) -> dict[str, Any]:
    out = _call(command, RUN)
    try:
        answer: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    except (IndexError, ValueError):
        raise Skipped("it printed no figures") from None
    if "skipped" in answer:
        raise Skipped(answer["skipped"])
    return answer


def _call(command: list[str], limit: float) -> str:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=limit, env=clean
        )
    except subprocess.TimeoutExpired:
        raise Skipped(f"it took more than {limit:.0f} s") from None
    except OSError as error:
        raise Skipped(f"{command[0]}: {error.strerror}") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise Skipped(lines[-1][:120])
    return done.stdout


def _python(home: Path) -> Path:
    return home / ("Scripts" if os.name == "nt" else "bin") / "python"


def _interpreter(peer: Peer, cache: Path) -> Path | None:
    """The interpreter of the peer's environment, if the environment is complete."""
    home = cache / peer.module
    ready = home / "ready"
    if ready.is_file() and ready.read_text(encoding="utf-8") == "\n".join(peer.requirements):
        return _python(home)
    return None
