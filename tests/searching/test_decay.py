"""Which weights of a supernet decay: those that decay in its frozen networks, while a phase has
them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tsdsl
from tsdsl.data.dataset import TrainClips
from tsdsl.data.lists import read_list
from tsdsl.data.loader import TrainLoader
from tsdsl.searching.events import SearchStepDone
from tsdsl.searching.plan import plan_of
from tsdsl.searching.searcher import Searcher
from tsdsl.sema.sections import Adam, Sgd
from tsdsl.training.optimizer import make_optimizer
from tsdsl.training.ranks import Ranks
from tsdsl.training.recipe import Recipe

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tiny import write_videos

ROOT = Path(__file__).resolve().parents[2]
MIXED = """tsnet 1
block layer(x, width: int) { return x -> conv(width, 1x3x3, bias=true) -> bn -> relu }
space Mixed {
  input clip(channels=3, frames=4, height=8, width=8)
  stream a(clip) {
    stem layer(4)
    stage s1 { repeat depth ~ 1..2 { use layer(width ~ {4, 8}) } }
  }
  head a -> bn -> global_avg_pool -> linear(6) -> bn -> linear(3)
}
"""


def groups(net: nn.Module, asked: Any) -> dict[str, float]:
    """The weight decay of each parameter, by its name."""
    names = {id(p): name for name, p in net.named_parameters()}
    return {
        names[id(p)]: group["weight_decay"]
        for group in make_optimizer(net, asked, 0.1).param_groups
        for p in group["params"]
    }


@pytest.mark.parametrize(
    "asked", [Sgd(weight_decay=5e-5), Sgd(weight_decay=0.0), Adam(weight_decay=0.01)]
)
def test_groups_are_those_of_the_frozen_networks(asked: Any, tmp_path: Path) -> None:
    (tmp_path / "a.tsnet").write_text(MIXED)
    for path in (tmp_path / "a.tsnet", ROOT / "examples/glyphs_space.tsnet"):
        space = tsdsl.load(path)
        supernet = tsdsl.compile(space)
        found, wanted = groups(supernet, asked), {}
        for arch in space.sample(8, seed=0):
            net = space.freeze(supernet, arch)
            norms = {
                f"{at}.{name}"
                for at, module in net.named_modules()
                if isinstance(module, nn.BatchNorm3d | nn.BatchNorm1d)
                for name, _ in module.named_parameters()
            }
            own = {
                name: 0.0 if name in norms else asked.weight_decay
                for name, _ in net.named_parameters()
            }
            assert own == groups(net, asked)
            wanted |= own
        assert found == wanted
        assert len(set(found.values())) == (2 if asked.weight_decay else 1)


def test_normalisations_of_a_supernet_do_not_decay(tmp_path: Path) -> None:
    """As in the report of the fault: all of it decayed."""
    (tmp_path / "a.tsnet").write_text(MIXED)
    net = tsdsl.compile(tsdsl.load(tmp_path / "a.tsnet"))
    optimizer = make_optimizer(net, Sgd(momentum=0.9, weight_decay=0.25), 0.5)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for name, p in net.named_parameters():
        kept = 1.0 if "bn" in name else 1 - 0.5 * 0.25
        assert torch.equal(p, before[name] * kept), name


PHASES = """tsnet 1
space Phases {
  input clip(channels=3, frames=4, height=16, width=16, interval=2)
  stream a(clip, every=2) {
    stem conv(4, 1x3x3, stride=1x2x2)
    stage s1 { use conv(out ~ {4, 8}, kernel=1x1x1) }
  }
  stream b(clip) {
    stem conv(4, 3x3x3, stride=1x2x2)
    stage s1 { use conv(out ~ {2, 4}, kernel=1x1x1) }
  }
  head concat(a -> global_avg_pool, b -> global_avg_pool) -> relu -> dropout(0.0) -> linear(3)
  search parsec {
    samples = 3
    batch = 4
    weights = OPTIMISER
    phase first { streams STREAMS learn LEARN epochs = 2 lr = (weights=0.2, arch=0.1) }
  }
}
"""
SGD = "sgd(momentum=0.9, weight_decay=0.5, nesterov=false)"
#: Columns of head.linear.weight [3, 12] that a phase has, by its streams and what it learns.
CASES = {
    ("a", "a"): list(range(8)),
    ("b", "b"): list(range(8, 12)),
    # At its default, a is 4 wide.
    ("a, b", "b"): [*range(4), *range(8, 12)],
    ("a, b", "a, b"): list(range(12)),
}


def searcher(folder: Path, streams: str, learn: str, optimiser: str = SGD) -> Searcher:
    text = PHASES.replace("STREAMS", streams).replace("LEARN", learn)
    (folder / "p.tsnet").write_text(text.replace("OPTIMISER", optimiser))
    space = tsdsl.load(folder / "p.tsnet")
    recipe, plan = Recipe.of(space), plan_of(space, 3)
    videos = read_list(write_videos(folder, 12))
    loader = TrainLoader(TrainClips(videos, recipe.sampling, recipe.transform, seed=0), 4)
    torch.manual_seed(0)
    supernet = tsdsl.compile(space).double()
    assert isinstance(supernet, tsdsl.Supernet)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.normal_()
    return Searcher(space, supernet, plan, (loader,), Ranks.alone(), seed=0)


@pytest.mark.parametrize("phase", CASES)
def test_what_a_phase_does_not_have_stays(phase: tuple[str, str], tmp_path: Path) -> None:
    """The used columns go as a hand-written optimiser moves them, decay and momentum included; the
    others stay bit for bit, as do the weights of a stream that is absent."""
    made = searcher(tmp_path, *phase)
    weight = made.supernet.get_parameter("head.linear.weight")
    used = CASES[phase]
    rest = [k for k in range(12) if k not in used]
    start = {name: p.detach().clone() for name, p in made.supernet.named_parameters()}
    by_hand, moment = weight.detach().clone(), None
    steps = 0
    for event in made.run():
        if not isinstance(event, SearchStepDone):
            continue
        assert weight.grad is not None
        gradient = weight.grad + 0.5 * by_hand
        moment = gradient.clone() if moment is None else 0.9 * moment + gradient
        by_hand = by_hand - event.lr * moment
        assert torch.allclose(weight[:, used], by_hand[:, used], rtol=1e-12, atol=1e-14)
        assert torch.equal(weight[:, rest], start["head.linear.weight"][:, rest])
        steps += 1
    assert steps == 6
    for name, p in made.supernet.named_parameters():
        stream = name.split(".")[0]
        absent = stream in ("a", "b") and stream not in phase[0].split(", ")
        assert torch.equal(p, start[name]) == absent, name
    if rest:
        # It would have decayed.
        assert not torch.allclose(by_hand[:, rest], start["head.linear.weight"][:, rest], rtol=0.1)


@pytest.mark.parametrize("optimiser", ["adam(weight_decay=0.1)", "sgd(weight_decay=0.1)"])
def test_whatever_the_optimiser(optimiser: str, tmp_path: Path) -> None:
    made = searcher(tmp_path, "b", "b", optimiser)
    start = made.supernet.get_parameter("head.linear.weight").detach().clone()
    list(made.run())
    weight: Tensor = made.supernet.get_parameter("head.linear.weight")
    assert torch.equal(weight[:, :8], start[:, :8])
    assert not torch.isclose(weight[:, 8:], start[:, 8:], rtol=1e-3).any()


def test_rows_and_channels_of_a_width_that_stands(tmp_path: Path) -> None:
    """With a at its default, 4 wide, the rows of the channels beyond are as they were."""
    made = searcher(tmp_path, "a, b", "b")
    name = "a.s1.0.weight"
    start = made.supernet.get_parameter(name).detach().clone()
    list(made.run())
    weight = made.supernet.get_parameter(name)
    assert torch.equal(weight[4:], start[4:])
    assert not torch.isclose(weight[:4], start[:4], rtol=1e-3).all()
