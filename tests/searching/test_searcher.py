"""A whole search: phases, what stands, results as files; resumed and killed; on two ranks."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import swept
from forking import program_main, run_ranks
from killing import Killer
from searchers import equal, searcher

import tsdsl
from tsdsl.analysis.costs.cost_table import CostTable
from tsdsl.analysis.elimination.configurations import configurations
from tsdsl.data.dataset import TrainClips
from tsdsl.data.lists import read_list
from tsdsl.data.loader import TrainLoader
from tsdsl.data.transforms import normalise
from tsdsl.diagnostics import SpecError
from tsdsl.searching.events import PhaseFinished, SearchStepDone
from tsdsl.searching.plan import check_budgets, plan_of
from tsdsl.searching.run import _halves
from tsdsl.searching.supernet_step import SearchError
from tsdsl.training.checkpoint import Checkpoints
from tsdsl.training.recipe import Recipe
from tsdsl.weights.weight_files import load

Tiny = Callable[..., tsdsl.Space]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_phases(tiny: Tiny, videos: Path) -> None:
    made = searcher(tiny(), videos)
    before = {name: p.detach().clone() for name, p in made.supernet.named_parameters()}
    start = {name: row.detach().clone() for name, row in made.algorithm.alpha.named_parameters()}
    learned = []
    first = None
    for event in made.run():
        if isinstance(event, PhaseFinished) and first is None:
            first = event
            # Nothing of the absent stream has moved, nor what it would learn.
            for name, p in made.supernet.named_parameters():
                assert torch.equal(p, before[name]) == name.startswith("b."), name
            assert made.algorithm.alpha.learned == ("b.s1[0].kernel",)
        elif isinstance(event, SearchStepDone):
            learned.append(event.values["learned"])
    # Alpha waits for a quarter of each phase: 2 of 6 steps, 1 of 3.
    assert learned == [False, False, True, True, True, True, False, True, True]
    moved = [
        not torch.equal(row, start[name]) for name, row in made.algorithm.alpha.named_parameters()
    ]
    assert any(moved)
    assert first is not None and first.phase == "first" and first.met
    found, met = made.algorithm.selection().architecture, made.algorithm.selection().met
    # What the first phase chose is part of the result, which lies in the budget if one can.
    assert dict(found) == made.chosen
    assert met == (120e3 <= made.space.flops(found) <= 1e6)


@pytest.mark.parametrize("at", [1, 2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("samples", ["3", "adaptive(factor=0.8)"])
def test_a_restored_state_goes_on_bit_for_bit(
    tiny: Tiny, videos: Path, at: int, samples: str
) -> None:
    space = tiny(True, search__samples=samples)
    straight = searcher(space, videos)
    ends = {phase.first + phase.steps for phase in straight.plan.phases}
    kept = None
    for event in straight.run():
        # At the end of a phase, what it found comes first.
        if event.step == at and (isinstance(event, PhaseFinished) or at not in ends):
            kept = deepcopy(straight.state())
    assert kept is not None
    torch.manual_seed(99)
    again = searcher(space, videos)
    for _ in zip(again.run(), range(3), strict=False):
        pass
    again.restore(kept)
    steps = [event.step for event in again.run() if isinstance(event, SearchStepDone)]
    assert steps == list(range(at + 1, 10))
    assert equal(straight, again)


def search(space: tsdsl.Space, videos: Path, folder: Path) -> None:
    tsdsl.search(space, videos, device="cpu", folder=folder, resume=True, save_every=1, log_every=2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kills", [6, swept(50)])
def test_a_killed_search_goes_on_to_the_same_result(
    tiny: Tiny, videos: Path, tmp_path: Path, kills: int
) -> None:
    space = tiny(True)
    straight = tmp_path / "straight"
    search(space, videos, straight)
    killer = Killer(lambda folder: search(space, videos, folder), seed=5)
    killer.whole(tmp_path / "forked")
    left, run, steps = kills, 0, set()
    while left:
        folder = tmp_path / f"run{run}"
        run += 1
        for _ in range(min(left, 3)):
            left -= 1
            killer.kill(folder)
            checkpoints = Checkpoints(str(folder / "checkpoints"))
            assert not checkpoints.newest()[1]
            steps |= set(checkpoints.steps())
        killer.finish(folder)
        for name in ("supernet.safetensors", "model.safetensors"):
            one, other = load(folder / name), load(straight / name)
            assert one.about == other.about
            assert all(torch.equal(t, other.tensors[key]) for key, t in one.tensors.items())
        for name in ("distribution.json", "arch.json", "model.py", "alpha.jsonl"):
            assert (folder / name).read_text() == (straight / name).read_text()
    assert len(steps) > 1


def test_a_kill_between_a_checkpoint_and_its_files(
    tiny: Tiny, videos: Path, tmp_path: Path
) -> None:
    space = tiny(True)
    search(space, videos, tmp_path)
    text = (tmp_path / "distribution.json").read_text()
    weights = {n: load(tmp_path / f"{n}.safetensors") for n in ("supernet", "model")}
    (tmp_path / "distribution.json").write_text("of an earlier step")
    for name in weights:
        (tmp_path / f"{name}.safetensors").unlink()
    search(space, videos, tmp_path)
    assert (tmp_path / "distribution.json").read_text() == text
    for name, one in weights.items():
        other = load(tmp_path / f"{name}.safetensors")
        assert one.about == other.about and one.tensors.keys() == other.tensors.keys()
        assert all(torch.equal(t, other.tensors[key]) for key, t in one.tensors.items())


def test_the_folder(tiny: Tiny, videos: Path, tmp_path: Path) -> None:
    space = tiny(True)
    told: list[Any] = []
    # The statistics of the supernet, so that both give equal scores.
    done = tsdsl.search(
        space, videos, device="cpu", folder=tmp_path / "s", bn_batches=0, on_event=told.append
    )
    assert done is told[-1] and not done.interrupted and done.step == 9
    arch = space.architecture(tsdsl.Architecture.load(tmp_path / "s/arch.json"))
    assert arch == done.architecture and space.flops(arch) == done.flops
    about = load(tmp_path / "s/model.safetensors").about
    assert json.loads(about["architecture"])["decisions"] == dict(arch)
    net = tsdsl.compile(space, frozen=arch)
    tsdsl.load_weights(net, tmp_path / "s/model.safetensors")
    clip = torch.randn(2, *space.input_shape)
    supernet = tsdsl.compile(space)
    tsdsl.load_weights(supernet, tmp_path / "s/supernet.safetensors")
    with torch.no_grad():
        assert torch.equal(net.eval()(clip), supernet.eval()(clip, arch))
    log = [json.loads(line) for line in (tmp_path / "s/log.jsonl").read_text().splitlines()]
    assert [line["phase"] for line in log if line["event"] == "phase"] == ["first", "second"]
    assert all("entropy" in line for line in log if line["event"] == "step")
    with pytest.raises(tsdsl.FileError, match="there is a run"):
        tsdsl.search(space, videos, device="cpu", folder=tmp_path / "s")


def test_statistics_of_its_own(tiny: Tiny, videos: Path, tmp_path: Path) -> None:
    space = tiny(True)
    for name, batches in (("without", 0), ("with", 5)):
        tsdsl.search(space, videos, device="cpu", folder=tmp_path / name, bn_batches=batches)
    one, other = (load(tmp_path / n / "model.safetensors").tensors for n in ("without", "with"))
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]) == ("running" not in name and "num_" not in name)
    # Against a plain loop over the same batches.
    arch = tsdsl.Architecture.load(tmp_path / "with/arch.json")
    net = tsdsl.compile(space, frozen=arch).train()
    tsdsl.load_weights(net, tmp_path / "without/model.safetensors")
    recipe = Recipe.of(space)
    clips = TrainClips(read_list(videos), recipe.sampling, recipe.transform, seed=0)
    loader = TrainLoader(clips, 4)
    seen: list[torch.Tensor] = []
    stem = net.get_submodule("a.stem.bn")
    stem.register_forward_hook(lambda m, given, out: seen.append(given[0].mean((0, 2, 3, 4))))
    for batch in [b for epoch in (9, 10) for b in loader.epoch(epoch)][:5]:
        net(normalise(batch.clips_NCTHW))
    assert torch.allclose(torch.stack(seen).mean(0), other["a.stem.bn.running_mean"], atol=1e-5)


def test_a_step_that_fails(tiny: Tiny, videos: Path) -> None:
    made = searcher(tiny(), videos)
    steps = made.run()
    next(steps)

    def fail(*arguments: Any) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    made.supernet.register_forward_pre_hook(fail)
    with pytest.raises(SearchError, match="step 2 failed: there is not enough memory"):
        next(steps)


def test_split_data(tiny: Tiny, videos: Path) -> None:
    one, other = _halves(read_list(videos), seed=3)
    names = [{video.name for video in half.videos} for half in (one, other)]
    assert names[0].isdisjoint(names[1]) and len(names[0] | names[1]) == 14
    assert one.classes == other.classes
    done = tsdsl.search(tiny(search__data="split"), videos, device="cpu")
    # Batches of two from each half of seven: three steps an epoch.
    assert done.step == 9 and done.samples == 36


@pytest.mark.parametrize("data", ["shared", "split"])
def test_micro_batches(tiny: Tiny, videos: Path, tmp_path: Path, data: str) -> None:
    space = tiny(search__data=data)
    supernet = tsdsl.compile(space)
    sizes: list[int] = []
    supernet.register_forward_pre_hook(lambda module, given: sizes.append(len(given[0])))

    def search(micro_batch: int | None) -> None:
        tsdsl.search(
            space,
            videos,
            device="cpu",
            supernet=supernet,
            folder=tmp_path / "run",
            resume=True,
            micro_batch=micro_batch,
        )

    search(1)
    assert set(sizes) == {1} and all(bool(p.isfinite().all()) for p in supernet.parameters())
    with pytest.raises(SpecError, match="micro_batch was 1, is not set"):
        search(None)
    with pytest.raises(SpecError, match="cannot be split into passes of 3") as caught:
        tsdsl.search(tiny(), videos, device="cpu", micro_batch=3)
    assert caught.value.diagnostics[0].code == "E0821"


def test_what_cannot_be_searched(tiny: Tiny, spec: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="phase 'second' has nothing to learn"):
        plan_of(tsdsl.load(spec(), set={"b.s1[0].kernel": "1x1x1"}), 3)
    text = spec().read_text()
    (tmp_path / "none.tsnet").write_text(text[: text.index("  search")] + "}\n")
    with pytest.raises(SpecError, match="does not say how it is searched"):
        plan_of(tsdsl.load(tmp_path / "none.tsnet"), 3)
    (tmp_path / "far.tsnet").write_text(text.replace("120k..1M", "1G..2G"))
    far = tsdsl.load(tmp_path / "far.tsnet")
    (warning,) = check_budgets(far, plan_of(far, 3))
    assert warning.code == "W0974" and "phase 'second'" in warning.message
    assert check_budgets(tiny(), plan_of(tiny(), 3)) == []


def test_a_budget_of_a_measured_cost(
    spec: Callable[..., Path], videos: Path, tmp_path: Path
) -> None:
    text = spec().read_text().replace("flops in 120k..1M", "latency in 20us..40us")
    (tmp_path / "fast.tsnet").write_text(text)
    space = tsdsl.load(tmp_path / "fast.tsnet")
    with pytest.raises(SpecError, match="no table for the cost 'latency'"):
        tsdsl.search(space, videos, device="cpu", folder=tmp_path / "without")
    assert not (tmp_path / "without" / "checkpoints").exists()
    draw = random.Random(0)
    found = configurations(space.graph).configurations
    values = {c: draw.randrange(500, 5000) for c in found}
    timed = space.with_costs(CostTable("latency", "ns", values))
    done = tsdsl.search(timed, videos, device="cpu", folder=tmp_path / "with", save_every=1)
    other = space.with_costs(CostTable("latency", "ns", {**values, found[0]: 1}))
    with pytest.raises(SpecError, match=r"costs\.latency was"):
        tsdsl.search(other, videos, device="cpu", folder=tmp_path / "with", resume=True)
    assert done.met and 20_000 <= timed.value("latency", done.architecture) <= 40_000


PROGRAM = """
import os, sys, torch, tsdsl
spec, videos, out = sys.argv[1:]
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
space = tsdsl.load(spec, set={"search.batch": 4})
alphas = []
torch.manual_seed(0)
supernet = tsdsl.compile(space)
done = tsdsl.search(space, videos, device="cpu", supernet=supernet, folder=out + ".run")
if os.environ.get("RANK", "0") == "0":
    alpha = open(out + ".run/distribution.json").read()
    torch.save([supernet.state_dict(), alpha], out)
"""


def test_two_ranks_search_as_one_does(
    spec: Callable[..., Path], videos: Path, tmp_path: Path
) -> None:
    """Weights and alpha of one process, to rounding; without what depends on a rank's clips."""
    text = spec().read_text().replace("-> dropout(0.2) ", "")
    (tmp_path / "plain.tsnet").write_text(text)
    found = []
    for ranks in (1, 2):
        out = tmp_path / f"{ranks}.pt"
        main = program_main(PROGRAM, str(tmp_path / "plain.tsnet"), str(videos), str(out))
        for done in run_ranks([main] * ranks, tmp_path):
            assert done.returncode == 0, done.stderr
        found.append(torch.load(out))
    (one, alpha), (two, alpha2) = found
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-8
    logits = [
        [x for d in json.loads(text)["decisions"].values() for x in d["logits"] if x is not None]
        for text in (alpha, alpha2)
    ]
    assert logits[0] == pytest.approx(logits[1], abs=1e-8)
