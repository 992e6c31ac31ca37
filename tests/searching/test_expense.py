"""What `--plan` says that a search takes, against one that runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import tsdsl
from tsdsl.data.dataset import TrainClips
from tsdsl.data.lists import read_list
from tsdsl.data.loader import TrainLoader
from tsdsl.searching.estimate import expenses
from tsdsl.searching.events import PhaseFinished
from tsdsl.searching.plan import plan_of
from tsdsl.searching.searcher import Searcher
from tsdsl.training.ranks import Ranks
from tsdsl.training.recipe import Recipe

Tiny = Callable[..., tsdsl.Space]


@pytest.mark.parametrize("optimizer", ["sgd", "sgd(momentum=0.0)", "adam"])
def test_memory_is_what_a_search_has(tiny: Tiny, videos: Path, optimizer: str) -> None:
    # Enough architectures a step that all options are seen.
    space = tiny(True, search__samples=12, search__weights=optimizer)
    plan = plan_of(space, 3)
    taken = expenses(space, plan)
    recipe = Recipe.of(space)
    supernet = tsdsl.compile(space)
    assert isinstance(supernet, tsdsl.Supernet)
    clips = TrainClips(read_list(videos), recipe.sampling, recipe.transform, seed=0)
    loader = TrainLoader(clips, plan.search.batch)
    searcher = Searcher(space, supernet, plan, (loader,), Ranks.alone())
    assert taken.parameters == sum(p.numel() for p in supernet.parameters())
    found = []
    gradients = kept = 0
    for event in searcher.run():
        if isinstance(event, PhaseFinished):
            found.append((gradients, kept))
            continue
        grads = [p.grad for p in supernet.parameters() if p.grad is not None]
        gradients = sum(g.numel() * g.element_size() for g in grads)
        states = searcher._weights.state.values()
        kept = sum(
            t.numel() * t.element_size()
            for state in states
            for t in state.values()
            if torch.is_tensor(t) and t.dim()
        )
    # In the first phase all options are seen; in the second, what was not chosen has no gradient.
    for k, (own, (gradients, kept)) in enumerate(zip(taken.phases, found, strict=True)):
        assert (0.99 if k == 0 else 0.5) * own.gradients <= gradients <= own.gradients
        assert (0.99 if k == 0 else 0.5) * own.optimizer <= kept <= own.optimizer
    assert taken.phases[0].gradients < taken.phases[1].gradients


def test_compute_and_videos(tiny: Tiny) -> None:
    space = tiny()
    plan = plan_of(space, 3)
    own, second = expenses(space, plan).phases
    mean = space.phases("macs")[0].mean
    assert mean is not None
    assert (own.samples, own.videos) == (3, 6 * 4)
    assert own.macs == pytest.approx(3 * 3 * 6 * 4 * mean)
    assert second.videos == 3 * 4
    split = expenses(tiny(search__data="split"), plan_of(tiny(search__data="split"), 3)).phases[0]
    # One half forward and backward, the other forward.
    assert split.macs == pytest.approx(own.macs * 2 / 3) and split.videos == own.videos
    assert split.activations and own.activations
    assert split.activations[1] == own.activations[1] / 2
    parts = expenses(space, plan, micro_batch=2).phases[0]
    assert parts.activations and parts.activations[1] == own.activations[1] / 2
    assert parts.gradients == 2 * own.gradients and parts.macs == own.macs
    adaptive = tiny(search__samples="adaptive(factor=2.0)")
    entropy = space.sections.search and plan_of(adaptive, 3)
    assert entropy and expenses(adaptive, entropy).phases[1].samples == 2


def test_activations_are_an_upper_estimate(tiny: Tiny) -> None:
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    space = tiny(True)
    plan = plan_of(space, 3)
    estimate = expenses(space, plan).phases[-1].activations
    assert estimate is not None
    net = tsdsl.compile(space).train()
    clip = torch.randn(plan.search.batch, *space.input_shape)
    labels = torch.zeros(plan.search.batch, dtype=torch.long)
    arch = space.bounds("elements").max.architecture
    peak = 0
    for _ in range(2):
        with torch.autograd.profiler.profile(profile_memory=True) as profile:
            F.cross_entropy(net(clip, arch), labels).backward()
        events = [e for e in profile.kineto_results.events() if e.name() == "[memory]"]
        events.sort(key=lambda event: event.start_ns())
        peak = max(accumulate((int(e.nbytes()) for e in events), initial=0))
    assert 0.4 * estimate[1] < peak < 1.1 * estimate[1]
