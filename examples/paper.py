"""Table 1 and figure 2 of the paper, for a space and videos of which two cores have enough.

    pip install 'tsdsl[video,plot]'
    python examples/paper.py                            # an hour on two cores
    python examples/paper.py --seeds 1 --random 4       # minutes

Table 1: how large the most probable architecture is, after searches with several weights of the
cost term (beta). Figure 2: the architecture that was searched with the largest beta, beside random
ones of the same window, each trained from the beginning; and which place it takes among them.

The folder -o gets the videos, the folder of each search and of each training, results.json,
results.md, table1.png and figure2.png. What is finished is not done again: the same command goes on
after Ctrl-C or a kill, and with more seeds adds to what is there.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from typing import Any

import tsdsl
from tsdsl.data.synth import SynthOptions, synthesise

SPEC = Path(__file__).with_name("glyphs_one_phase.tsnet")
CLIPS = 1280
#: A job: its name, and the options that it needs.
Job = dict[str, Any]
Row = dict[str, Any]


def space_of(job: Job) -> tsdsl.Space:
    return tsdsl.load(SPEC, set=job["set"])


def window(space: tsdsl.Space) -> tuple[float, float]:
    """The budget in multiply-adds."""
    assert space.sections is not None and space.sections.search is not None
    (budget,) = space.sections.search.phases[0].budgets
    return budget.low, budget.high


# ------------------------------------------------------------------ what runs, in processes


def once(work: Callable[[Job], Row], job: Job) -> Row:
    """The result of a job, which is read from its file if the job has finished before."""
    import torch

    torch.set_num_threads(1)
    file = Path(job["folder"]) / "result.json"
    if not file.exists():
        row = work(job)
        file.write_text(json.dumps(row))
    row = json.loads(file.read_text())
    print(json.dumps(row), file=sys.stderr, flush=True)
    return dict(row)


def _searched(job: Job) -> Row:
    from tsdsl.searching.distribution import Alpha

    space = space_of(job)
    folder = Path(job["folder"])
    done = tsdsl.search(
        space, job["train"], folder=folder, resume=True, seed=job["seed"], device=job["device"]
    )
    now = Alpha.load(space, folder / "distribution.json").now()
    return {
        "beta": job["beta"],
        "seed": job["seed"],
        "macs": space.flops(now.most_probable()),
        "mean_macs": space.expectation("macs", now.distribution),
        "inside": dict(done.architecture),
        "inside_macs": done.flops,
        "met": done.met,
        "seconds": round(done.seconds, 1),
    }


def _trained(job: Job) -> Row:
    import torch

    space, architecture = space_of(job), job["architecture"]
    torch.manual_seed(job["seed"])
    done = tsdsl.train(
        tsdsl.compile(space, architecture),
        job["train"],
        space,
        frozen=architecture,
        val=job["val"],
        evaluate_every=10**6,  # after the last epoch only
        folder=job["folder"],
        resume=True,
        seed=job["seed"],
        device=job["device"],
    )
    return {
        "name": job["name"],
        "seed": job["seed"],
        "macs": space.flops(architecture),
        "top1": done.top1,
        "decisions": architecture,
        "seconds": round(done.seconds, 1),
    }


def search_job(job: Job) -> Row:
    return once(_searched, job)


def training_job(job: Job) -> Row:
    return once(_trained, job)


# ------------------------------------------------------------------ what is done


def searches(options: argparse.Namespace, common: Job) -> list[Job]:
    return [
        {
            **common,
            "beta": beta,
            "seed": seed,
            "set": {**common["set"], "beta": beta, **_epochs("search.all.", options.epochs)},
            "folder": str(options.o / f"searches/beta-{beta:g}-seed-{seed}"),
        }
        for seed in range(options.seeds)
        for beta in options.betas
    ]


def trainings(options: argparse.Namespace, common: Job, found: Sequence[Row]) -> list[Job]:
    """For each seed, the result of the search with the largest beta, and random architectures."""
    jobs = []
    settings = {**common["set"], **_epochs("train.", options.train_epochs)}
    space = space_of({"set": settings})
    for row in found:
        if row["beta"] != max(options.betas):
            continue
        searched, seed = space.architecture(row["inside"]), row["seed"]
        drawn = space.sample(options.random + 1, seed=seed, flops=window(space))
        others = [each for each in drawn if each != searched][: options.random]
        named = {"searched": searched, **{f"random-{k}": each for k, each in enumerate(others)}}
        jobs += [
            {
                **common,
                "set": settings,
                "name": name,
                "seed": seed,
                "architecture": dict(each),
                "folder": str(options.o / f"trainings/seed-{seed}/{name}"),
            }
            for name, each in named.items()
        ]
    return jobs


def _epochs(section: str, epochs: float | None) -> dict[str, float]:
    return {} if epochs is None else {f"{section}epochs": epochs}


# ------------------------------------------------------------------ what is told


def text(results: dict[str, Any]) -> str:
    """Both tables as Markdown."""
    low, high = (f"{edge / 1e6:.3g}" for edge in results["window"])
    betas = sorted({row["beta"] for row in results["searches"]})
    lines = [
        f"Multiply-adds (M) of the most probable architecture, window {low} to {high}, and in"
        " brackets their mean under the distribution:",
        "",
        _row(["seed", *(f"beta {beta:g}" for beta in betas)]),
        _row(["---"] * (len(betas) + 1)),
    ]
    for seed, rows in _by_seed(results["searches"]).items():
        cells = {r["beta"]: f"{r['macs'] / 1e6:.2f} ({r['mean_macs'] / 1e6:.2f})" for r in rows}
        lines.append(_row([str(seed), *(cells.get(beta, "-") for beta in betas)]))
    lines += [
        "",
        "Top-1 after training from the beginning:",
        "",
        _row(["seed", "searched", "its place", "random: best", "mean", "worst", "M searched"]),
        _row(["---"] * 7),
    ]
    for seed, rows in _by_seed(results["trainings"]).items():
        searched, others = _split(rows)
        scores = [r["top1"] for r in others]
        better = sum(score > searched["top1"] for score in scores)
        shown = (max(scores), mean(scores), min(scores)) if scores else ()
        random = [f"{score:.3f}" for score in shown] or ["-"] * 3
        lines.append(
            _row(
                [
                    str(seed),
                    f"{searched['top1']:.3f}",
                    f"{better + 1} of {len(rows)}",
                    *random,
                    f"{searched['macs'] / 1e6:.2f}",
                ]
            )
        )
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _by_seed(rows: Sequence[Row]) -> dict[int, list[Row]]:
    seeds = sorted({row["seed"] for row in rows})
    return {seed: [row for row in rows if row["seed"] == seed] for seed in seeds}


def _split(rows: Sequence[Row]) -> tuple[Row, list[Row]]:
    """The row of the search and the rows of random architectures."""
    searched = next(row for row in rows if row["name"] == "searched")
    return searched, [row for row in rows if row is not searched]


def draw(results: dict[str, Any], folder: Path) -> None:
    from matplotlib.figure import Figure

    from tsdsl.plots.style import DARK, LIGHT, MUTED, WINDOW, settings

    low, high = (edge / 1e6 for edge in results["window"])
    with settings():
        figure = Figure(figsize=(5, 3), layout="constrained")
        axes = figure.add_subplot()
        axes.axhspan(low, high, color=WINDOW, alpha=0.5, label="window")
        betas = sorted({row["beta"] for row in results["searches"]})
        for seed, rows in _by_seed(results["searches"]).items():
            at = [betas.index(row["beta"]) + 0.06 * (seed - 1) for row in rows]
            macs = [row["macs"] / 1e6 for row in rows]
            means = [row["mean_macs"] / 1e6 for row in rows]
            first = seed == min(r["seed"] for r in results["searches"])
            axes.plot(at, macs, "o", color=DARK, label="most probable" if first else None)
            axes.plot(at, means, "_", color=MUTED, ms=10, label="mean" if first else None)
        axes.set_xticks(range(len(betas)), [f"{beta:g}" for beta in betas])
        axes.set(xlabel="beta", ylabel="multiply-adds (M)", title="Table 1: the weight of the cost")
        axes.legend()
        figure.savefig(folder / "table1.png", dpi=150)

        groups = _by_seed(results["trainings"])
        figure = Figure(figsize=(2.2 * len(groups) + 0.8, 2.8), layout="constrained")
        panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
        for panel, (seed, rows) in zip(panels, groups.items(), strict=True):
            searched, others = _split(rows)
            panel.axvspan(low, high, color=WINDOW, alpha=0.5)
            macs = [r["macs"] / 1e6 for r in others]
            panel.plot(macs, [r["top1"] for r in others], "o", color=MUTED, label="random")
            at = searched["macs"] / 1e6
            panel.plot([at], [searched["top1"]], "D", color=LIGHT, mec=DARK, label="searched")
            panel.set(xlabel="multiply-adds (M)", title=f"seed {seed}")
        panels[0].set_ylabel("top-1")
        panels[0].legend()
        figure.suptitle("Figure 2: searched, and drawn from the same window", fontsize=9)
        figure.savefig(folder / "figure2.png", dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-o", type=Path, default=Path("build/paper"), metavar="DIR")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--betas", type=_numbers, default=[0.0, 0.02, 0.05, 0.2])
    parser.add_argument("--random", type=int, default=8, help="random architectures, each seed")
    parser.add_argument("--epochs", type=float, help="of a search; the spec's if left out")
    parser.add_argument("--train-epochs", type=float, help="of a training, likewise")
    parser.add_argument("--clips", type=int, default=CLIPS, help="videos to render")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    wanted = SynthOptions(glyphs=4, motions=4, clips=options.clips, val=0.4)
    videos = synthesise(options.o / "videos", wanted)
    common: Job = {
        "set": {"classes": len(videos.classes)},
        "train": str(options.o / "videos/train.csv"),
        "val": str(options.o / "videos/val.csv"),
        "device": options.device,
    }
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(search_job, searches(options, common)))
        trained = list(pool.map(training_job, trainings(options, common, found)))
    results = {
        "videos": videos.counts,
        "window": window(space_of(common)),
        "searches": found,
        "trainings": trained,
    }
    (options.o / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (options.o / "results.md").write_text(text(results))
    draw(results, options.o)
    print(text(results))


def _numbers(given: str) -> list[float]:
    return [float(part) for part in given.split(",")]


if __name__ == "__main__":
    main()
