"""How long short commands take, as multiples of ``python -c pass`` on the same machine.

    python benchmarks/startup.py            # from a wheel, installed into a temporary environment
    python benchmarks/startup.py --here     # the tsdsl of this environment

Commands are interleaved and medians compared, so that a busy machine slows all of them alike.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
SPEC = str(ROOT / "specs" / "x3d_s.tsnet")
SPACE = str(ROOT / "specs" / "auto_tsnet_s.tsnet")
#: Command -> its limit, in multiples of ``python -c pass``.
COMMANDS: dict[str, tuple[list[str], float | None]] = {
    "tsdsl --help": (["--help"], 6),
    "tsdsl check x3d_s": (["check", SPEC], 20),
    "tsdsl flops x3d_s": (["flops", SPEC], 25),
    "tsdsl check auto_tsnet_s": (["check", SPACE], None),
    "tsdsl flops auto_tsnet_s": (["flops", SPACE], None),
}


def install(directory: Path) -> Path:
    """The interpreter of a new environment with a wheel of this checkout and the dependencies of
    this environment."""
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(directory), str(ROOT)],
        check=True,
    )
    environment = directory / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / "bin" / "python"
    (wheel,) = directory.glob("*.whl")
    subprocess.run(
        [*pip, "--python", str(python), "install", "--no-deps", str(wheel)],
        check=True,
    )
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def measure(python: Path, repeats: int) -> None:
    baseline = [str(python), "-c", "pass"]
    script = str(python.parent / "tsdsl")
    runs = {name: [script, *arguments] for name, (arguments, _) in COMMANDS.items()}
    for name, command in runs.items():
        done = subprocess.run(command, cwd="/", capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{name} failed:\n{done.stderr}")
    took: dict[str, list[float]] = {name: [] for name in ["python -c pass", *runs]}
    for _ in range(repeats):
        for name, command in {"python -c pass": baseline, **runs}.items():
            start = time.perf_counter()
            subprocess.run(command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            took[name].append(time.perf_counter() - start)
    unit = median(took["python -c pass"])
    print(f"python -c pass              {unit * 1000:7.1f} ms   (median of {repeats})")
    for name, (_, limit) in COMMANDS.items():
        middle = median(took[name])
        aim = f"   at most {limit:g} x" if limit else ""
        print(f"{name:26}  {middle * 1000:7.1f} ms  {middle / unit:5.1f} x{aim}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--here", action="store_true", help="measure this environment")
    options.add_argument("--repeats", type=int, default=15)
    chosen = options.parse_args()
    if chosen.here:
        measure(Path(sys.executable), chosen.repeats)
        return
    with tempfile.TemporaryDirectory() as directory:
        measure(install(Path(directory)), chosen.repeats)


if __name__ == "__main__":
    main()
