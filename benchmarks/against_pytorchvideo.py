"""Emitted networks beside pytorchvideo's, timed in turn in one run.

    python benchmarks/against_pytorchvideo.py              # CPU, one thread; two minutes
    python benchmarks/against_pytorchvideo.py --device cuda --dtype float16 --batch 8
    python benchmarks/against_pytorchvideo.py --record     # also writes benchmarks/results

X3D-S (13 x 160) and SlowFast 4x16 (32 x 224). What counts is the ratio, ours over theirs, which is
taken round by round. pytorchvideo is a development dependency; without it this is skipped.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from queries import pytorchvideo
from queries.machine import cpu, load, machine, slug

import tsdsl
from tsdsl.backends.bench import REPEATS, BenchReport

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
HEAD = (
    "network",
    "params",
    "GFLOPs",
    "latency, ms (IQR)",
    "peak, MiB",
    "ours / theirs (IQR)",
)


def pairs() -> dict[str, tuple[str, Any]]:
    """Name -> spec, and a function that makes pytorchvideo's module, with an input if it is not a
    clip."""
    fast = torch.rand(1, 3, 32, 224, 224)
    return {
        "X3D-S": ("x3d_s", lambda: pytorchvideo.x3d(13, 160, 2.2)),
        "SlowFast 4x16": (
            "slowfast_r50_4x16",
            lambda: (pytorchvideo.slowfast_4x16(224), [fast[:, :, ::8].contiguous(), fast]),
        ),
    }


def measured(spec: str, theirs: Any, options: dict[str, Any]) -> BenchReport:
    """Measure theirs first, so that ratios are ours divided by theirs."""
    space = tsdsl.load(ROOT / "specs" / f"{spec}.tsnet")
    networks = {"pytorchvideo": theirs, "tsdsl": space}
    return tsdsl.bench(networks, space.input_shape, **options)


def cells(name: str, report: BenchReport) -> list[list[str]]:
    found = []
    for row in report.rows:
        if row.latency is None or row.ratio is None or row.peak is None:
            found.append([f"{name}, {row.name}", *["-"] * 3, "failed", str(row.failure)])
            continue
        macs = "-" if row.macs is None else f"{row.macs / 1e9:.3f}"
        time = f"{row.latency.median / 1e6:.1f} ({row.latency.iqr / 1e6:.1f})"
        ratio = f"{row.ratio.median:.3f} ({row.ratio.iqr:.3f})" if row.name == "tsdsl" else ""
        found.append(
            [f"{name}, {row.name}", f"{row.params:,}", macs, time, f"{row.peak / 2**20:.1f}", ratio]
        )
    return found


def markdown(made: dict[str, Any], reports: dict[str, BenchReport]) -> str:
    lines = [
        "# Emitted networks beside pytorchvideo's",
        "",
        "Written by `python benchmarks/against_pytorchvideo.py --record`; what is timed: "
        "[benchmarks](../README.md).",
        "",
        *(f"- {key}: {value}" for key, value in made["machine"].items() if key != "threads"),
        *(f"- {key}: {value}" for key, value in made["setup"].items()),
        "",
    ]
    table = [HEAD, ["---"] * len(HEAD)]
    table += [row for name, report in reports.items() for row in cells(name, report)]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in table]) + "\n"


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    options.add_argument("--device", default="cpu", help="cpu or cuda[:N]")
    options.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32")
    options.add_argument("--batch", type=int, default=1)
    options.add_argument("--threads", type=int, default=1, help="of the CPU")
    options.add_argument("--repeats", type=int, help="20 on the CPU, else 500")
    options.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options.add_argument("--channels-last", action="store_true")
    options.add_argument("--record", action="store_true", help="write benchmarks/results")
    chosen = options.parse_args()
    try:
        pytorchvideo.x3d(4, 160, 2.2)
    except ImportError as missing:
        print(f"pytorchvideo cannot be imported ({missing}): skipped")
        return
    repeats = chosen.repeats or (20 if chosen.device == "cpu" else REPEATS["cuda"])
    given = {**vars(chosen), "repeats": repeats}
    del given["record"]
    made: dict[str, Any] = {"machine": machine(ROOT)}
    reports = {name: measured(spec, theirs, given) for name, (spec, theirs) in pairs().items()}
    made["machine"]["load after"] = load()
    made["setup"] = dict(next(iter(reports.values())).setup)
    print(markdown(made, reports))
    if chosen.record:
        made["networks"] = {
            name: {
                row.name: {
                    "params": row.params,
                    "macs": row.macs,
                    "peak_bytes": row.peak,
                    "latency_ns": row.latency and list(row.latency.of),
                    "ratio": row.ratio and list(row.ratio.of),
                }
                for row in report.rows
            }
            for name, report in reports.items()
        }
        device = cpu() if chosen.device == "cpu" else made["setup"]["device"]
        file = HERE / "results" / f"against_pytorchvideo-{slug(device)}.json"
        file.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
        file.with_suffix(".md").write_text(markdown(made, reports), encoding="utf-8")


if __name__ == "__main__":
    main()
