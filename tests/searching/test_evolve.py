"""A whole evolution: the log as its state, results as files, kills, ranks, what does not fit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cases import swept
from killing import Killer

import tsdsl
from tsdsl.data.lists import read_list
from tsdsl.diagnostics import DiagnosticError, FileError, SpecError
from tsdsl.searching.evolution.events import (
    CandidateScored,
    EvolutionStarted,
    GenerationFinished,
)
from tsdsl.searching.evolution.population import Evolution, Settings
from tsdsl.searching.evolution.run import EvolutionFinished
from tsdsl.sema.sections import Evaluate
from tsdsl.training.evaluation import views_of
from tsdsl.training.recipe import Recipe
from tsdsl.training.scoring import EvaluationError, score
from tsdsl.weights.weight_files import WeightsError, load, save

sys.path.insert(0, str(Path(__file__).resolve().parent))

from tiny_spaces import ignored

Tiny = Callable[..., tsdsl.Space]
WINDOW = (105e3, 170e3)
SETTINGS = Settings(5, 3, 3, mutation=0.3)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trained(spec: Callable[..., Path], videos: Path, tmp_path_factory: Any) -> Path:
    """The folder of a search."""
    torch.set_num_threads(1)
    folder: Path = tmp_path_factory.mktemp("trained")
    tsdsl.search(tsdsl.load(spec(True)), videos, device="cpu", folder=folder)
    return folder


def evolve(space: tsdsl.Space, trained: Path, videos: Path, **options: Any) -> EvolutionFinished:
    given = {"settings": SETTINGS, "flops": WINDOW, "bn_batches": 2, "device": "cpu", **options}
    return tsdsl.evolve(space, trained / "supernet.safetensors", videos, videos, **given)


def log_of(folder: Path) -> list[dict[str, Any]]:
    """The candidates, without how long they took."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: line[k] for k in line if k not in ("time", "seconds")} for line in lines]


def same(one: Path, other: Path) -> None:
    assert log_of(one) == log_of(other)
    for name in ("arch.json", "model.py", "run.json"):
        assert (one / name).read_text() == (other / name).read_text()
    left, right = (load(folder / "model.safetensors") for folder in (one, other))
    assert left.about == right.about and left.tensors.keys() == right.tensors.keys()
    assert all(torch.equal(t, right.tensors[name]) for name, t in left.tensors.items())


def test_the_folder(tiny: Tiny, videos: Path, trained: Path, tmp_path: Path) -> None:
    space = tiny(True)
    told: list[Any] = []
    done = evolve(space, trained, videos, folder=tmp_path, on_event=told.append)
    assert done is told[-1] and not done.interrupted and done.candidates == 15
    log = log_of(tmp_path)
    assert [line["step"] for line in log] == list(range(1, 16))
    assert [line["generation"] for line in log] == [1] * 5 + [2] * 5 + [3] * 5
    for line in log:
        arch = space.architecture(line["decisions"])
        assert (line["macs"], line["params"]) == (space.flops(arch), space.params(arch))
        assert WINDOW[0] <= line["macs"] <= WINDOW[1]
        assert set(line["parents"]) <= set(range(1, 5 * line["generation"] - 4))
    assert len({json.dumps(line["decisions"]) for line in log}) == 15
    # The first of those with the highest top-1 and the lowest loss.
    best = min(log, key=lambda line: (-line["top1"], line["loss"], line["step"]))
    assert done.best is not None and done.best.number == best["step"]
    assert done.measured is not None and done.measured.top1 == best["top1"]
    arch = space.architecture(tsdsl.Architecture.load(tmp_path / "arch.json"))
    assert dict(arch) == best["decisions"] == dict(done.architecture)
    ended = [event for event in told if isinstance(event, GenerationFinished)]
    means = [np.mean([line["top1"] for line in log[k : k + 5]]) for k in (0, 5, 10)]
    assert [event.mean for event in ended] == pytest.approx(means)
    # Its weights score what it scored.
    net = tsdsl.compile(space, frozen=arch)
    tsdsl.load_weights(net, tmp_path / "model.safetensors")
    supernet = load(trained / "supernet.safetensors").tensors
    assert torch.equal(net.state_dict()["a.stem.conv.weight"], supernet["a.stem.conv.weight"])
    recipe = Recipe.of(space)
    views = views_of(read_list(videos), Evaluate(name="x", clips=1), recipe.sampling, recipe.crop)
    from tsdsl.data.loader import EvalLoader

    scores = score(net, EvalLoader(views))
    assert (scores.top1, scores.log_loss) == (best["top1"], best["loss"])
    with pytest.raises(FileError, match="there is a run"):
        evolve(space, trained, videos, folder=tmp_path)


def test_scores_that_are_not_finite(
    tiny: Tiny, videos: Path, trained: Path, tmp_path: Path
) -> None:
    """They are ranked last, and end nothing; unless there are no others."""
    held = load(trained / "supernet.safetensors")
    longer = held.tensors["b.s1.0.conv.weight"].clone()
    assert longer.shape[2] == 3
    longer[:, :, 0] = torch.nan  # what the kernel 1x1x1 does not have
    (tmp_path / "some").mkdir()
    save(
        tmp_path / "some/supernet.safetensors",
        {**held.tensors, "b.s1.0.conv.weight": longer},
        held.about,
    )
    told: list[Any] = []
    folder = tmp_path / "run"
    done = evolve(tiny(True), tmp_path / "some", videos, folder=folder, on_event=told.append)
    scored = [each for each in told if isinstance(each, CandidateScored)]
    short = [each.candidate.architecture["b.s1[0].kernel"] == "1x1x1" for each in scored]
    assert len(set(short)) == 2 and [each.measured.finite for each in scored] == short
    assert done.best is not None and done.best.architecture["b.s1[0].kernel"] == "1x1x1"
    again = evolve(tiny(True), tmp_path / "some", videos, folder=folder, resume=True)
    assert again.best is not None and again.best.number == done.best.number
    (tmp_path / "all").mkdir()
    stem = torch.full_like(held.tensors["a.stem.conv.weight"], torch.nan)
    save(
        tmp_path / "all/supernet.safetensors",
        {**held.tensors, "a.stem.conv.weight": stem},
        held.about,
    )
    with pytest.raises(EvaluationError, match="no candidate of 15 gives scores"):
        evolve(tiny(True), tmp_path / "all", videos)


def test_fitness(tiny: Tiny, videos: Path, trained: Path) -> None:
    """By loss, the lowest of all; a seed decides what is drawn."""
    space = tiny(True)
    told: list[Any] = []
    done = evolve(space, trained, videos, fitness="loss", on_event=told.append)
    losses = [event.measured.loss for event in told if isinstance(event, CandidateScored)]
    assert done.measured is not None and done.measured.loss == min(losses)
    again = evolve(space, trained, videos, fitness="loss")
    assert again.architecture == done.architecture and again.measured is not None
    assert again.measured.loss == done.measured.loss
    other: list[Any] = []
    evolve(space, trained, videos, fitness="loss", on_event=other.append, seed=1)
    first, second = (
        [e.candidate.architecture for e in events if isinstance(e, CandidateScored)]
        for events in (told, other)
    )
    assert first != second


@pytest.mark.parametrize(("memory", "moments"), [(4 << 30, (1, 5, 14)), (40_000, (8,))])
def test_stopped_anywhere(
    tiny: Tiny,
    videos: Path,
    trained: Path,
    tmp_path: Path,
    memory: int,
    moments: tuple[int, ...],
) -> None:
    """Interrupted after each number of candidates, also where videos come in parts."""
    space = tiny(True)
    straight = tmp_path / "straight"
    told: list[Any] = []
    evolve(space, trained, videos, folder=straight, memory=memory, on_event=told.append)
    assert told[0].parts == (1 if memory > 1 << 20 else 3)
    for until in moments:
        folder = tmp_path / str(until)
        asked = iter(range(1000))
        limit = until * told[0].parts
        first = evolve(
            space,
            trained,
            videos,
            folder=folder,
            memory=memory,
            stop=lambda asked=asked, limit=limit: next(asked) + 1 >= limit,
        )
        if told[0].parts == 1:
            assert first.candidates == until and first.interrupted == (until < 15)
            assert (folder / "arch.json").exists()
        events: list[Any] = []
        evolve(
            space,
            trained,
            videos,
            folder=folder,
            memory=memory,
            resume=True,
            on_event=events.append,
        )
        assert isinstance(events[0], EvolutionStarted) and events[0].done == first.candidates
        same(straight, folder)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kills", [2, swept(50)])
def test_a_killed_evolution_goes_on_to_the_same_result(
    tiny: Tiny, videos: Path, trained: Path, tmp_path: Path, kills: int
) -> None:
    space = tiny(True)
    evolve(space, trained, videos, folder=tmp_path / "straight")

    def run(folder: Path) -> None:
        evolve(space, trained, videos, folder=folder, resume=True)

    killer = Killer(run, seed=7)
    killer.whole(tmp_path / "forked")
    left, at = kills, 0
    while left:
        folder = tmp_path / f"run{at}"
        at += 1
        for _ in range(min(left, 2)):
            left -= 1
            killer.kill(folder)
        killer.finish(folder)
        same(tmp_path / "straight", folder)


def test_a_log_that_was_cut_or_spoiled(
    tiny: Tiny, videos: Path, trained: Path, tmp_path: Path
) -> None:
    space = tiny(True)
    evolve(space, trained, videos, folder=tmp_path / "straight")
    text = (tmp_path / "straight/log.jsonl").read_text()
    lines = text.splitlines(keepends=True)
    cases = {
        "cut": text[: len(text) // 2],
        "gap": "".join(lines[:3] + lines[5:]),
        "noise": "".join([*lines[:6], "{]\n", *lines[6:8], "null\n", '{"event": "candidate"}\n']),
        "empty": "",
    }
    for name, log in cases.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "run.json").write_text((tmp_path / "straight/run.json").read_text())
        (folder / "log.jsonl").write_text(log)
        evolve(space, trained, videos, folder=folder, resume=True)
        same(tmp_path / "straight", folder)
    # A line of another run is not taken for one of this.
    line = json.loads(lines[3])
    line["decisions"] = json.loads(lines[5])["decisions"]
    (tmp_path / "cut/log.jsonl").write_text("".join(lines[:3]) + json.dumps(line) + "\n")
    with pytest.raises(SpecError, match="another one's: candidate 4"):
        evolve(space, trained, videos, folder=tmp_path / "cut", resume=True)


def test_candidates_are_distinct_networks_and_an_older_run_goes_on(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier versions told candidates apart by their decisions."""
    space = ignored(tmp_path)
    supernet = tsdsl.compile(space)
    given: dict[str, Any] = {
        "settings": Settings(2, 3, 2, mutation=0.5),
        "bn_batches": 0,
        "device": "cpu",
        "resume": True,
    }
    found = tsdsl.evolve(space, supernet, videos, videos, folder=tmp_path / "new", **given)
    assert found.exhausted and found.candidates == 3
    again = tsdsl.evolve(space, supernet, videos, videos, folder=tmp_path / "new", **given)
    assert again.candidates == 3

    def older(*positional: Any, **named: Any) -> Evolution:
        return Evolution(*positional, **{**named, "distinct": "architectures"})

    folder = tmp_path / "old"
    with monkeypatch.context() as patched:
        patched.setattr("tsdsl.searching.evolution.run.Evolution", older)
        whole = tsdsl.evolve(space, supernet, videos, videos, folder=folder, **given)
    assert whole.candidates == 4
    about = json.loads((folder / "run.json").read_text())
    assert about.pop("distinct") == "networks"
    (folder / "run.json").write_text(json.dumps(about))
    before = log_of(folder)
    lines = (folder / "log.jsonl").read_text().splitlines(keepends=True)
    (folder / "log.jsonl").write_text("".join(lines[:2]))
    found = tsdsl.evolve(space, supernet, videos, videos, folder=folder, **given)
    assert found.candidates == 4 and log_of(folder) == before
    assert json.loads((folder / "run.json").read_text()) == about


def test_all_of_a_window(tiny: Tiny, videos: Path, trained: Path) -> None:
    space = tiny(True)
    count = space.count(flops=WINDOW)
    told: list[Any] = []
    settings = Settings(8, 50, 3)
    done = evolve(space, trained, videos, settings=settings, on_event=told.append)
    assert done.exhausted and done.candidates == count
    scored = [event for event in told if isinstance(event, CandidateScored)]
    assert {e.candidate.architecture for e in scored} == set(space.sample(100, flops=WINDOW))
    assert done.measured is not None
    assert done.measured.top1 == max(event.measured.top1 for event in scored)


def test_other_runs(tiny: Tiny, videos: Path, trained: Path, tmp_path: Path) -> None:
    space = tiny(True)
    evolve(space, trained, videos, folder=tmp_path)
    for text, options in (
        ("seed was 0, is 1", {"seed": 1}),
        ("windows.macs was .*, is not set", {"flops": None, "within": {}}),
        ("windows.macs was .*, is .*120000.0", {"flops": None}),
        ("evolution.population was 5, is 6", {"settings": Settings(6, 3, 3, mutation=0.3)}),
        ("fitness was accuracy, is loss", {"fitness": "loss"}),
        ("bn_batches was 2, is 3", {"bn_batches": 3}),
    ):
        with pytest.raises(SpecError, match=f"has other settings: .*{text}"):
            evolve(space, trained, videos, folder=tmp_path, resume=True, **options)
    moved = load(trained / "supernet.safetensors")
    tensors = {
        name: tensor + (name == "a.stem.conv.weight") for name, tensor in moved.tensors.items()
    }
    save(tmp_path / "other.safetensors", tensors, moved.about)
    with pytest.raises(SpecError, match="supernet was "):
        tsdsl.evolve(
            space,
            tmp_path / "other.safetensors",
            videos,
            videos,
            settings=SETTINGS,
            flops=WINDOW,
            bn_batches=2,
            device="cpu",
            folder=tmp_path,
            resume=True,
        )


def test_folders_of_other_runs(tiny: Tiny, videos: Path, trained: Path, tmp_path: Path) -> None:
    """An evolution does not write into a search, nor a training into an evolution."""
    space = tiny(True)
    files = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    with pytest.raises(FileError, match="there is a run in this folder"):
        evolve(space, trained, videos, folder=trained)
    with pytest.raises(SpecError, match="the run in this folder has other settings"):
        evolve(space, trained, videos, folder=trained, resume=True)
    assert files == {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    evolve(space, trained, videos, folder=tmp_path)
    log = log_of(tmp_path)
    arch = space.sample(seed=0)
    for resume, error in ((False, FileError), (True, SpecError)):
        with pytest.raises(error):
            tsdsl.train(
                tsdsl.compile(space, frozen=arch),
                videos,
                space,
                frozen=arch,
                folder=tmp_path,
                resume=resume,
                device="cpu",
            )
    assert log_of(tmp_path) == log
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(SpecError, match="this does not describe a run"):
        evolve(space, trained, videos, folder=tmp_path, resume=True)
    assert log_of(tmp_path) == log


def test_what_does_not_fit(
    tiny: Tiny, spec: Callable[..., Path], videos: Path, trained: Path, tmp_path: Path
) -> None:
    space = tiny(True)
    weights = trained / "supernet.safetensors"

    def refused(error: type[DiagnosticError], text: str, *arguments: Any, **options: Any) -> None:
        with pytest.raises(error, match=text):
            tsdsl.evolve(*arguments, device="cpu", **options)

    model = trained / "model.safetensors"
    refused(WeightsError, "weights of one architecture", space, model, videos, videos)
    # Without what says so, shapes do.
    save(tmp_path / "bare.safetensors", load(model).tensors, {})
    refused(
        WeightsError, "lacks [0-9]+ tensors", space, tmp_path / "bare.safetensors", videos, videos
    )
    refused(WeightsError, "no place for [0-9]+ tensors", tiny(False), weights, videos, videos)
    (tmp_path / "text").write_text("no weights")
    refused(WeightsError, "holds no weights", space, tmp_path / "text", videos, videos)
    refused(FileError, "no such", space, tmp_path / "none", videos, videos)
    refused(FileError, "no such list", space, weights, videos, tmp_path / "none.csv")
    (tmp_path / "other.csv").write_text("v0.mp4 purple")
    refused(DiagnosticError, "purple", space, weights, videos, tmp_path / "other.csv")
    refused(SpecError, "no architecture of space", space, weights, videos, videos, flops=(1, 2))
    refused(
        SpecError, "mutation is 2", space, weights, videos, videos, settings=Settings(mutation=2)
    )
    fixed = tsdsl.load(Path(__file__).parents[2] / "specs/x3d_xs.tsnet")
    refused(SpecError, "has no decision to search", fixed, weights, videos, videos)
    refused(SpecError, "are needed", space, weights, videos, videos, memory=1000)


PROGRAM = """
import sys, torch, tsdsl
from tsdsl.searching.evolution.population import Evolution, Settings
spec, weights, videos, out = sys.argv[1:]
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
tsdsl.evolve(tsdsl.load(spec), weights, videos, videos, device="cpu", folder=out,
             settings=Settings(5, 3, 3, mutation=0.3), flops=(105e3, 170e3), bn_batches=2)
"""


@pytest.mark.sweep
def test_two_ranks(spec: Callable[..., Path], videos: Path, trained: Path, tmp_path: Path) -> None:
    """What one process finds."""
    (tmp_path / "program.py").write_text(PROGRAM)
    for ranks in (1, 2):
        start = [sys.executable]
        if ranks > 1:
            start += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        paths = [spec(True), trained / "supernet.safetensors", videos, tmp_path / str(ranks)]
        done = subprocess.run(
            [*start, str(tmp_path / "program.py"), *map(str, paths)],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr
    one, two = (log_of(tmp_path / name) for name in ("1", "2"))
    for left, right in zip(one, two, strict=True):
        assert left.pop("loss") == pytest.approx(right.pop("loss"), abs=1e-6)
        assert left == right
