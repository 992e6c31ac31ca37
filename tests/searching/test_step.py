"""The step against all graphs at once, against enumeration, and against itself on two ranks."""

from __future__ import annotations

import copy
import sys
import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations, combinations_with_replacement, pairwise
from math import factorial, prod
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from forking import program_main, run_ranks
from torch import Tensor, nn

import tsdsl
from tsdsl.ir.architecture import Architecture
from tsdsl.searching.distribution import Alpha, Categoricals
from tsdsl.searching.parsec.cost_term import CostTerm
from tsdsl.searching.parsec.online_softmax import OnlineSoftmax
from tsdsl.searching.parsec.step import ParsecStep
from tsdsl.searching.supernet_step import Clips, SearchError, classifier
from tsdsl.sema.sections import Budget

sys.path.insert(0, str(Path(__file__).resolve().parent))

from text_spaces import every_architecture
from tiny_spaces import stirred, tiny

Shifts = Mapping[Architecture, float]


def made(folder: Path, norm: bool = False, seed: int = 0) -> tuple[tsdsl.Space, Any, Clips]:
    space = tiny(folder, norm=norm)
    torch.manual_seed(seed)
    supernet = tsdsl.compile(space).double().train()
    clips = Clips(torch.randn(6, *space.input_shape).double(), torch.arange(6) % 3)
    return space, supernet, clips


def shifted(supernet: Any, to: Shifts) -> Any:
    """The likelihood, moved to a given number of nats; its gradient stays."""
    plain = classifier(supernet)

    def likelihood(architecture: Architecture, clips: Clips) -> Tensor:
        found = plain(architecture, clips)
        return found + (to[architecture] - found.detach())

    return likelihood


def gradients(net: nn.Module) -> dict[str, Tensor]:
    return {n: p.grad.clone() for n, p in net.named_parameters() if p.grad is not None}


def all_graphs(
    supernet: Any, samples: Sequence[Architecture], clips: Clips, to: Shifts
) -> dict[str, Tensor]:
    """K graphs at once, one backward pass."""
    supernet.zero_grad()
    total = torch.stack([shifted(supernet, to)(a, clips) for a in samples])
    weights = torch.softmax(total.detach(), 0)
    (-(weights @ total) / len(clips)).backward()
    return gradients(supernet)


SPANS = {
    # All alike; a few at the top and the others far below; one far above all.
    "near": lambda r: r.uniform(-3, 0),
    "far": lambda r: r.choice([r.uniform(-2, 0), r.uniform(-40, -15), r.uniform(-1e4, -9e3)]),
    "one": lambda r: r.uniform(-1e4, 0),
}


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("norm", [False, True])
def test_one_graph_is_all_graphs(span: str, norm: bool, tmp_path: Path) -> None:
    space, supernet, clips = made(tmp_path, norm)
    random = Random(1)
    every = list(every_architecture(space))
    to = {a: SPANS[span](random) for a in every}
    distinct = random.sample(every, 13)
    cases = [
        distinct,
        sorted(distinct, key=to.__getitem__),
        sorted(distinct, key=to.__getitem__, reverse=True),
        [*distinct[:4], *distinct[:4], *distinct[:2], distinct[0], *distinct[4:6]],
        distinct[:1],
        [distinct[0]] * 3,
    ]
    for samples in cases:
        expected = all_graphs(supernet, samples, clips, to)
        parsec = ParsecStep(supernet, Alpha(space), shifted(supernet, to), reading="sum")
        stepped = parsec.step(samples, clips)
        found = gradients(supernet)
        # The same weights are touched, and no others.
        assert found.keys() == expected.keys()
        largest = max(float(g.abs().max()) for g in expected.values())
        for name, grad in expected.items():
            assert float((found[name] - grad).abs().max()) <= 1e-10 * largest, name
        logs = torch.tensor([to[a] for a in samples], dtype=torch.float64)
        assert stepped.weights == pytest.approx(torch.softmax(logs, 0).tolist(), rel=1e-9)
        assert stepped.alpha_weights == stepped.weights
        norms = torch.stack([g.norm() for g in expected.values()]).norm()
        assert stepped.gradient_norm == pytest.approx(float(norms), rel=1e-9)


@pytest.mark.parametrize("span", SPANS)
def test_micro_batches(span: str, tmp_path: Path) -> None:
    """Clips in parts are all clips at once, where no operation looks at several of them."""
    space, supernet, clips = made(tmp_path)
    random = Random(2)
    every = list(every_architecture(space))
    to = {a: SPANS[span](random) for a in every}
    plain = classifier(supernet)

    def likelihood(architecture: Architecture, given: Clips) -> Tensor:
        found = plain(architecture, given)
        # The share of these clips in the number of nats.
        return found + (to[architecture] * len(given) / 6 - found.detach())

    distinct = random.sample(every, 7)
    for samples in (
        distinct,
        sorted(distinct, key=to.__getitem__),
        [*distinct[:3], distinct[0], *distinct[:2]],
        distinct[:1],
    ):
        told, grads = [], []
        for micro_batch in (None, 1, 2, 4, 5, 6, 100):
            parsec = ParsecStep(
                supernet, Alpha(space), likelihood, reading="sum", micro_batch=micro_batch
            )
            told.append(parsec.step(samples, clips, held=clips))
            grads.append(gradients(supernet))
        for stepped, found in zip(told[1:], grads[1:], strict=True):
            assert found.keys() == grads[0].keys()
            largest = max(float(g.abs().max()) for g in grads[0].values())
            for name, grad in grads[0].items():
                assert float((found[name] - grad).abs().max()) <= 1e-10 * largest, name
            assert stepped.gradient_norm == pytest.approx(told[0].gradient_norm, rel=1e-10)
            for name in ("log_likelihoods", "weights", "alpha_log_likelihoods", "alpha_weights"):
                whole = pytest.approx(getattr(told[0], name), rel=1e-9, abs=1e-300)
                assert getattr(stepped, name) == whole


def test_micro_batches_and_normalisation(tmp_path: Path) -> None:
    """Statistics are those of a part: running ones move once for each."""
    space, supernet, clips = made(tmp_path, norm=True)
    (first, *_) = every_architecture(space)
    counts = [b for n, b in supernet.named_buffers() if n.endswith("num_batches_tracked")]
    ParsecStep(supernet, Alpha(space), classifier(supernet), micro_batch=2).step([first], clips)
    assert {int(c) for c in counts} == {0, 3}
    split = gradients(supernet)
    ParsecStep(supernet, Alpha(space), classifier(supernet)).step([first], clips)
    whole = gradients(supernet)
    assert {int(c) for c in counts} == {0, 4}
    assert any(not torch.allclose(split[name], whole[name]) for name in whole)


def test_shared_and_frozen_weights(tmp_path: Path) -> None:
    """A parameter of two operations has the sum of their gradients, once; what is frozen between
    steps keeps nothing of an earlier one."""
    space, supernet, clips = made(tmp_path, norm=True)
    supernet.eval()
    norms = [m for m in supernet.modules() if "running_mean" in m._buffers]
    one, other = next(p for p in combinations(norms, 2) if _width(p[0]) == _width(p[1]))
    one.weight = other.weight
    architectures = space.sample(3, seed=0)
    wanted = all_graphs(supernet, architectures, clips, {a: -1.0 for a in architectures})
    parsec = ParsecStep(supernet, Alpha(space), shifted(supernet, {a: -1.0 for a in architectures}))
    stepped = parsec.step(architectures, clips)
    found = gradients(supernet)
    assert found.keys() == wanted.keys()
    for name, grad in wanted.items():
        assert torch.allclose(found[name], grad, rtol=1e-10, atol=1e-12), name
    length = sum(float(g.square().sum()) for g in found.values()) ** 0.5
    assert stepped.gradient_norm == pytest.approx(length)
    one.weight.requires_grad_(False)
    parsec.step(architectures, clips)
    assert one.weight.grad is None and len(gradients(supernet)) == len(wanted) - 1


def _width(module: nn.Module) -> int:
    return len(module.get_parameter("weight"))


def test_untouched_weights_have_no_gradient(tmp_path: Path) -> None:
    space, supernet, clips = made(tmp_path)
    shallow = [a for a in every_architecture(space) if a["main.s1.depth"] == 1]
    ParsecStep(supernet, Alpha(space), classifier(supernet)).step(shallow, clips)
    untouched = {n for n, p in supernet.named_parameters() if p.grad is None}
    assert untouched == {n for n, _ in supernet.named_parameters() if "s1.1" in n} != set()


def test_float32_with_likelihoods_far_apart() -> None:
    """Whatever the order, what is far below is gone and what is near the top is right."""
    random = Random(0)
    for _ in range(50):
        logs = [random.uniform(-1e4, 1e4) for _ in range(10)]
        top = max(logs) + 50
        logs += [top, top - 1.5, top - 30]
        random.shuffle(logs)
        slopes = [random.uniform(-1, 1) for _ in logs]
        x = nn.Parameter(torch.ones(3))
        online = OnlineSoftmax([x])
        for value, slope in zip(logs, slopes, strict=True):
            (x.sum() * slope * online.factor(value)).backward()
        online.finish()
        assert x.grad is not None
        weights = torch.softmax(torch.tensor(logs, dtype=torch.float64), 0)
        expected = float(weights @ torch.tensor(slopes, dtype=torch.float64))
        assert x.grad.tolist() == pytest.approx([expected] * 3, rel=1e-5, abs=1e-7)


def test_slack_bounds_the_factors() -> None:
    x = nn.Parameter(torch.ones(()))
    for slack, most in ((0.0, 1.0), (20.0, np.exp(20))):
        x.grad = None
        online = OnlineSoftmax([x], slack)
        for value in (0.0, 15.0, 19.9, 40.0, 41.0, 1e5, 0.0):
            factor = online.factor(value)
            assert 0 <= factor <= most * (1 + 1e-12)
            (x * factor).backward()
        online.finish()
        assert float(x.grad) == pytest.approx(1, rel=1e-6)  # type: ignore[arg-type]


def test_readings_temperature_and_halves(tmp_path: Path) -> None:
    space, supernet, clips = made(tmp_path)
    samples = Categoricals(space).sample(5, seed=0, step=0)
    other = Clips(clips.clips_NCTHW[:4].flip(0), clips.labels_N[:4])
    plain = classifier(supernet)
    with torch.no_grad():
        ours, theirs = ([float(plain(a, part)) for a in samples] for part in (clips, other))

    def softmax(values: Sequence[float]) -> list[float]:
        return list(torch.softmax(torch.tensor(values, dtype=torch.float64), 0).tolist())

    for reading, temperature in (("sum", 1.0), ("mean", 1.0), ("mean", 0.01), ("sum", 7.0)):
        alpha = Alpha(space)
        parsec = ParsecStep(
            supernet,
            alpha,
            plain,
            reading=reading,  # type: ignore[arg-type]
            temperature=temperature,
            baseline=False,
        )
        stepped = parsec.step(samples, clips, held=other)
        by, others = (temperature * (n if reading == "mean" else 1) for n in (6, 4))
        assert stepped.log_likelihoods == pytest.approx([x / 6 for x in ours])
        assert stepped.weights == pytest.approx(softmax([x / by for x in ours]))
        assert stepped.alpha_log_likelihoods == pytest.approx([x / 4 for x in theirs])
        assert stepped.alpha_weights == pytest.approx(softmax([x / others for x in theirs]))
        mine = Categoricals(space).gradient(samples, -np.array(stepped.alpha_weights))
        given = torch.cat([p.grad for p in alpha.parameters()])  # type: ignore[misc]
        assert given.numpy() == pytest.approx(mine, abs=1e-12)
        w = stepped.weights
        assert stepped.loss == pytest.approx(-sum(a * x / 6 for a, x in zip(w, ours, strict=True)))
    parsec.step(samples, clips, learn=False)
    assert all(p.grad is None for p in alpha.parameters())
    assert gradients(supernet)


# ------------------------------------------------------------ alpha


class Table(nn.Module):
    """Likelihoods of a whole space, as parameters."""

    def __init__(self, values: Mapping[Architecture, float]) -> None:
        super().__init__()
        self.rows = {a: k for k, a in enumerate(values)}
        self.values = nn.Parameter(torch.tensor(list(values.values()), dtype=torch.float64))

    def likelihood(self, architecture: Any, clips: Clips) -> Tensor:
        return self.values[self.rows[architecture]]


def problem(folder: Path, require: bool) -> tuple[tsdsl.Space, Table, Categoricals, CostTerm]:
    space = tiny(folder, require=require)
    every = list(every_architecture(space))
    table = Table({a: float(v) for a, v in zip(every, np.linspace(-3, 1, len(every)), strict=True)})
    flops = np.sort(space.flops(every))
    budget = Budget(cost="flops", low=int(flops[4]), high=int(flops[8]), weight=0.7)
    return space, table, Categoricals(space, stirred(space, 2, 0.5)), CostTerm(space, [budget])


ONE = Clips(torch.zeros(1), torch.zeros(1))


def exact(
    table: Table, now: Categoricals, term: CostTerm, samples: int, baseline: bool
) -> np.ndarray:
    """The mean of alpha's gradient: over all K-tuples of architectures, with their probabilities.
    Tuples that differ in order only are counted together."""
    every = list(table.rows)
    p = np.exp(now.log_probability(every))
    slopes = np.stack([now.gradient([a], 1.0) for a in every])
    logs = table.values.detach().numpy()
    costs = term.costs(now.choose(every))[0]
    picked = np.array(list(combinations_with_replacement(range(len(every)), samples)))
    ways = [
        factorial(samples) / prod(map(factorial, Counter(row).values())) for row in picked.tolist()
    ]
    chance = p[picked].prod(1) * np.array(ways)
    assert chance.sum() == pytest.approx(1, abs=1e-9)
    w = np.exp(logs[picked] - logs[picked].max(1, keepdims=True))
    w /= w.sum(1, keepdims=True)
    total = costs[picked].sum(1, keepdims=True)
    c = np.divide(costs[picked], total, out=np.zeros_like(w), where=total > 0)
    beta = term.budgets[0].weight
    factors = (beta * c - w + baseline / samples) * chance[:, None]
    weight = np.bincount(picked.ravel(), factors.ravel(), minlength=len(every))
    return np.asarray(weight @ slopes)


@pytest.mark.parametrize("require", [False, True])
@pytest.mark.parametrize("baseline", [False, True])
def test_the_mean_of_alphas_gradient(require: bool, baseline: bool, tmp_path: Path) -> None:
    space, table, now, term = problem(tmp_path, require)
    alpha = Alpha(space, now.distribution)
    parsec = ParsecStep(table, alpha, table.likelihood, reading="sum", baseline=baseline, term=term)
    samples, draws = 3, 1500
    drawn = now.sample(samples * draws, seed=3, step=0)
    rows = []
    for k in range(draws):
        parsec.step(drawn[k * samples : (k + 1) * samples], ONE, now=now)
        rows.append(torch.cat([p.grad for p in alpha.parameters()]).numpy())  # type: ignore[misc]
    mean, error = np.mean(rows, 0), np.std(rows, 0, ddof=1) / draws**0.5
    target = exact(table, now, term, samples, baseline)
    assert (np.abs(mean - target) <= 3 * error).all()
    # The test would see what it is for: the target is many errors away from nothing.
    assert np.abs(target / error).max() > 10
    # The baseline changes no mean.
    assert target == pytest.approx(exact(table, now, term, samples, not baseline), abs=1e-12)


def test_where_the_mean_goes_as_samples_grow(tmp_path: Path) -> None:
    """To the gradient of - log E[e^l] + beta log E[cost], with an error of about 1 / K."""
    space, table, now, term = problem(tmp_path, False)
    every = list(table.rows)
    p = np.exp(now.log_probability(every))
    slopes = np.stack([now.gradient([a], 1.0) for a in every])
    e, cost = np.exp(table.values.detach().numpy()), term.costs(now.choose(every))[0]
    limit = (0.7 * p * cost / (p @ cost) - p * e / (p @ e)) @ slopes
    # That is a gradient, of what it is said to be.
    flat, step = now.distribution.flat, 1e-6
    for k in range(now.size):
        ends = []
        for sign in (1, -1):
            moved = flat + sign * step * np.eye(now.size)[k]
            there = Categoricals(space, type(now.distribution)(space.graph, moved))
            q = np.exp(there.log_probability(every))
            ends.append(-np.log(q @ e) + 0.7 * np.log(q @ cost))
        assert limit[k] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-7)
    far = [np.linalg.norm(exact(table, now, term, k, True) - limit) for k in (1, 2, 3, 5)]
    assert all(b < a for a, b in pairwise(far)) and far[3] < 0.5 * far[1]


def test_the_baseline_takes_noise_away(tmp_path: Path) -> None:
    space, table, now, _ = problem(tmp_path, False)
    spread = {}
    for baseline in (False, True):
        alpha = Alpha(space, now.distribution)
        parsec = ParsecStep(table, alpha, table.likelihood, baseline=baseline)
        rows = []
        for step in range(200):
            parsec.step(now.sample(13, seed=0, step=step), ONE, now=now)
            rows.append(torch.cat([p.grad for p in alpha.parameters()]).numpy())  # type: ignore[misc]
        spread[baseline] = np.var(rows, 0).sum()
    assert spread[True] < spread[False]


def test_a_budget_is_reached(tmp_path: Path) -> None:
    """Where what is larger is better: without a budget the mean goes up and out of the window, with
    a larger beta it ends nearer, with a large enough one inside."""
    space = tiny(tmp_path)
    every = sorted(every_architecture(space), key=space.flops)
    table = Table({a: float(v) for a, v in zip(every, np.linspace(-2, 2, 18), strict=True)})
    flops = np.sort(space.flops(every))
    low, high = int(flops[5]), int(flops[7])
    ends = []
    for beta, kind in ((0.0, "sampled"), (0.3, "sampled"), (3.0, "sampled"), (3.0, "exact")):
        budget = Budget(cost="flops", low=low, high=high, weight=beta)
        alpha = Alpha(space)
        term = CostTerm(space, [budget], kind=kind)  # type: ignore[arg-type]
        parsec = ParsecStep(table, alpha, table.likelihood, reading="sum", term=term)
        adam = torch.optim.Adam(alpha.parameters(), lr=0.1)
        for step in range(60):
            now = alpha.now()
            parsec.step(now.sample(13, seed=0, step=step), ONE, now=now)
            adam.step()
        ends.append(space.expectation("macs", alpha.now().distribution))
    none, some, enough, exact = ends
    assert none > some > high
    assert all(some > mean and 0.9 * low <= mean <= 1.1 * high for mean in (enough, exact)), ends


# ------------------------------------------------------------ memory


class Live:
    """Bytes that graphs keep, now and at most."""

    def __init__(self) -> None:
        self.now = self.peak = 0

    def pack(self, tensor: Tensor) -> Any:
        size = tensor.numel() * tensor.element_size()
        held = type("Held", (), {})()
        held.tensor = tensor
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(held, self._gone, size)
        return held

    def _gone(self, size: int) -> None:
        self.now -= size


def test_one_graph_at_a_time(tmp_path: Path) -> None:
    space, supernet, clips = made(tmp_path, norm=True)
    every = list(every_architecture(space))
    parsec = ParsecStep(supernet, Alpha(space), classifier(supernet))

    def peak(samples: Sequence[Architecture]) -> int:
        live = Live()
        with torch.autograd.graph.saved_tensors_hooks(live.pack, lambda held: held.tensor):
            parsec.step(samples, clips, held=clips)
        assert live.now == 0
        return live.peak

    whole = peak(every[:13])
    assert whole == max(peak([a]) for a in every[:13]) > 0
    # Of a part of the clips, where they come in parts; weights are kept whatever their number.
    parsec.passes.micro_batch = 2
    assert 0 < peak(every[:13]) < 0.4 * whole


# ------------------------------------------------------------ what goes wrong


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("half", ["clips", "held"])
@pytest.mark.parametrize("micro_batch", [None, 2])
def test_not_finite(bad: float, half: str, micro_batch: int | None, tmp_path: Path) -> None:
    space, supernet, clips = made(tmp_path, norm=True)
    samples = list(every_architecture(space))[:5]
    plain = classifier(supernet)
    other = Clips(clips.clips_NCTHW.flip(0), clips.labels_N)
    alpha = Alpha(space)

    def likelihood(architecture: Any, given: Clips) -> Tensor:
        found = plain(architecture, given)
        # The last clip alone, which a part of the clips has.
        spoiled = (clips if half == "clips" else other).clips_NCTHW[-1]
        hit = architecture == samples[3] and torch.equal(given.clips_NCTHW[-1], spoiled)
        return found * bad if hit else found

    before = {
        n: t.clone() for n, t in (*supernet.state_dict().items(), *alpha.state_dict().items())
    }
    parsec = ParsecStep(supernet, alpha, likelihood, micro_batch=micro_batch)
    with pytest.raises(SearchError) as caught:
        parsec.step(samples, clips, held=other)
    (found,) = caught.value.diagnostics
    assert found.code == "E0841" and "width = " in found.message
    after = dict((*supernet.state_dict().items(), *alpha.state_dict().items()))
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert not gradients(supernet) and not gradients(alpha)
    # It goes on as if nothing had been.
    parsec.passes.likelihood = plain
    parsec.step(samples, clips, held=other)
    assert gradients(supernet) and gradients(alpha)


def test_a_gradient_that_is_not_finite(tmp_path: Path) -> None:
    space, supernet, clips = made(tmp_path)
    plain = classifier(supernet)

    def likelihood(architecture: Any, given: Clips) -> Tensor:
        found = plain(architecture, given)
        # The square root of nothing has a value but no slope.
        return found + (found - found.detach()).sqrt()

    parsec = ParsecStep(supernet, Alpha(space), likelihood)
    with pytest.raises(SearchError, match="gradient is not finite"):
        parsec.step(list(every_architecture(space))[:3], clips)
    assert not gradients(supernet)
    with pytest.raises(ValueError, match="an architecture or more"):
        parsec.step([], clips)
    with pytest.raises(ValueError, match="a clip or more"):
        nothing = Clips(clips.clips_NCTHW[:0], clips.labels_N[:0])
        parsec.step(list(every_architecture(space))[:1], clips, held=nothing)


def test_what_changes_between_steps(tmp_path: Path) -> None:
    """Weights that are thawed, replaced or of another type since, are as they are now."""
    space, supernet, clips = made(tmp_path, norm=True)
    samples = list(every_architecture(space))[:4]
    frozen = [p for k, p in enumerate(supernet.parameters()) if k % 2]
    for p in frozen:
        p.requires_grad_(False)
    parsec = ParsecStep(supernet, Alpha(space), classifier(supernet))

    def stepped() -> dict[str, Tensor]:
        state = {n: t.clone() for n, t in supernet.state_dict().items()}
        parsec.step(samples, clips)
        found = gradients(supernet)
        supernet.load_state_dict(state)
        expected = all_graphs(supernet, samples, clips, dict(zip(samples, [0.0] * 4, strict=True)))
        supernet.load_state_dict(state)
        return found if found.keys() == expected.keys() else {}

    assert len(stepped()) == sum(p.requires_grad for p in supernet.parameters())
    for p in frozen:
        p.requires_grad_(True)
    first, again = stepped(), stepped()
    assert len(first) == len(list(supernet.parameters()))
    assert all(torch.equal(again[n], g) for n, g in first.items())
    values = {n: t.clone() for n, t in supernet.state_dict().items()}
    supernet.load_state_dict(values, assign=True)
    assert all(torch.allclose(stepped()[n], g, rtol=1e-12) for n, g in first.items())
    supernet.float()
    clips = Clips(clips.clips_NCTHW.float(), clips.labels_N)
    assert {g.dtype for g in stepped().values()} == {torch.float32}


def test_batches_are_counted(tmp_path: Path) -> None:
    """As often as a normalisation runs in training, whichever part of it does."""
    space, supernet, clips = made(tmp_path, norm=True)
    twin = copy.deepcopy(supernet)
    parsec = ParsecStep(supernet, Alpha(space), classifier(supernet), micro_batch=2)
    samples = list(every_architecture(space))[:7]
    for _ in range(2):
        parsec.step(samples, clips, held=clips)
        with torch.no_grad():
            for arch in samples:
                for _ in range(6):
                    twin(clips.clips_NCTHW[:2], arch)
    for (name, one), other in zip(supernet.named_buffers(), twin.buffers(), strict=True):
        if name.endswith("num_batches_tracked"):
            assert torch.equal(one, other) and int(one) > 0, name


# ------------------------------------------------------------ ranks

PROGRAM = """
import sys, torch, tsdsl
from tsdsl.searching.parsec.cost_term import CostTerm
from tsdsl.searching.distribution import Alpha
from tsdsl.searching.parsec.step import ParsecStep
from tsdsl.searching.supernet_step import Clips, SearchError, classifier
from tsdsl.sema.sections import Budget
from tsdsl.training.ranks import Ranks
spec, out = sys.argv[1:]
with Ranks.of("cpu") as ranks:
    space = tsdsl.load(spec)
    torch.manual_seed(0)
    supernet, alpha = tsdsl.compile(space).double().train(), Alpha(space)
    clips = torch.randn(8, *space.input_shape).double()
    labels, spoiled = torch.arange(8) % 3, clips.clone()
    spoiled[-1] = float("nan")
    budget = Budget(cost="flops", low=1, high=2, weight=0.3)
    parsec = ParsecStep(supernet, alpha, classifier(supernet), reading="sum",
                    term=CostTerm(space, [budget]), ranks=ranks)
    sgd = torch.optim.SGD(supernet.parameters(), lr=0.1, momentum=0.9)
    adam = torch.optim.Adam(alpha.parameters(), lr=0.05)
    # Parts of different sizes.
    part = slice(None) if ranks.world == 1 else slice(0, 3) if ranks.rank == 0 else slice(3, 8)
    told = []
    for step in range(4):
        # In parts of different numbers and sizes, in some steps.
        parsec.passes.micro_batch = 2 if ranks.world > 1 and step % 2 else None
        now = alpha.now()
        drawn = now.sample(5, seed=0, step=step)
        try:
            parsec.step(drawn, Clips(spoiled[part], labels[part]), now=now)
        except SearchError:
            told.append("refused")
        stepped = parsec.step(drawn, Clips(clips[part], labels[part]), now=now)
        sgd.step(), adam.step()
        told.append(stepped.loss)
    gathered = ranks.gather(told)
    assert all(other == told for other in gathered), gathered
    if ranks.is_first:
        torch.save([supernet.state_dict(), alpha.state_dict(), told], out)
"""


def test_two_ranks_step_as_one_does(tmp_path: Path) -> None:
    tiny(tmp_path)
    for world in (1, 2):
        arguments = [str(tmp_path / "tiny.tsnet"), str(tmp_path / f"{world}.pt")]
        for done in run_ranks([program_main(PROGRAM, *arguments)] * world, tmp_path):
            assert done.returncode == 0, done.stderr
    found = [torch.load(tmp_path / f"{world}.pt") for world in (1, 2)]
    (weights, alpha, told), (weights2, alpha2, told2) = found
    assert told.count("refused") == 4 and told == [pytest.approx(x) for x in told2]
    for one, two in ((weights, weights2), (alpha, alpha2)):
        assert max(float((one[n] - two[n]).abs().max()) for n in one) < 1e-10
