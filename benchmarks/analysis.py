"""Exact queries about spaces too large to enumerate, beside what is used elsewhere.

    python benchmarks/analysis.py                     # peers that are installed or set up already
    python benchmarks/analysis.py --peers             # sets them up in .bench first (some minutes)
    python benchmarks/analysis.py --record            # and writes benchmarks/results
    python benchmarks/analysis.py --json out.json     # and writes the figures there

What is timed, and what each peer can and cannot do: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from queries import environments, report
from queries.machine import THREADS, cpu, load, machine, slug
from queries.quantities import Figure

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SPECS = (ROOT / "specs" / "auto_tsnet_s.tsnet", HERE / "coupled.tsnet")


def compare(file: Path, cache: Path, long: float, clock: str) -> dict[str, Any]:
    """All measurements of one space."""
    # numpy reads the number of threads when it is imported.
    from queries import describe, exact, here, timing

    import tsdsl

    timing.choose(clock)
    space = tsdsl.load(file)
    windows = exact.windows(space)
    figures: list[Figure] = [
        *exact.measure(file, windows, long),
        *here.rejection(space, windows, long),
        *here.counters(space),
    ]
    with tempfile.TemporaryDirectory() as directory:
        description = Path(directory) / "space.json"
        plain = describe.write(space, windows, description)
        for peer in environments.PEERS:
            figures += environments.figures(peer, cache, description, long, clock)
    return {
        "name": space.name,
        "decisions": len(space.decisions),
        "size": str(space.size),
        "windows": plain["windows"],
        "figures": [figure._asdict() for figure in figures],
    }


def printed(space: dict[str, Any]) -> None:
    figures = [Figure(**figure) for figure in space["figures"]]
    print(f"\n{space['name']}: {report.summary(space)}\n")
    print(report.text([report.HEAD, *report.rows(figures)]) + "\n")
    for remark in report.remarks(figures):
        print(f"  {remark}")
    sys.stdout.flush()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("specs", nargs="*", type=Path, default=SPECS, help="spaces (.tsnet)")
    options.add_argument("--peers", action="store_true", help="set peers up that are not there")
    options.add_argument("--cache", type=Path, default=ROOT / ".bench", help="where they are")
    options.add_argument("--seconds", type=float, default=2.0, help="that a rate is measured for")
    options.add_argument(
        "--clock", choices=("wall", "cpu"), default="wall", help="cpu: for a machine that is busy"
    )
    options.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options.add_argument("--record", action="store_true", help="write benchmarks/results")
    chosen = options.parse_args()
    if chosen.json and not chosen.json.parent.is_dir():
        options.error(f"{chosen.json.parent} is no folder")
    os.environ.update(THREADS)
    if chosen.peers:
        for peer in environments.PEERS:
            print(f"setting up {peer.tool} in {chosen.cache}", file=sys.stderr)
            try:
                environments.set_up(peer, chosen.cache)
            except environments.Skipped as why:
                print(f"{peer.tool}: skipped: {why}", file=sys.stderr)
    made: dict[str, Any] = {"machine": machine(ROOT), "spaces": []}
    made["machine"]["clock"] = chosen.clock
    print(", ".join(f"{key} {value}" for key, value in made["machine"].items()))
    for spec in chosen.specs:
        made["spaces"].append(compare(spec, chosen.cache, chosen.seconds, chosen.clock))
        printed(made["spaces"][-1])
    made["machine"]["load after"] = load()
    files = [chosen.json] if chosen.json else []
    if chosen.record:
        files.append(HERE / "results" / f"analysis-{slug(cpu())}.json")
        files[-1].parent.mkdir(exist_ok=True)
        files[-1].with_suffix(".md").write_text(report.markdown(made), encoding="utf-8")
    for file in files:
        file.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
