"""Jobs that are trained: ordinary runs, resumed after kills, failures named, others left alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import swept
from killing import Killer

import tsdsl
from tsdsl.diagnostics import FileError, SpecError
from tsdsl.searching.random_search.ranking import Report
from tsdsl.searching.random_search.run import Busy, train_job
from tsdsl.training.folder import open_folder
from tsdsl.training.ranks import Ranks
from tsdsl.training.run import network
from tsdsl.weights.weight_files import load

Tiny = Callable[..., tsdsl.Space]
WINDOW = (105e3, 170e3)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def space(tiny: Tiny) -> tsdsl.Space:
    return tiny(True, train__epochs=1, train__lr=0.1, train__schedule="constant")


def search(space: tsdsl.Space, videos: Path, folder: Path, **options: Any) -> Report:
    given = {"n": 2, "flops": WINDOW, "device": "cpu", **options}
    return tsdsl.random_search(space, videos, videos, folder=folder, **given)


def equal(one: Path, other: Path) -> bool:
    left, right = (load(folder / "last.safetensors") for folder in (one, other))
    return left.about == right.about and all(
        torch.equal(tensor, right.tensors[name]) for name, tensor in left.tensors.items()
    )


def test_jobs_are_ordinary_trainings(space: tsdsl.Space, videos: Path, tmp_path: Path) -> None:
    given = space.most_probable()
    told: list[int] = []
    found = search(
        space,
        videos,
        tmp_path / "r",
        against={"searched": given},
        train_seed=4,
        on_event=lambda job, event: told.append(job.number),
    )
    assert found.whole and found.ranked == 3 and list(dict.fromkeys(told)) == [0, 1, 2]
    for each in found.outcomes:
        number = each.job.number
        arch = each.job.architecture
        net = network(space, arch, 4)
        alone = tmp_path / f"alone{number}"
        done = tsdsl.train(
            net, videos, space, frozen=arch, val=videos, folder=alone, seed=4, device="cpu"
        )
        assert each.score is not None and each.score.top1 == done.top1
        assert equal(alone, tmp_path / f"r/runs/{number}")
        for name in ("run.json", "arch.json", "model.py"):
            assert (alone / name).read_text() == (tmp_path / f"r/runs/{number}" / name).read_text()
    # Nothing is done again.
    again: list[Any] = []
    more = search(
        *(space, videos, tmp_path / "r"),
        n=None,
        train_seed=4,
        on_event=lambda job, event: again.append(job),
    )
    assert more.as_json() == found.as_json() and again == []
    # The given one comes later, and alone.
    later = search(space, videos, tmp_path / "s", job=1)
    assert [each.state for each in later.outcomes] == ["done", "not begun"]
    # Another seed, other weights.
    assert not equal(tmp_path / "s/runs/1", tmp_path / "r/runs/1")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kills", [2, swept(50)])
def test_a_killed_random_search_goes_on_to_the_same_result(
    space: tsdsl.Space, videos: Path, tmp_path: Path, kills: int
) -> None:
    straight = search(space, videos, tmp_path / "straight")

    def run(folder: Path) -> None:
        search(space, videos, folder, save_every=1)

    killer = Killer(run, seed=11)
    killer.whole(tmp_path / "forked")
    left, at = kills, 0
    while left:
        folder = tmp_path / f"run{at}"
        at += 1
        for _ in range(min(left, 2)):
            left -= 1
            killer.kill(folder)
        killer.finish(folder)
        found = search(space, videos, folder)
        assert found.as_json() == straight.as_json()
        for number in range(2):
            assert equal(tmp_path / f"straight/runs/{number}", folder / f"runs/{number}")


def test_done_is_not_what_is_asked_for_now(
    space: tsdsl.Space, videos: Path, tmp_path: Path
) -> None:
    search(space, videos, tmp_path / "r")
    assert search(space, videos, tmp_path / "r").whole
    with pytest.raises(tsdsl.SpecError, match="otherwise than job 0: seed is 4, not 0"):
        search(space, videos, tmp_path / "r", train_seed=4)
    fewer = tmp_path / "fewer.csv"
    listed = videos.read_text().splitlines()[:9]
    fewer.write_text("\n".join(f"{videos.parent}/{line}" for line in listed))
    with pytest.raises(tsdsl.SpecError, match=r"than job 0: data\.videos is 9, not 14"):
        search(space, fewer, tmp_path / "r")
    with pytest.raises(tsdsl.FileError):
        search(space, tmp_path / "none.csv", tmp_path / "r")


def test_interrupted(space: tsdsl.Space, videos: Path, tmp_path: Path) -> None:
    asked = iter(range(100))
    found = search(space, videos, tmp_path, stop=lambda: next(asked) >= 3)
    assert [each.state for each in found.outcomes] == ["done", "incomplete"]
    assert "last at step 1" in found.outcomes[1].why
    whole = search(space, videos, tmp_path / "straight")
    assert search(space, videos, tmp_path).as_json() == whole.as_json()


def test_a_failure_is_named(tiny: Tiny, space: tsdsl.Space, videos: Path, tmp_path: Path) -> None:
    """The others go on; another try takes it back."""
    wild = tiny(True, train__epochs=1, train__lr=1e30, train__schedule="constant")
    found = search(wild, videos, tmp_path)
    assert [each.state for each in found.outcomes] == ["failed", "failed"]
    assert all("E0822: " in each.why and "not finite" in each.why for each in found.outcomes)
    assert found.random.done == 0 and not found.whole
    assert search(space, videos, tmp_path).whole
    assert not list(tmp_path.glob("runs/*/failed.json"))


def test_a_job_of_another_process(space: tsdsl.Space, videos: Path, tmp_path: Path) -> None:
    with open_folder(str(tmp_path / "runs/0")):
        found = search(space, videos, tmp_path)
        assert {e.job.number: e.state for e in found.outcomes} == {0: "not begun", 1: "done"}
        with pytest.raises(Busy, match="another process"):
            list(train_job(found.jobs, 0, videos, videos, Ranks.alone()))
    assert search(space, videos, tmp_path).whole


def test_trained_otherwise(tiny: Tiny, space: tsdsl.Space, videos: Path, tmp_path: Path) -> None:
    search(space, videos, tmp_path, job=0)
    other = tiny(True, train__epochs=1, train__lr=0.2, train__schedule="constant")
    with pytest.raises(
        SpecError, match=r"would be trained otherwise than job 0: recipe\.lr is 0\.2, not 0\.1"
    ):
        search(other, videos, tmp_path)
    with pytest.raises(SpecError, match="seed is 1, not 0"):
        search(space, videos, tmp_path, train_seed=1)
    # Nothing of it stays in the way.
    assert search(space, videos, tmp_path).whole


def test_the_folder_of_another_run(space: tsdsl.Space, videos: Path, tmp_path: Path) -> None:
    search(space, videos, tmp_path)
    (tmp_path / "runs/0").rename(tmp_path / "runs/2")
    (tmp_path / "runs/1").rename(tmp_path / "runs/0")
    with pytest.raises(SpecError, match="the run in this folder has other settings: architecture"):
        search(space, videos, tmp_path)
    with pytest.raises(FileError, match="no such list"):
        search(space, tmp_path / "none.csv", tmp_path / "new")
