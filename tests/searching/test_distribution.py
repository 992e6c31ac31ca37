"""P(A | alpha) against the enumeration of all architectures, and autograd over it."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

import tsdsl
from tsdsl.diagnostics import SpecError
from tsdsl.searching.distribution import Alpha, Categoricals

sys.path.insert(0, str(Path(__file__).resolve().parent))

from text_spaces import MORE, PAIRS, SPARSE, TEXT, every_architecture
from tiny_spaces import stirred, tiny

KINDS = ["tiny", "required", *range(len(PAIRS))]


def space_of(kind: str | int, folder: Path) -> tsdsl.Space:
    if isinstance(kind, str):
        return tiny(folder, require=kind == "required")
    sparse, more = PAIRS[kind]
    text = TEXT.format(sparse=SPARSE[sparse], dense="8", more=MORE[more])
    (folder / "a.tsnet").write_text(text)
    return tsdsl.load(folder / "a.tsnet")


@pytest.mark.parametrize("kind", KINDS)
def test_against_enumeration(kind: str | int, tmp_path: Path) -> None:
    space = space_of(kind, tmp_path)
    given = stirred(space)
    now = Categoricals(space, given)
    odds = every_architecture(space, given)
    logs = now.log_probability(list(odds))
    assert np.exp(logs).sum() == pytest.approx(1, abs=1e-12)
    assert np.exp(logs) == pytest.approx(list(odds.values()), rel=1e-9)
    assert now.entropy() == (pytest.approx(-(np.exp(logs) @ logs), rel=1e-12), 0.0)
    # What the engine means by a mean is what these probabilities give.
    mean = np.exp(logs) @ space.flops(list(odds))
    assert space.expectation("macs", now.distribution) == pytest.approx(mean, rel=1e-12)


def differentiated(space: tsdsl.Space, now: Categoricals, factors: np.ndarray) -> np.ndarray:
    """The gradient of sum factors[k] log P(A_k) over all architectures, by autograd: weights as
    products of softmaxes, divided by their sum."""
    every = list(every_architecture(space))
    flat = torch.tensor(now.distribution.flat, requires_grad=True)
    parts = torch.split(flat, list(now.distribution.layout.sizes))
    logs = {d.path: torch.log_softmax(p, 0) for d, p in zip(space.decisions, parts, strict=True)}
    weights = torch.stack(
        [
            sum(
                (logs[d.path][d.options.index(a[d.path])] for d in space.decisions if d.path in a),
                torch.zeros((), dtype=torch.float64),
            )
            for a in every
        ]
    )
    (torch.tensor(factors) @ (weights - torch.logsumexp(weights, 0))).backward()
    assert flat.grad is not None
    return flat.grad.numpy()


@pytest.mark.parametrize("kind", ["tiny", "required", 1])
def test_gradient_against_autograd(kind: str | int, tmp_path: Path) -> None:
    space = space_of(kind, tmp_path)
    now = Categoricals(space, stirred(space, 1))
    every = list(every_architecture(space))
    for k in range(0, len(every), max(1, len(every) // 6)):
        one = np.eye(len(every))[k]
        assert now.gradient([every[k]], 1.0) == pytest.approx(
            differentiated(space, now, one), abs=1e-12
        )
    factors = np.random.default_rng(2).normal(size=len(every))
    found = now.gradient(every, factors)
    assert found == pytest.approx(differentiated(space, now, factors), abs=1e-10)
    # The mean of the gradient of log P is 0.
    p = np.exp(now.log_probability(every))
    assert now.gradient(every, p) == pytest.approx(np.zeros(now.size), abs=1e-12)


@pytest.mark.parametrize("kind", ["tiny", "required"])
def test_frequencies_of_samples(kind: str, tmp_path: Path) -> None:
    space = space_of(kind, tmp_path)
    now = Categoricals(space, stirred(space, 3, 0.7))
    odds = every_architecture(space, now.distribution)
    # Many small draws, as a search makes them, so that steps are seen to be independent as well.
    seen = Counter(a for step in range(500) for a in now.sample(13, seed=7, step=step))
    total = seen.total()
    assert set(seen) <= set(odds) and total == 6500
    chi = sum((seen[a] - total * p) ** 2 / (total * p) for a, p in odds.items())
    freedom = len(odds) - 1
    # Mean and deviation of chi-square: freedom, sqrt(2 freedom).
    assert abs(chi - freedom) < 4 * (2 * freedom) ** 0.5


def test_samples_are_a_function_of_seed_and_step(tmp_path: Path) -> None:
    space = tiny(tmp_path)
    now = Categoricals(space)
    drawn = now.sample(64, seed=1, step=2)
    assert drawn == Categoricals(space).sample(64, seed=1, step=2)
    assert drawn[:13] == now.sample(13, seed=1, step=2)
    assert drawn != now.sample(64, seed=1, step=3)
    assert drawn != now.sample(64, seed=2, step=1)


def test_large_spaces_draw_alike_and_sum_up() -> None:
    """143 decisions: the mean of -log P over draws is the exact entropy, and that of FLOPs the
    exact mean."""
    root = Path(__file__).resolve().parents[2]
    space = tsdsl.load(root / "specs" / "auto_tsnet_s.tsnet")
    now = Categoricals(space, stirred(space, 4))
    drawn = now.sample(4000, seed=0, step=0)
    for values, exact in (
        (-now.log_probability(drawn), now.entropy().value),
        (space.flops(drawn), space.expectation("macs", now.distribution)),
    ):
        assert abs(values.mean() - exact) < 4 * values.std() / len(values) ** 0.5


def test_what_stands_is_certain_and_does_not_move(tmp_path: Path) -> None:
    space = tiny(tmp_path)
    alpha = Alpha(space)
    assert alpha.now().distribution.probabilities["width"] == pytest.approx([0.5, 0.2, 0.3])
    before = [p.detach().clone() for p in alpha.parameters()]
    alpha.stand({"width": 6})
    assert alpha.learned == ("main.s1.depth", "main.s1[0].kernel", "main.s1[1].kernel")
    now = alpha.now()
    drawn = now.sample(32, seed=0, step=0)
    assert {a["width"] for a in drawn} == {6}
    flat = now.gradient(drawn, np.linspace(-1, 1, 32))
    assert not flat[:3].any() and flat[3:].any()
    # An optimiser that moves things without a gradient to them (decay, momentum) as well.
    adam = torch.optim.Adam(alpha.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):
        alpha.set_gradient(flat)
        adam.step()
    assert torch.equal(next(iter(alpha.logits)), before[0])
    assert not torch.equal(alpha.logits[1], before[1])
    other = next(a for a in every_architecture(space) if a["width"] == 8)
    assert now.log_probability([other]).item() == -np.inf
    # Exact, with certainties.
    odds = every_architecture(space, now.distribution)
    exact = -sum(p * np.log(p) for p in odds.values() if p)
    assert now.entropy().value == pytest.approx(exact, rel=1e-12)
    alpha.stand({})
    assert len(alpha.learned) == 4
    assert alpha.now().distribution.probabilities["width"] == pytest.approx([0.5, 0.2, 0.3])
    with pytest.raises(ValueError, match="no decision 'widht' did you mean 'width'"):
        alpha.stand({"widht": 6})
    with pytest.raises(ValueError, match="'width' has no option 5"):
        alpha.stand({"width": 5})


def test_what_stands_can_leave_nothing(tmp_path: Path) -> None:
    space = tiny(tmp_path, require=True)
    alpha = Alpha(space)
    alpha.stand({"width": 8, "main.s1.depth": 2})
    with pytest.raises(SpecError):
        alpha.now().sample(1, seed=0, step=0)
    with pytest.raises(SpecError):
        alpha.now().log_feasible  # noqa: B018


def test_files_hold_every_bit(tmp_path: Path) -> None:
    space = tiny(tmp_path)
    alpha = Alpha(space, stirred(space, 5))
    alpha.stand({"main.s1.depth": 2})
    alpha.save(tmp_path / "dist.json")
    assert json.loads((tmp_path / "dist.json").read_text())["format"] == "tsnet-dist/1"
    again = Alpha.load(space, tmp_path / "dist.json")
    assert again.learned == alpha.learned
    assert np.array_equal(again.now().distribution.flat, alpha.now().distribution.flat)
    other = Alpha(space)
    other.load_state_dict(alpha.state_dict())
    assert other.learned == alpha.learned
    assert np.array_equal(other.now().distribution.flat, alpha.now().distribution.flat)


def test_most_probable_within_a_budget(tmp_path: Path) -> None:
    space = tiny(tmp_path)
    now = Categoricals(space, stirred(space, 6))
    odds = every_architecture(space, now.distribution)
    costs = space.flops(list(odds))
    low, high = int(np.quantile(costs, 0.3)), int(np.quantile(costs, 0.6))
    inside = [a for a, cost in zip(odds, costs, strict=True) if low <= cost <= high]
    assert now.most_probable() == max(odds, key=odds.__getitem__)
    assert now.most_probable(flops=(low, high)) == max(inside, key=odds.__getitem__)
