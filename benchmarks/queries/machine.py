"""The machine and the settings of a run."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

#: One thread for every library.
THREADS = {
    f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM", "NUMEXPR")
}


def cpu() -> str:
    """Name of the CPU."""
    known = Path("/proc/cpuinfo")
    if known.is_file():
        found = re.search(r"^model name\s*:\s*(.+)$", known.read_text(errors="replace"), re.M)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine() or "unknown"


def slug(name: str) -> str:
    """The name in a form that file names can have."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def load() -> str:
    """Mean number of runnable processes in the last minute."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def machine(root: Path) -> dict[str, str]:
    return {
        "cpu": cpu(),
        "cores": str(os.cpu_count()),
        "load before": load(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: _version(name) for name in ("numpy", "torch", "fvcore")},
        "tsdsl": _commit(root),
        "date": datetime.now(UTC).date().isoformat(),
        "threads": "1 for every numerical library",
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _commit(root: Path) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty"],
            capture_output=True,
            text=True,
        )
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"
