"""``tsdsl search``: the plan, a search, what does not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny import write_space, write_videos

import tsdsl


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("search")
    write_space(made / "space.tsnet", norm=True)
    write_videos(made)
    return made


@pytest.fixture
def search(run, folder: Path) -> Any:
    def invoke(*more: str | Path) -> Any:
        return run("search", folder / "space.tsnet", *more)

    return invoke


def test_plan(search, folder: Path, tmp_path: Path) -> None:
    done = search("--plan")
    assert done.exit_code == 0, done.stderr
    assert "first" in done.stdout and "FLOPs 120k..1M (beta 0.2)" in done.stdout
    done = search("--plan", "--data", folder / "list.csv", "--json")
    plan = json.loads(done.stdout)
    assert plan["format_version"] == 1 and plan["steps_per_epoch"] == 3
    assert [(p["name"], p["steps"], p["warmup_steps"]) for p in plan["phases"]] == [
        ("first", 6, 2),
        ("second", 3, 1),
    ]
    assert [(p["samples"], p["videos"]) for p in plan["phases"]] == [(3, 24), (3, 12)]
    assert all(p["compute_macs"] > 0 and p["activation_bytes"]["max"] for p in plan["phases"])
    supernet = tsdsl.compile(tsdsl.load(folder / "space.tsnet"))
    assert plan["supernet_params"] == sum(p.numel() for p in supernet.parameters())
    assert list(tmp_path.iterdir()) == []


def test_a_search(search, run, folder: Path, tmp_path: Path) -> None:
    arguments = ["--data", folder / "list.csv", "--device", "cpu", "--workers", "0", "-o", "s"]
    done = search(*arguments, "--json")
    report = json.loads(done.stdout)
    assert done.exit_code == int(not report["met"]), done.stderr
    assert "phase first ended after step 6" in done.stderr and report["steps"] == 9
    arch = json.loads((tmp_path / "s/arch.json").read_text())
    assert arch["decisions"] == report["decisions"]
    # What other verbs read.
    spec = folder / "space.tsnet"
    counted = run("flops", spec, "--frozen", "s/arch.json", "--json")
    assert json.loads(counted.stdout)["macs"] == report["macs"]
    assert run("space", spec, "--distribution", "s/distribution.json").exit_code == 0
    scored = run("eval", spec, "--data", folder / "list.csv", "--weights", "s/model.safetensors")
    assert scored.exit_code == 0 and "top-1" in scored.stdout, scored.stderr
    refused = search(*arguments)
    assert refused.exit_code == 3 and "--resume goes on with it" in refused.stderr
    again = search(*arguments, "--resume")
    assert again.exit_code == done.exit_code and "9 of them done" in again.stderr
    parts = search(*arguments, "--resume", "--micro-batch", "2")
    assert parts.exit_code == 1 and "micro_batch was not set, is 2" in parts.stderr
    other = search(*arguments, "--resume", "--set", "search.samples=2")
    assert other.exit_code == 1 and "search.samples was 3, is 2" in other.stderr


def test_what_does_not_fit(search, run, folder: Path) -> None:
    listed = ["--data", folder / "list.csv", "--device", "cpu"]
    cases: list[tuple[int, str, list[Any]]] = [
        (2, "--data LIST says", []),
        (3, "there is no such list", ["--data", "none.csv"]),
        (1, "--set search.batch=14", [*listed, "--set", "search.batch=16"]),
        (1, "--set search.batch=14", ["--plan", *listed, "--set", "search.batch=16"]),
        (1, "phase 'second' has nothing to learn", [*listed, "--set", "b.s1[0].kernel=1x1x1"]),
        (1, "not finite", [*listed, "-o", "x", "--set", "search.first.lr.weights=1e30"]),
        (2, "is not cpu, cuda", [*listed, "--device", "tpu"]),
    ]
    for code, text, arguments in cases:
        done = search(*arguments)
        assert done.exit_code == code and text in done.stderr, (text, done.stderr)
        assert "Traceback" not in done.stderr
    fixed = run("search", Path(__file__).parents[2] / "specs/x3d_xs.tsnet", *listed)
    assert fixed.exit_code == 1 and "how it is searched" in fixed.stderr


def test_plot(search, run, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib.font_manager")
    arguments = ["--data", folder / "list.csv", "--device", "cpu", "--workers", "0", "-o", "s"]
    search(*arguments, "--log-every", "1")
    done = run("plot", "s", "-o", "s.png", "--only", "a")
    assert done.exit_code == 0 and done.stderr == "wrote s.png\n", done.stderr
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
    assert run("plot", "s", "-o", "s.png", "--only", "c").exit_code == 2
    assert run("plot", "s", "-o", "s.jpg").exit_code == 2
    assert run("plot", "s", "-o", "none/s.png").exit_code == 3
    (tmp_path / "s/alpha.jsonl").write_text("{}")
    broken = run("plot", "s", "-o", "s.png")
    assert broken.exit_code == 1 and "not how a search went" in broken.stderr
    assert run("plot", tmp_path, "-o", "s.png").exit_code == 3


def test_a_budget_that_nothing_meets(run, folder: Path, tmp_path: Path) -> None:
    """It is said before, the search goes on, and the exit code says it again."""
    text = (folder / "space.tsnet").read_text().replace("120k..1M", "1G..2G")
    (tmp_path / "far.tsnet").write_text(text)
    arguments = ["far.tsnet", "--data", folder / "list.csv", "--device", "cpu", "--workers", "0"]
    planned = run("search", *arguments, "--plan")
    assert "W0974" in planned.stderr and "phase 'second': no architecture" in planned.stderr
    done = run("search", *arguments, "-o", "far", "--log-every", "1")
    assert done.exit_code == 1 and "met by no architecture" in done.stdout, done.stderr
    assert "W0974" in done.stderr and "Traceback" not in done.stderr
    lines = [json.loads(line) for line in (tmp_path / "far/log.jsonl").read_text().splitlines()]
    last = [line for line in lines if line["event"] == "distribution"][-1]
    assert last["mass"] == [0, 0] and last["inside"] is None and last["most_probable"]
    assert (tmp_path / "far/model.safetensors").exists()


def test_a_budget_that_an_earlier_phase_misses(run, folder: Path, tmp_path: Path) -> None:
    """The last phase has no budget; the exit code is 1, from every door and after a resume."""
    text = (folder / "space.tsnet").read_text()
    text = text.replace("budget flops in 120k..1M weight 0.2", "")
    text = text.replace("epochs = 2  lr", "epochs = 2  budget flops in 1G..2G weight 0.2  lr")
    (tmp_path / "early.tsnet").write_text(text)
    listed = folder / "list.csv"
    arguments = [
        "early.tsnet",
        "--data",
        listed,
        "--device",
        "cpu",
        "--workers",
        "0",
        "-o",
        "early",
    ]
    for more in ([], ["--resume"]):
        done = run("search", *arguments, "--json", *more)
        assert done.exit_code == 1 and "Traceback" not in done.stderr, done.stderr
        report = json.loads(done.stdout)
        first, second = report["phases"]
        assert report["met"] is False and first["met"] is False and second["met"] is True
        (budget,) = first["budgets"]
        assert (budget["cost"], budget["low"], budget["high"]) == ("flops", 1e9, 2e9)
        assert second["budgets"] == []
        assert "E0848" in done.stderr and f"flops is {budget['value']:,}" in done.stderr
        assert "phase 'first' missed its budget" in done.stderr
    lines = [json.loads(line) for line in (tmp_path / "early/log.jsonl").read_text().splitlines()]
    end = [line for line in lines if line["event"] == "end"][-1]
    assert end["met"] is False and end["phases"] == report["phases"]
    phase = next(line for line in lines if line["event"] == "phase")
    assert phase["met"] is False and phase["values"] == {"flops": budget["value"]}
    space = tsdsl.load(tmp_path / "early.tsnet")
    found = tsdsl.search(space, listed, device="cpu")
    assert not found.met and [d.code for d in found.missed] == ["E0848"]
    # Of what exists in the phase: the sparse stream and the head, later decisions at defaults.
    plan = run("search", "early.tsnet", "--plan")
    assert plan.exit_code == 0 and "phase 'first': no architecture" in plan.stderr


def test_a_plan_of_budgets_that_exclude_each_other(run, folder: Path, tmp_path: Path) -> None:
    """Each can be met by itself: it is refused before anything is trained."""
    space = tsdsl.load(folder / "space.tsnet")
    from tsdsl.searching.plan import plan_of, present

    first = present(space, plan_of(space, 3).phases[0])
    low, most = first.bounds("macs").min.value, space.bounds("macs").max.value
    text = (folder / "space.tsnet").read_text()
    text = text.replace("120k..1M", f"{most}..{most}")
    text = text.replace("epochs = 2  lr", f"epochs = 2  budget flops in {low}..{low} weight 1  lr")
    (tmp_path / "apart.tsnet").write_text(text)
    for more in (["--plan"], ["--device", "cpu", "-o", "apart"]):
        done = run("search", "apart.tsnet", "--data", folder / "list.csv", *more)
        assert done.exit_code == 1 and "E0847" in done.stderr, (done.stdout, done.stderr)
    assert not (tmp_path / "apart/checkpoints").exists() or not list(
        (tmp_path / "apart/checkpoints").iterdir()
    )
