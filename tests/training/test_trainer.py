"""The loop against a plain one, in float64; passes, ranks and restored states against the whole."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tsdsl
from tsdsl.data.dataset import TrainClips
from tsdsl.data.lists import read_list
from tsdsl.data.loader import TrainLoader
from tsdsl.data.transforms import normalise
from tsdsl.training.ranks import Ranks
from tsdsl.training.recipe import Recipe
from tsdsl.training.trainer import Metrics, Trainer, TrainingError

Tiny = Callable[..., tsdsl.Space]


def network(space: tsdsl.Space, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return tsdsl.compile(space).double()


def loader(space: tsdsl.Space, videos: Path, batch: int, passes: int = 1) -> TrainLoader:
    recipe = Recipe.of(space)
    clips = TrainClips(read_list(videos), recipe.sampling, recipe.transform, seed=3)
    return TrainLoader(clips, batch, passes=passes)


def trainer(
    space: tsdsl.Space, videos: Path, net: nn.Module, batch: int = 4, passes: int = 1, **more: Any
) -> Trainer:
    batches = loader(space, videos, batch, passes)
    return Trainer(net, Recipe.of(space), batches, Ranks.alone(), accumulate=passes, seed=3, **more)


def weights(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in net.state_dict().items()}


def difference(one: nn.Module, other: nn.Module) -> float:
    return max(
        float((a.double() - b.double()).abs().max())
        for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("norm", [False, True])
def test_equal_to_a_plain_loop(tiny: Tiny, videos: Path, norm: bool) -> None:
    settings = {
        "train__label_smoothing": 0.1,
        "train__clip_gradient": 0.5,
        "train__optimizer": "sgd(momentum=0.8, weight_decay=0.01, nesterov=true)",
        "train__schedule": "constant",
    }
    space = tiny(norm, **settings)
    net = network(space)
    plain = deepcopy(net).train()
    metrics = [s.metrics for s in trainer(space, videos, net, log_every=2).run() if s.metrics]

    decayed = [p for name, p in plain.named_parameters() if ".bn." not in name]
    others = [p for name, p in plain.named_parameters() if ".bn." in name]
    groups: list[dict[str, Any]] = [{"params": decayed}]
    if norm:
        assert others
        groups.append({"params": others, "weight_decay": 0.0})
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.8, weight_decay=0.01, nesterov=True)
    losses = []
    for epoch in range(3):
        for batch in loader(space, videos, 4).epoch(epoch):
            optimizer.zero_grad()
            logits = plain(normalise(batch.clips_NCTHW, torch.float64))
            loss = F.cross_entropy(logits, batch.labels_N, label_smoothing=0.1)
            loss.backward()
            nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
            optimizer.step()
            losses.append(loss.item())
    assert len(losses) == 9
    assert difference(net, plain) == 0
    # Every second step, and the last step of an epoch of three.
    assert [m.steps for m in metrics] == [2, 1, 1, 2, 2, 1]
    assert metrics[0].loss == pytest.approx(sum(losses[:2]) / 2)
    assert metrics[-1].loss == pytest.approx(losses[-1])


def test_a_head_that_ends_in_a_softmax(tiny: Tiny, videos: Path) -> None:
    """Logarithms of the outputs are logits: it learns what the same network without softmax
    learns."""
    space = tiny()
    plain = network(space)
    with_softmax = nn.Sequential(network(space), nn.Softmax(1))
    for _ in trainer(space, videos, plain).run():
        pass
    for _ in trainer(space, videos, with_softmax, probabilities=True).run():
        pass
    assert difference(plain, with_softmax) < 1e-12


def test_passes_add_up(tiny: Tiny, videos: Path) -> None:
    space = tiny()
    whole, split = network(space), network(space)
    for _ in trainer(space, videos, whole).run():
        pass
    found = [s.metrics for s in trainer(space, videos, split, 2, passes=2, log_every=1).run()]
    assert difference(whole, split) < 1e-12
    assert difference(whole, network(space)) > 1e-3
    assert all(isinstance(m, Metrics) and m.steps == 1 for m in found) and len(found) == 9


@pytest.mark.parametrize("at", [1, 3, 5])
def test_a_restored_state_goes_on_bit_for_bit(tiny: Tiny, videos: Path, at: int) -> None:
    space = tiny(True, drop=0.5, train__ema=0.9, train__optimizer="adam")
    straight = trainer(space, videos, network(space))
    states = {}
    for stepped in straight.run():
        if stepped.step == at:
            states[at] = deepcopy(straight.state())
    torch.manual_seed(123)
    torch.rand(7)
    again = trainer(space, videos, network(space, seed=9))
    again.restore(states[at])
    assert again.step == at
    steps = [stepped.step for stepped in again.run()]
    assert steps == list(range(at + 1, 10))
    assert difference(again.net, straight.net) == 0
    assert difference(again.evaluated, straight.evaluated) == 0
    assert difference(again.net, again.evaluated) > 0


def test_dropout_depends_on_the_step_and_the_seed(tiny: Tiny, videos: Path) -> None:
    space = tiny(drop=0.5, train__epochs=1)
    nets = []
    for seed in (3, 4):
        net = network(space)
        batches = loader(space, videos, 4)
        for _ in Trainer(net, Recipe.of(space), batches, Ranks.alone(), seed=seed).run():
            torch.rand(3)
        nets.append(net)
    same = network(space)
    for _ in trainer(space, videos, same).run():
        pass
    assert difference(nets[0], same) == 0 and difference(nets[0], nets[1]) > 0


def test_a_loss_that_is_not_finite(tiny: Tiny, videos: Path) -> None:
    space = tiny(train__lr=1e30, train__schedule="constant", train__epochs=20)
    run = trainer(space, videos, network(space).float(), log_every=5)
    with pytest.raises(TrainingError) as error:
        for _ in run.run():
            pass
    (found,) = error.value.diagnostics
    assert found.code == "E0822" and "not finite in steps " in found.message


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RuntimeError("Expected more than 1 value per channel\nat line 3"), "more than 1 value"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            "enough memory",
        ),
        (MemoryError(), "enough memory"),
        (RuntimeError("DataLoader worker (pid 3) is killed by signal: Killed."), "has died"),
        (ValueError("no such thing"), "step 2 failed: no such thing"),
    ],
    ids=repr,
)
def test_a_step_that_fails(tiny: Tiny, videos: Path, error: Exception, says: str) -> None:
    run = trainer(tiny(), videos, network(tiny()))
    steps = run.run()
    next(steps)

    def fail(*arguments: Any) -> None:
        raise error

    run.net.register_forward_pre_hook(fail)
    with pytest.raises(TrainingError) as found:
        next(steps)
    (finding,) = found.value.diagnostics
    assert finding.code == "E0822" and says in finding.message and finding.help


def test_parts_of_epochs(tiny: Tiny, videos: Path) -> None:
    run = trainer(tiny(train__epochs=1.34), videos, network(tiny()))
    ended = [stepped.ended_epoch for stepped in run.run()]
    assert ended == [None, None, 0, 1]
    assert run.epoch == pytest.approx(4 / 3)


def test_mixed_precision_is_near(tiny: Tiny, videos: Path) -> None:
    exact, mixed = network(tiny()).float(), network(tiny()).float()
    for _ in trainer(tiny(), videos, exact).run():
        pass
    run = trainer(tiny(train__mixed_precision=True), videos, mixed)
    for _ in run.run():
        pass
    assert next(mixed.parameters()).dtype == torch.float32
    assert 0 < difference(exact, mixed) < 0.05


def test_an_error_of_ours_is_no_finding_about_the_network(
    tiny: Tiny, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ValueError outside of the network's call, and what a loader raises, stay as they are."""
    space = tiny()

    def fails(*given: Any, **more: Any) -> Any:
        raise ValueError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr("tsdsl.training.trainer.learning_rate", fails)
        with pytest.raises(ValueError, match="a bug") as bad:
            list(trainer(space, videos, network(space)).run())
        assert not isinstance(bad.value, TrainingError)
    for error in (RuntimeError("a bug"), IndexError("a bug")):
        with monkeypatch.context() as patched:
            made = trainer(space, videos, network(space))
            batches = iter(lambda error=error: (_ for _ in ()).throw(error), None)
            patched.setattr(made._loader, "epoch", lambda *given, b=batches, **more: map(next, b))
            with pytest.raises(type(error), match="a bug") as other:
                list(made.run())
            assert not isinstance(other.value, TrainingError)


def test_what_the_network_refuses_is_a_finding_with_its_cause(tiny: Tiny, videos: Path) -> None:
    class Refuses(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, clips_NCTHW: torch.Tensor) -> torch.Tensor:
            raise ValueError("more than 1 value per channel")

    with pytest.raises(TrainingError, match="more than 1 value per channel") as bad:
        list(trainer(tiny(), videos, Refuses()).run())
    assert isinstance(bad.value.__cause__, ValueError)
