"""Two streams beside either one alone, with as many multiply-adds, trained by `tsdsl.train`.

    python benchmarks/two_stream.py                   # nine trainings, a minute each
    python benchmarks/two_stream.py --jobs 2          # two at a time
    python benchmarks/two_stream.py --record          # and writes benchmarks/results

The videos are those of `tsdsl data synth` with its defaults, the same for all; a seed gives a
network its first weights and the order of the videos. What is told is top-1 on the videos of
``val.csv`` after the last epoch, one view of each, and how much of the label was right.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from queries.machine import cpu, load, machine, slug

import tsdsl
from tsdsl.data.synth import synthesise
from tsdsl.training.events import EvaluationDone
from tsdsl.training.scores import Scores

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SPECS = ROOT / "examples"
#: Column -> spec. All are trained by the recipe of the first one.
NETWORKS = {
    "two-stream": SPECS / "glyphs.tsnet",
    "sparse alone": SPECS / "glyphs_sparse.tsnet",
    "dense alone": SPECS / "glyphs_dense.tsnet",
}
HEAD = ("seed", *NETWORKS)


def trained(job: tuple[str, int, str, float | None]) -> dict[str, Any]:
    """Top-1 of a network, and the shares of videos whose glyph and whose motion it recognises. The
    job has its column, a seed, the folder of videos, and epochs (None: the recipe's)."""
    column, seed, folder, epochs = job
    torch.set_num_threads(1)
    settings = {} if epochs is None else {"train.epochs": epochs}
    recipe = tsdsl.load(NETWORKS["two-stream"], set=settings)
    space = tsdsl.load(NETWORKS[column])
    torch.manual_seed(seed)
    net = tsdsl.compile(space)
    seen: list[Scores] = []

    def tell(event: object) -> None:
        if isinstance(event, EvaluationDone):
            seen.append(event.scores)

    done = tsdsl.train(
        net,
        f"{folder}/train.csv",
        recipe,
        val=f"{folder}/val.csv",
        evaluate_every=10**6,  # after the last epoch only
        seed=seed,
        device="cpu",
        on_event=tell,
    )
    scores = seen[-1]
    right = {"top1": 0, "glyph": 0, "motion": 0}
    for best, label in zip(scores.probabilities_NK.argmax(1), scores.labels_N, strict=True):
        found, wanted = scores.classes[best], scores.classes[label]
        right["top1"] += found == wanted
        # The name of a class is DIGIT-SLANT-MOTION.
        right["glyph"] += found.split("-")[:2] == wanted.split("-")[:2]
        right["motion"] += found.split("-")[2:] == wanted.split("-")[2:]
    return {
        "network": column,
        "seed": seed,
        "macs": space.flops(),
        "params": space.params(),
        "seconds": done.seconds,
        **{what: count / len(scores) for what, count in right.items()},
    }


def markdown(report: dict[str, Any]) -> str:
    lines = [
        f"# Two streams beside one: {report['machine']['cpu']}",
        "",
        "Written by `python benchmarks/two_stream.py --record`; what is trained: "
        "[benchmarks](../README.md).",
        "",
        *(f"- {key}: {value}" for key, value in report["machine"].items()),
        f"- videos: {report['videos']}, classes: {report['classes']},"
        f" chance {1 / report['classes']:.3f}",
        "",
    ]
    rows = report["trainings"]
    of = {c: [row for row in rows if row["network"] == c] for c in NETWORKS}
    table = [list(HEAD), ["---"] * len(HEAD)]
    for seed in sorted({row["seed"] for row in rows}):
        cells = [next(r["top1"] for r in of[c] if r["seed"] == seed) for c in NETWORKS]
        table.append([str(seed), *(f"{cell:.3f}" for cell in cells)])
    for what, key in (("mean", "top1"), ("its glyph", "glyph"), ("its motion", "motion")):
        table.append([what, *(f"{mean(r[key] for r in of[c]):.3f}" for c in NETWORKS)])
    table.append(["MACs (M)", *(f"{of[c][0]['macs'] / 1e6:.2f}" for c in NETWORKS)])
    table.append(["parameters", *(f"{of[c][0]['params']:,}" for c in NETWORKS)])
    table.append(["seconds", *(f"{mean(r['seconds'] for r in of[c]):.0f}" for c in NETWORKS)])
    return "\n".join(lines + [f"| {' | '.join(cells)} |" for cells in table]) + "\n"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--epochs", type=float, help="another number than the recipe's")
    options.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    options.add_argument("--data", type=Path, metavar="DIR", help="keep the videos there")
    options.add_argument("--record", action="store_true", help="write benchmarks/results")
    chosen = options.parse_args()
    report: dict[str, Any] = {"machine": machine(ROOT), "trainings": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.data or Path(temporary) / "glyphs"
        made = synthesise(folder)
        report |= {"videos": made.counts, "classes": len(made.classes)}
        jobs = [(c, s, str(folder), chosen.epochs) for s in range(chosen.seeds) for c in NETWORKS]
        with ProcessPoolExecutor(chosen.jobs, mp_context=get_context("spawn")) as pool:
            for row in pool.map(trained, jobs):
                report["trainings"].append(row)
                print(json.dumps(row), file=sys.stderr, flush=True)
    report["machine"]["load after"] = load()
    print(markdown(report))
    if chosen.record:
        file = HERE / "results" / f"two_stream-{slug(cpu())}.json"
        file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        file.with_suffix(".md").write_text(markdown(report), encoding="utf-8")


if __name__ == "__main__":
    main()
