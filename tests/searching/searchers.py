"""The searcher of a tiny space, and whether two stand alike."""

from __future__ import annotations

from pathlib import Path

import torch

import tsdsl
from tsdsl.data.dataset import TrainClips
from tsdsl.data.lists import read_list
from tsdsl.data.loader import TrainLoader
from tsdsl.searching.plan import plan_of
from tsdsl.searching.searcher import Searcher
from tsdsl.training.ranks import Ranks
from tsdsl.training.recipe import Recipe


def searcher(space: tsdsl.Space, videos: Path, seed: int = 0) -> Searcher:
    recipe = Recipe.of(space)
    plan = plan_of(space, 3)
    clips = TrainClips(read_list(videos), recipe.sampling, recipe.transform, seed=seed)
    torch.manual_seed(0)
    supernet = tsdsl.compile(space)
    assert isinstance(supernet, tsdsl.Supernet)
    loader = TrainLoader(clips, plan.search.batch)
    return Searcher(space, supernet, plan, (loader,), Ranks.alone(), seed=seed)


def equal(one: Searcher, other: Searcher) -> bool:
    pairs = [
        (one.supernet.state_dict(), other.supernet.state_dict()),
        (one.algorithm.alpha.state_dict(), other.algorithm.alpha.state_dict()),
    ]
    return one.chosen == other.chosen and all(
        torch.equal(tensor, right[name]) for left, right in pairs for name, tensor in left.items()
    )
