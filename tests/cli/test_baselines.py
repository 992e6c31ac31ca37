"""``tsdsl random`` and ``tsdsl evolve`` as commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import killing
import pytest
from cases import swept
from tiny import SPACE, write_videos

import tsdsl

QUICK = 'train { batch = 4  jitter = 18..22  epochs = 1  lr = 0.1  schedule = "constant" }'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A space, videos, an architecture, and a search with a supernet."""
    made = tmp_path_factory.mktemp("baselines")
    text = SPACE.replace("NORM", "-> bn").replace("train { batch = 4  jitter = 18..22 }", QUICK)
    assert QUICK in text
    (made / "space.tsnet").write_text(text.replace('"constant"', "constant"))
    write_videos(made)
    space = tsdsl.load(made / "space.tsnet")
    space.sample(seed=5).save(made / "given.json")
    tsdsl.search(space, made / "list.csv", device="cpu", folder=made / "search")
    return made


@pytest.fixture
def random(run, folder: Path) -> Any:
    return lambda *more: run("random", folder / "space.tsnet", *more)


@pytest.fixture
def lists(folder: Path) -> list[Any]:
    listed = folder / "list.csv"
    return ["--data", listed, "--val", listed, "--workers", "0", "--device", "cpu"]


@pytest.fixture
def evolve(run, folder: Path, lists: list[Any]) -> Any:
    weights = folder / "search/supernet.safetensors"
    small = ["--population", "4", "--generations", "2", "--bn-batches", "2"]
    return lambda *more: run(
        "evolve", folder / "space.tsnet", "--weights", weights, *lists, *small, *more
    )


def test_jobs_of_an_array(random, run, folder: Path, lists: list[Any], tmp_path: Path) -> None:
    """Drawn, trained job by job in any order, and compared."""
    drawn = random(
        "-n",
        "2",
        "--flops",
        "105k..170k",
        "--against",
        folder / "given.json",
        "-o",
        "r",
        "--draw-only",
    )
    assert drawn.exit_code == 0 and "jobs 0 to 2" in drawn.stdout, drawn.stderr
    assert sorted(p.name for p in (tmp_path / "r/jobs").iterdir()) == [
        "0.json",
        "1.json",
        "2.json",
        "jobs.json",
    ]
    before = random("-o", "r", "--report")
    assert before.exit_code == 1 and before.stdout.count("not begun") == 4
    for job in ("2", "0"):
        done = random("-o", "r", *lists, "--job", job)
        assert done.exit_code == 0 and "top-1" in done.stdout, done.stderr
    again = random("-o", "r", "--job", "0", "--json")
    assert again.exit_code == 0 and json.loads(again.stdout)["state"] == "done"
    half = random("-o", "r", "--report", "--json")
    report = json.loads(half.stdout)
    assert half.exit_code == 1 and not report["whole"]
    assert {row["job"]: row["state"] for row in report["jobs"]} == {
        0: "done",
        1: "not begun",
        2: "done",
    }
    # A job is a run as 'tsdsl train' has them, which can go on with it.
    spec = folder / "space.tsnet"
    trained = run(
        "train",
        spec,
        "--frozen",
        "r/jobs/1.json",
        *lists,
        "-o",
        "r/runs/1",
        "--evaluate-every",
        "9",
    )
    assert trained.exit_code == 0, trained.stderr
    resumed = run("train", spec, "--frozen", "r/jobs/0.json", *lists, "-o", "r/runs/0", "--resume")
    assert resumed.exit_code == 0 and "3 of them done" in resumed.stderr
    whole = random("-o", "r", "--report")
    assert whole.exit_code == 0 and "random: 2 of 2 done" in whole.stdout
    assert "given.json: top-1" in whole.stdout and "of 3, " in whole.stdout
    rows = json.loads(random("-o", "r", "--report", "--json").stdout)["jobs"]
    for row in rows:
        weights = f"r/runs/{row['job']}/last.safetensors"
        scored = run(
            "eval", spec, "--data", lists[1], "--weights", weights, "--views", "1x1", "--json"
        )
        assert json.loads(scored.stdout)["top1"] == row["top1"]


def test_all_at_once(random, lists: list[Any], folder: Path) -> None:
    done = random("-n", "2", *lists, "-o", "r", "--json")
    report = json.loads(done.stdout)
    assert done.exit_code == 0 and report["whole"] and report["random"]["done"] == 2, done.stderr
    # Without a window, the spec's.
    assert "within the budget of phase second" in done.stderr
    assert report["windows"] == {"macs": [120_000, 1_000_000]}
    assert all(120e3 <= row["macs"] <= 1e6 and row["inside"] for row in report["jobs"])
    assert random("-o", "r", "--report", "--json").stdout == done.stdout


def test_fewer_than_asked_for(random) -> None:
    done = random("-n", "50", "--flops", "102k..105k", "-o", "r", "--draw-only", "--json")
    listed = json.loads(done.stdout)
    assert listed["windows"] == {"macs": [102_000, 105_000]}
    assert done.exit_code == 0 and 0 < listed["drawn"] == len(listed["jobs"]) < 50
    assert f"no more than {listed['drawn']} distinct networks in these windows" in done.stderr


def test_what_random_refuses(run, random, lists: list[Any], folder: Path, tmp_path: Path) -> None:
    assert random("-n", "3", "-o", "r", "--draw-only").exit_code == 0
    (tmp_path / "other.json").write_text(
        (folder / "given.json").read_text().replace("kernel", "colour")
    )
    cases: list[tuple[int, str, list[Any]]] = [
        (2, "has no jobs: -n says how many", ["-o", "new", *lists]),
        (2, "--data LIST says", ["-o", "r"]),
        (2, "--val LIST says", ["-o", "r", *lists[:2]]),
        (2, "there is no job 3: the jobs are 0 to 2", ["-o", "r", *lists, "--job", "3"]),
        (2, "exclude each other", ["-o", "r", "--report", "--job", "1"]),
        (2, "there is no evaluate section", ["-o", "r", *lists, "--evaluate", "x"]),
        (1, "n was 3, is 4", ["-o", "r", "-n", "4", "--report"]),
        (1, "seed was 0, is 1", ["-o", "r", "--seed", "1", "--report"]),
        (1, "no architecture of space", ["-n", "3", "--flops", "1G..2G", "-o", "x"]),
        (1, "has no decision 'b.s1[0].colour'", ["-o", "r", "--against", "other.json"]),
        (3, "there is no such", ["-o", "r", "--against", "none.json"]),
        (3, "there is no such list", ["-o", "r", "--val", "none.csv", *lists[:2]]),
        (
            1,
            "another state of 'Searched'",
            ["-o", "r", "--report", "--set", "b.s1[0].kernel=1x1x1"],
        ),
    ]
    for code, text, arguments in cases:
        done = random(*arguments)
        assert done.exit_code == code and text in done.stderr, (text, done.stderr)
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "x").exists()
    done = run("random", Path(__file__).parents[2] / "specs/x3d_xs.tsnet", "-n", "2", *lists)
    assert done.exit_code == 1 and "nothing to draw" in done.stderr


def test_a_failing_job(random, lists: list[Any]) -> None:
    done = random("-n", "2", *lists, "-o", "r", "--set", "train.lr=1e30")
    assert done.exit_code == 1 and done.stderr.count("not finite") >= 2, done.stderr
    assert done.stdout.count("failed: E0822") == 2
    assert "random: 0 of 2 done" in done.stdout
    alone = random("-o", "r", *lists, "--job", "1", "--set", "train.lr=1e30")
    assert alone.exit_code == 1 and "not finite" in alone.stderr


def test_an_evolution(evolve, run, folder: Path, lists: list[Any], tmp_path: Path) -> None:
    done = evolve("--flops", "105k..170k", "-o", "e", "--json")
    report = json.loads(done.stdout)
    assert done.exit_code == 0 and report["candidates"] == 8, done.stderr
    assert (
        "8 candidates at most; 14 videos (cpu)" in done.stderr and "kept in memory" in done.stderr
    )
    assert "generation 2: mean top-1" in done.stderr and 105e3 <= report["macs"] <= 170e3
    arch = json.loads((tmp_path / "e/arch.json").read_text())
    assert arch["decisions"] == report["decisions"]
    spec = folder / "space.tsnet"
    scored = run(
        "eval",
        spec,
        "--data",
        lists[1],
        "--weights",
        "e/model.safetensors",
        "--views",
        "1x1",
        "--json",
    )
    assert json.loads(scored.stdout)["top1"] == report["top1"]
    refused = evolve("--flops", "105k..170k", "-o", "e")
    assert refused.exit_code == 3 and "--resume goes on with it" in refused.stderr
    again = evolve("--flops", "105k..170k", "-o", "e", "--resume", "--json")
    assert again.exit_code == 0 and "8 of them done" in again.stderr
    told = json.loads(again.stdout)
    assert {k: told[k] for k in told if k != "seconds"} == {
        k: report[k] for k in report if k != "seconds"
    }
    other = evolve("--flops", "105k..170k", "-o", "e", "--resume", "--mutation", "0.5")
    assert other.exit_code == 1 and "evolution.mutation was 0.1, is 0.5" in other.stderr
    shown = evolve("-o", "f")
    assert "within the budget of phase second" in shown.stderr
    assert "top-1 with inherited weights" in shown.stdout


def test_what_evolve_refuses(evolve, run, folder: Path, lists: list[Any], tmp_path: Path) -> None:
    spec, weights = folder / "space.tsnet", folder / "search/supernet.safetensors"
    (tmp_path / "text").write_text("no weights")
    cases: list[tuple[int, str, list[Any]]] = [
        (2, "Missing option '--val'", ["--weights", weights, *lists[:2]]),
        (2, "Missing option '--weights'", lists),
        (3, "there is no such", ["--weights", "none", *lists]),
        (1, "holds no weights", ["--weights", "text", *lists]),
        (
            1,
            "weights of one architecture",
            ["--weights", folder / "search/model.safetensors", *lists],
        ),
        (1, "no architecture of space", ["--weights", weights, *lists, "--flops", "1G..2G"]),
        (1, "are needed", ["--weights", weights, *lists, "--memory", "1k"]),
        (2, "--mutation", ["--weights", weights, *lists, "--mutation", "0"]),
    ]
    for code, text, arguments in cases:
        done = run("evolve", spec, *arguments)
        assert done.exit_code == code and text in done.stderr, (text, done.stderr)
        assert "Traceback" not in done.stderr
    fixed = Path(__file__).parents[2] / "specs/x3d_xs.tsnet"
    done = run("evolve", fixed, "--weights", weights, *lists)
    assert done.exit_code == 1 and "has no decision to search" in done.stderr


@pytest.mark.parametrize("verb", [swept("random"), "evolve"])
def test_asked_to_stop(run, folder: Path, lists: list[Any], tmp_path: Path, verb: str) -> None:
    """By a signal, as by Ctrl-C: says how to go on, and goes on."""
    more = {
        "random": ["-n", "3", "--save-every", "1", "--log-every", "1"],
        "evolve": ["--weights", folder / "search/supernet.safetensors"],
    }[verb]
    arguments = [verb, folder / "space.tsnet", *more, *lists, "-o", "r"]
    if verb == "random":
        arguments += ["--set", "train.epochs=400"]
    where = {
        "random": ("training.trainer", "Trainer", "_step"),
        "evolve": ("searching.evolution.selection", "EvolutionLoop", "_scored"),
    }
    module, owner, method = where[verb]
    program = (
        f"from killing import signal_at; from tsdsl.{module} import {owner}; "
        f"signal_at({owner}, {method!r}, 3, {signal.SIGINT:d}); "
        "from tsdsl.cli.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(Path(killing.__file__).parent),
        },
    )
    told = done.stderr
    assert done.returncode == 130 and "the same command" in told, told
