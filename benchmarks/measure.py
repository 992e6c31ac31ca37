"""How well sums of measured operations predict whole networks.

    python benchmarks/measure.py                      # CPU, one thread; about five minutes
    python benchmarks/measure.py --device cuda
    python benchmarks/measure.py --record             # and writes benchmarks/results

Every operation of a space is timed alone, then whole networks, at even quantiles of the predicted
latency: `tsdsl measure --check`. What is printed here stands in the tables' provenance.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from queries.machine import cpu, load, machine, slug

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
#: Space -> settings. The first space has a small crop, so that the benchmark takes minutes.
SPECS: dict[Path, tuple[str, ...]] = {
    ROOT / "specs" / "auto_tsnet_s.tsnet": ("crop=64",),
    ROOT / "examples" / "two_stream.tsnet": (),
}
HEAD = (
    "space",
    "operations",
    "networks",
    "Spearman",
    "Kendall",
    "sum / whole, median",
    "least",
    "greatest",
)


def measured(spec: Path, settings: tuple[str, ...], table: Path, more: list[str]) -> dict[str, Any]:
    """Measure the table of a space, or read it if it exists with its check."""
    if not (table.is_file() and "check" in json.loads(table.read_text())["provenance"]):
        command = [sys.executable, "-m", "tsdsl.cli", "measure", str(spec), "-o", str(table), *more]
        for setting in settings:
            command += ["--set", setting]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    content: dict[str, Any] = json.loads(table.read_text())
    return {
        "name": " ".join((spec.stem, *settings)),
        "operations": len(content["entries"]),
        **content["provenance"],
    }


def row(space: dict[str, Any]) -> list[str]:
    check = space["check"]
    ratio = check["sum_over_whole"]
    figures = (check["spearman"], check["kendall"], ratio["median"], ratio["min"], ratio["max"])
    counts = (space["operations"], check["architectures"])
    return [space["name"], *map(str, counts), *(f"{figure:.3f}" for figure in figures)]


def markdown(report: dict[str, Any]) -> str:
    one = report["spaces"][0]
    setup = ("device", "torch", "threads", "dtype", "batch", "statistic", "clock", "repeats")
    lines = [
        f"# Measured latency: {one['device']}",
        "",
        "Written by `python benchmarks/measure.py --record`; what is timed: "
        "[benchmarks](../README.md).",
        "",
        *(f"- {key}: {value}" for key, value in report["machine"].items()),
        *(f"- {key}: {one[key]}" for key in setup),
        "",
    ]
    table = [HEAD, ["---"] * len(HEAD), *map(row, report["spaces"])]
    return "\n".join(lines + [f"| {' | '.join(cells)} |" for cells in table]) + "\n"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--device", default="cpu", help="cpu or cuda[:N]")
    options.add_argument("--threads", default="1", help="of the CPU")
    options.add_argument("--repeats", default="10", help="samples of an operation")
    options.add_argument("--statistic", choices=("median", "min"), default="min")
    options.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options.add_argument("--warmup", default="3", help="calls before the samples")
    options.add_argument("--check", default="30", help="whole networks")
    options.add_argument("--tables", type=Path, metavar="DIR", help="read and write tables there")
    options.add_argument("--record", action="store_true", help="write benchmarks/results")
    chosen = options.parse_args()
    more = [f"--{key}={getattr(chosen, key)}" for key in ("device", "threads", "repeats")]
    more += [f"--{key}={getattr(chosen, key)}" for key in ("statistic", "clock", "warmup", "check")]
    made: dict[str, Any] = {"machine": machine(ROOT), "spaces": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.tables or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for spec, settings in SPECS.items():
            made["spaces"].append(measured(spec, settings, folder / f"{spec.stem}.json", more))
    made["machine"]["load after"] = load()
    print(markdown(made))
    if chosen.record:
        device = cpu() if chosen.device == "cpu" else made["spaces"][0]["device"]
        file = HERE / "results" / f"measure-{slug(device)}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
        file.with_suffix(".md").write_text(markdown(made), encoding="utf-8")


if __name__ == "__main__":
    main()
