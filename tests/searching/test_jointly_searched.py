"""A search whose distribution becomes joint within blocks: when, what stands; resumed, killed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cases import swept
from killing import Killer
from searchers import equal, searcher

import tsdsl
from tsdsl.analysis.costs.counted import MACS
from tsdsl.analysis.distribution import Distribution
from tsdsl.ir.decision_groups import block_groups
from tsdsl.ir.ordering import TooCoupled
from tsdsl.ir.stream_subset import restrict
from tsdsl.searching.distribution import Alpha
from tsdsl.searching.events import PhaseFinished, SearchStepDone
from tsdsl.searching.parsec import joint
from tsdsl.searching.parsec.algorithm import DecisionsJoined
from tsdsl.searching.plan import plan_of
from tsdsl.training.checkpoint import Checkpoints
from tsdsl.weights.weight_files import load

Tiny = Callable[..., tsdsl.Space]
#: Of the tiny space; its steps are 6 and 3, 3 an epoch.
GROUPS = tuple((f"a.s1[{k}].width", f"a.s1[{k}].kernel") for k in (0, 1))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("epoch", "step"), [(1, 0), (2, 3), (3, None)])
def test_from_an_epoch_on(tiny: Tiny, videos: Path, epoch: int, step: int | None) -> None:
    made = searcher(tiny(search__joint_from=epoch), videos)
    every = made.space.sample(10**4, weights="architectures", seed=0)
    before = made.algorithm.now()
    ends: list[PhaseFinished] = []
    told: list[DecisionsJoined] = []
    for event in made.run():
        if isinstance(event, DecisionsJoined):
            told.append(event)
            # The step that comes draws from the distribution that there was.
            assert made.algorithm.now().log_probability(every) == pytest.approx(
                before.log_probability(every), abs=1e-12
            )
        elif isinstance(event, PhaseFinished):
            ends.append(event)
            assert set(GROUPS[0]) <= set(event.architecture)
        before = made.algorithm.now()
        # What was joined stays so when it stands.
        assert len(made.algorithm.alpha.groups) == (2 if told else 0)
    if step is None:
        # In the second phase, no block has two decisions to learn.
        assert not told
        return
    (joined,) = told
    assert (joined.step, joined.phase, joined.groups) == (step, "first", GROUPS)
    assert (joined.logits, joined.factorised_logits) == (8, 8)
    found = made.algorithm.selection().architecture
    assert dict(found) == made.chosen
    assert made.algorithm.alpha.learned == ("b.s1[0].kernel",)


def test_the_optimiser_goes_on_with_what_was_not_joined(tiny: Tiny, videos: Path) -> None:
    made = searcher(tiny(search__joint_from=2), videos)
    depth = made.algorithm.alpha.logits[0]
    for event in made.run():
        if isinstance(event, DecisionsJoined):
            assert made.algorithm.alpha.logits[0] is depth
            # Of 3 steps, 2 have warmed up.
            assert made.algorithm.optimizer.state[depth]["step"] == 1
            known = [
                k
                for k, row in enumerate(made.algorithm.alpha.logits)
                if row in made.algorithm.optimizer.state
            ]
            assert known == [0]
        if event.step == 4:
            assert made.algorithm.optimizer.state[depth]["step"] == 2
            assert made.algorithm.optimizer.state[made.algorithm.alpha.logits[1]]["step"] == 1
            break


def test_a_phase_that_learns_a_part_of_a_block(tiny: Tiny, videos: Path, spec: Any) -> None:
    """What a later phase learns again, without the rest of its block, is taken apart."""
    text = spec().read_text().replace("learn b  epochs", "learn b, a.s1[0].kernel  epochs")
    path = spec().parent / "again.tsnet"
    path.write_text(text)
    made = searcher(tsdsl.load(path, set={"search.joint_from": 1}), videos)
    told = []
    marginals = None
    for event in made.run():
        if isinstance(event, DecisionsJoined):
            told.append(event.phase)
        elif isinstance(event, PhaseFinished) and event.phase == "first":
            marginals = made.algorithm.now().distribution.probabilities["a.s1[0].kernel"]
            names = [made.space.decisions[k].path for g in made.algorithm.alpha.groups for k in g]
            assert names == list(GROUPS[1])
            # Not certain: it is learned again, from where it was.
            assert marginals.min() > 0 and marginals.tolist() != [0.5, 0.5]
    assert told == ["first"] and marginals is not None
    assert made.algorithm.selection().architecture.keys() >= {"a.s1[0].kernel", "b.s1[0].kernel"}


@pytest.mark.parametrize(
    ("at", "joint"), [(2, 2), (3, 2), (4, 2), (6, 2), (7, 2), (9, 2), (1, 1), (6, 1)]
)
def test_a_restored_state_goes_on_bit_for_bit(
    tiny: Tiny, videos: Path, at: int, joint: int
) -> None:
    space = tiny(True, search__joint_from=joint, search__samples="adaptive(factor=0.8)")
    straight = searcher(space, videos)
    kept = None
    events = []
    for event in straight.run():
        # The last event of each step: at the end of a phase, what it has found.
        if event.step == at and not isinstance(event, DecisionsJoined):
            kept = deepcopy(straight.state())
            events = []
        events.append((type(event), event.step))
    assert kept is not None
    torch.manual_seed(99)
    again = searcher(space, videos)
    for _ in zip(again.run(), range(5), strict=False):
        pass
    again.restore(kept)
    assert again.algorithm.alpha.groups == tuple(map(tuple, kept.training["joint"]))
    told = [(type(event), event.step) for event in again.run()]
    assert told == events[1:]
    assert (
        equal(straight, again) and straight.algorithm.alpha.groups == again.algorithm.alpha.groups
    )


def test_a_state_from_before_there_were_groups(tiny: Tiny, videos: Path) -> None:
    straight = searcher(tiny(), videos)
    for event in straight.run():
        if event.step == 2:
            kept = deepcopy(straight.state())
    del kept.training["joint"]  # type: ignore[attr-defined]
    again = searcher(tiny(), videos)
    again.restore(kept)
    for _ in again.run():
        pass
    assert equal(straight, again)


def search(space: tsdsl.Space, videos: Path, folder: Path) -> None:
    tsdsl.search(space, videos, device="cpu", folder=folder, resume=True, save_every=1, log_every=2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kills", [4, swept(40)])
def test_a_killed_search_goes_on_to_the_same_result(
    tiny: Tiny, videos: Path, tmp_path: Path, kills: int
) -> None:
    space = tiny(True, search__joint_from=2)
    straight = tmp_path / "straight"
    search(space, videos, straight)
    killer = Killer(lambda folder: search(space, videos, folder), seed=6)
    killer.whole(tmp_path / "forked")
    for run in range(kills // 2):
        folder = tmp_path / f"run{run}"
        for _ in range(2):
            killer.kill(folder)
            assert not Checkpoints(str(folder / "checkpoints")).newest()[1]
        killer.finish(folder)
        one, other = (load(f / "supernet.safetensors").tensors for f in (folder, straight))
        assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
        for name in ("distribution.json", "arch.json", "alpha.jsonl"):
            assert (folder / name).read_bytes() == (straight / name).read_bytes()
        told = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        (joint,) = [line for line in told if line["event"] == "joint"]
        assert joint["step"] == 4 and joint["logits"] == 8
        assert joint["groups"] == [list(group) for group in GROUPS]
    saved = Alpha.load(space, straight / "distribution.json")
    assert len(saved.groups) == 2 and saved.learned == ("b.s1[0].kernel",)


def test_the_plan_says_so(tiny: Tiny) -> None:
    space = tiny(search__joint_from=2)
    plan = plan_of(space, 3)
    assert joint.joint_plan(space, plan).first_step == 3 and not joint.check(space, plan)
    told = [
        (phase["joint_groups"], phase["joint_logits"])
        for phase in joint.details(space, plan, True).phases
    ]
    assert told == [(2, 8), (0, 0)]
    never = tiny(search__joint_from=9)
    (warning,) = joint.check(never, plan_of(never, 3))
    assert warning.code == "W0975" and "after 3 epochs" in warning.message
    late = tiny(search__joint_from=3)
    (warning,) = joint.check(late, plan_of(late, 3))
    assert "no block has two decisions to learn" in warning.message
    without = joint.joint_plan(tiny(), plan_of(tiny(), 3))
    assert without.first_step is None and set(without.groups.values()) == {()}


def test_what_cannot_be_answered_is_said_at_once(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tsdsl.analysis.elimination import bucket_tree

    space = tiny(search__joint_from=2)
    plan = plan_of(space, 3)
    monkeypatch.setattr(bucket_tree, "MAX_KEPT", -1)
    with pytest.raises(TooCoupled, match="limit is -1"):
        joint.check(space, plan)
    assert not joint.check(tiny(), plan_of(tiny(), 3))


def test_costs_of_phases(tiny: Tiny) -> None:
    """Of what exists, with what a phase does not learn at its default."""
    space = tiny()
    groups = [p for p in block_groups(space.graph).joined]
    start = Distribution.uniform(space.graph).with_groups(groups)
    given = Distribution(space.graph, np.random.default_rng(0).normal(size=len(start.flat)), groups)
    p = {part: np.exp(row) / np.exp(row).sum() for part, row in _rows(given)}
    every = space.sample(10**4, weights="architectures", seed=0)
    weights = []
    for a in every:
        weight = float(a["b.s1[0].kernel"] == "1x1x1")
        for part, row in p.items():
            members = [space.decisions[k] for k in part]
            if members[0].path in a and members[0].path != "b.s1[0].kernel":
                at = [d.options.index(a[d.path]) for d in members]
                weight *= row[np.ravel_multi_index(at, [len(d.options) for d in members])]
        weights.append(weight)
    there = tsdsl.Space(restrict(space.graph, ["a"]))
    costs = there.query_cache.lookup(MACS).many(space.encode(every))
    assert sum(weights) == pytest.approx(1)
    first, second = space.phases("macs", given)
    assert first.mean == pytest.approx(np.array(weights) @ costs)
    # In the second, what the first has learned stands at its most probable options.
    assert second.std is not None and first.std is not None and second.min != first.min


def _rows(given: Distribution) -> list[tuple[tuple[int, ...], Any]]:
    return list(zip(given.layout.parts, given.layout.split(given.flat), strict=True))


def test_events_of_every_kind_are_told(tiny: Tiny, videos: Path) -> None:
    space = tiny(search__joint_from=2)
    seen: list[Any] = []
    tsdsl.search(space, videos, device="cpu", on_event=seen.append)
    kinds = [type(event) for event in seen]
    assert kinds.count(DecisionsJoined) == 1 and kinds.count(SearchStepDone) == 9
