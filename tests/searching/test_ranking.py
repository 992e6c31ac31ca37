"""The report against folders that were written by hand, and numbers that were computed by hand."""

from __future__ import annotations

import json
import random
import statistics
import sys
from pathlib import Path
from typing import Any

import pytest

import tsdsl
from tsdsl.diagnostics import Diagnostic
from tsdsl.searching.random_search.jobs import Draw, Jobs, prepare
from tsdsl.searching.random_search.ranking import Outcome, failure, note_failure, report

sys.path.insert(0, str(Path(__file__).resolve().parent))

from tiny_spaces import tiny

ALIKE: dict[str, Any] = {
    "recipe": {"lr": 0.1, "epochs": 3},
    "seed": 0,
    "data": {"videos": 8, "digest": "a"},
    "val": {"videos": 4, "digest": "b"},
    "evaluate": {"clips": 1},
}


def made(folder: Path, n: int = 6, given: bool = True, window: bool = False) -> Jobs:
    space = tiny(folder)
    drawn = space.sample(n, seed=0)
    other = next(a for a in space.sample(18, seed=1) if a not in drawn)
    top = float(max(map(space.flops, drawn)))
    draw = Draw(n, 0, "initial", (("macs", 0.0, top),) if window else ())
    if window:
        drawn = space.sample(n, seed=0, flops=(0, top))
        other = max(space.sample(18, seed=1), key=space.flops)
    return prepare(space, folder / "r", draw, [("given.json", other)] if given else [])


def write(jobs: Jobs, number: int, *events: dict[str, Any] | str, **about: Any) -> Path:
    """A run's folder: its description and its log."""
    folder = Path(jobs.run(number))
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    arch = dict(jobs.jobs[number].architecture)
    described = {"space_hash": jobs.space.hash, "architecture": arch, **ALIKE, **about}
    (folder / "run.json").write_text(json.dumps(described))
    lines = [event if isinstance(event, str) else json.dumps(event) for event in events]
    (folder / "log.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return folder


def step(at: int) -> dict[str, Any]:
    return {"event": "step", "step": at, "loss": 1.0, "top1": 0.99}


def scored(at: int, top1: float, loss: float = 1.0) -> dict[str, Any]:
    return {
        "event": "evaluate",
        "step": at,
        "top1": top1,
        "top5": 1.0,
        "loss": loss,
        "videos": 4,
        "missing": 0,
    }


def end(at: int, interrupted: bool = False) -> dict[str, Any]:
    return {"event": "end", "step": at, "interrupted": interrupted}


def done(jobs: Jobs, number: int, top1: float, **about: Any) -> Path:
    return write(jobs, number, step(9), scored(9, top1), end(9), **about)


def by_job(jobs: Jobs) -> dict[int, Outcome]:
    return {each.job.number: each for each in report(jobs).outcomes}


def test_numbers_by_hand(tmp_path: Path) -> None:
    jobs = made(tmp_path)
    for number, top1 in enumerate((0.25, 0.75, 0.5, 0.5, 0.0, 0.25, 0.5)):
        done(jobs, number, top1)
    found = report(jobs)
    assert found.whole and found.ranked == 7
    assert [(e.job.number, e.rank) for e in found.outcomes] == [
        (1, 1),
        (2, 2),
        (3, 2),
        (6, 2),
        (0, 5),
        (5, 5),
        (4, 7),
    ]
    # (0.25 + 0.75 + 0.5 + 0.5 + 0 + 0.25) / 6; squares of differences sum to 0.34375.
    random_ = found.random
    assert (random_.done, random_.mean, random_.best) == (6, 0.375, 0.75)
    assert random_.std == pytest.approx((0.34375 / 5) ** 0.5, abs=1e-15)
    plain = found.as_json()
    assert plain["random"] == {"done": 6, "mean": 0.375, "std": random_.std, "best": 0.75}
    (given,) = (row for row in plain["jobs"] if row["given"])
    assert (given["job"], given["rank"], given["drawn"], given["top1"]) == (6, 2, False, 0.5)
    arch = jobs.jobs[6].architecture
    assert (given["macs"], given["params"]) == (jobs.space.flops(arch), jobs.space.params(arch))
    assert given["decisions"] == dict(arch)


@pytest.mark.parametrize("seed", range(6))
def test_numbers_at_random(tmp_path: Path, seed: int) -> None:
    jobs = made(tmp_path, n=8)
    draw = random.Random(seed)
    tops = {k: draw.randrange(6) / 5 for k in range(9) if draw.random() < 0.7}
    for number, top1 in tops.items():
        done(jobs, number, top1)
    found = report(jobs)
    drawn = [top for k, top in tops.items() if k < 8]
    assert found.random.mean == (pytest.approx(statistics.fmean(drawn)) if drawn else None)
    std = statistics.stdev(drawn) if len(drawn) > 1 else None
    assert found.random.std == (std if std is None else pytest.approx(std))
    for each in found.outcomes:
        number = each.job.number
        assert (each.state == "done") == (number in tops)
        better = sum(top > tops[number] for top in tops.values()) if number in tops else -2
        assert each.rank == (better + 1 if number in tops else None)
    assert found.whole == (len(tops) == 9) and found.ranked == len(tops)


def test_the_last_evaluation_counts(tmp_path: Path) -> None:
    """Not the best one, nor one before the last step."""
    jobs = made(tmp_path, given=False)
    write(jobs, 0, step(5), scored(5, 1.0), step(9), scored(9, 0.25, 2.5), end(9))
    write(jobs, 1, step(5), scored(5, 1.0), step(9), end(9))
    # Stopped, and gone on with.
    write(jobs, 2, step(4), end(4, True), step(9), scored(9, 0.5), end(9))
    # Something came after its end.
    write(jobs, 3, step(9), scored(9, 0.5), end(9), step(12))
    found = by_job(jobs)
    assert found[3].state == "incomplete" and "last at step 12" in found[3].why
    score = found[0].score
    assert score is not None and (score.top1, score.loss) == (0.25, 2.5)
    assert found[1].state == "incomplete" and "no evaluation" in found[1].why
    assert found[2].state == "done" and found[2].score is not None


def test_what_is_not_done(tmp_path: Path) -> None:
    jobs = made(tmp_path, n=9)
    done(jobs, 0, 0.5)
    write(jobs, 1, step(3))
    write(jobs, 2, step(5), end(5, True))
    folder = write(jobs, 3, step(3))
    note_failure(str(folder), [Diagnostic("E0822", "step 4: the loss is not finite")])
    write(jobs, 4, step(9), scored(9, 1.0), '{"event": "end", "step": 9, "inter')
    Path(jobs.run(5)).mkdir()
    write(jobs, 6, step(9), scored(9, 1.0), end(9), architecture={"width": 4})
    done(jobs, 7, 1.0, recipe={"lr": 0.2, "epochs": 3})
    done(jobs, 8, 1.0, val=None)
    found = by_job(jobs)
    assert {k: each.state for k, each in found.items()} == {
        0: "done",
        1: "incomplete",
        2: "incomplete",
        3: "failed",
        4: "incomplete",
        5: "not begun",
        6: "another",
        7: "another",
        8: "another",
        9: "not begun",
    }
    for number, why in (
        (1, "last at step 3"),
        (2, "last at step 5"),
        (3, "E0822: step 4: the loss is not finite"),
        (6, "no training of this job's architecture"),
        (7, "trained otherwise than job 0: recipe.lr is 0.2, not 0.1"),
        (8, "val is none"),
    ):
        assert why in found[number].why
    # None of them is in any number.
    whole = report(jobs)
    assert not whole.whole and whole.ranked == 1
    assert (whole.random.done, whole.random.mean, whole.random.std) == (1, 0.5, None)
    assert [each.job.number for each in whole.outcomes] == list(range(10))
    assert json.loads(json.dumps(whole.as_json()))["jobs"][3]["why"].startswith("E0822")
    (folder / "failed.json").write_text("{")
    assert failure(str(folder)) == "failed.json cannot be read"


def test_all_without_a_list_to_evaluate_on(tmp_path: Path) -> None:
    jobs = made(tmp_path, n=2, given=False)
    for number in (0, 1):
        write(jobs, number, step(9), end(9), val=None)
    assert all("without a list" in each.why for each in report(jobs).outcomes)


def test_outside_of_the_windows(tmp_path: Path) -> None:
    jobs = made(tmp_path, n=3, window=True)
    inside = [each.inside for each in by_job(jobs).values()]
    flops = [jobs.space.flops(job.architecture) for job in jobs.jobs]
    assert inside == [macs <= jobs.draw.windows[0][2] for macs in flops] == [True] * 3 + [False]


def test_spoiled_runs(tmp_path: Path) -> None:
    """Whatever is in a run's folder: a state, and no other job's."""
    jobs = made(tmp_path, n=3)
    done(jobs, 0, 0.5)
    folder = done(jobs, 1, 0.25)
    texts = {name: (folder / name).read_text() for name in ("run.json", "log.jsonl")}
    draw = random.Random(1)
    states = set()
    for _ in range(200):
        name = draw.choice(list(texts))
        text = texts[name]
        at, to = sorted(draw.randrange(len(text)) for _ in range(2))
        bad = draw.choice([text[:at], text[:at] + text[to:], text[:at] + "null" + text[at:], "[]"])
        (folder / name).write_text(bad)
        found = by_job(jobs)
        assert found[0].state == "done"
        states.add(found[1].state)
        assert (found[1].score is None) == (found[1].state != "done")
        (folder / name).write_text(text)
    assert {"done", "incomplete", "another"} == states
    (folder / "run.json").write_bytes(b"\xff\xfe")
    (folder / "log.jsonl").write_bytes(b"\xff")
    assert "describes no run" in by_job(jobs)[1].why


def test_the_space_of_the_jobs(tmp_path: Path) -> None:
    jobs = made(tmp_path, n=2, given=False)
    done(jobs, 0, 0.5, space_hash="another")
    assert by_job(jobs)[0].state == "another"
    assert isinstance(jobs.space, tsdsl.Space)
