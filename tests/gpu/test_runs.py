"""Training, evaluating, searching on a GPU: mixed precision, resumed runs, the step's algebra."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from tiny import write_space, write_spec

import tsdsl
from tsdsl.backends.memory import peak_memory
from tsdsl.data.lists import read_list
from tsdsl.data.loader import EvalLoader
from tsdsl.searching.distribution import Alpha
from tsdsl.searching.parsec.step import ParsecStep
from tsdsl.searching.supernet_step import Clips, classifier
from tsdsl.training.evaluation import views_of
from tsdsl.training.ranks import Ranks
from tsdsl.training.recipe import Recipe
from tsdsl.training.scoring import score
from tsdsl.weights.weight_files import load

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


def stopping_at(step: int) -> Any:
    """A ``stop`` function that returns True from a step on."""
    asked = {"times": 0}

    def stop() -> bool:
        asked["times"] += 1
        return asked["times"] >= step

    return stop


def equal(one: Path, other: Path) -> bool:
    left, right = load(one).tensors, load(other).tensors
    return left.keys() == right.keys() and all(torch.equal(t, right[n]) for n, t in left.items())


@pytest.mark.parametrize("amp", [False, True])
def test_training(tmp_path: Path, videos: Path, amp: bool) -> None:
    """Uninterrupted, and stopped and resumed: the same weights, and the same scores on a CPU."""
    spec = write_spec(tmp_path / "tiny.tsnet", norm=True)
    settings = {"train.mixed_precision": amp, "train.ema": 0.9, "drop": 0.5}
    space = tsdsl.load(spec, set=settings)

    def train(folder: str, **options: Any) -> Any:
        torch.manual_seed(0)
        options = {"resume": True, "save_every": 1, "val": videos, **options}
        where = tmp_path / folder
        return tsdsl.train(
            tsdsl.compile(space), videos, space, device="cuda", folder=where, **options
        )

    done = train("straight")
    assert done.peak_memory > 0 and not done.interrupted
    for at in (2, 3):
        assert train("stopped", stop=stopping_at(at)).interrupted
    train("stopped")
    assert equal(tmp_path / "straight/last.safetensors", tmp_path / "stopped/last.safetensors")

    net = tsdsl.compile(space)
    tsdsl.load_weights(net, tmp_path / "straight/last.safetensors")
    assert space.sections is not None
    section, recipe = space.sections.evaluations[0], Recipe.of(space)
    scores = [
        score(net.to(device), EvalLoader(views_of(read_list(videos), section, recipe.sampling, 16)))
        for device in ("cpu", "cuda")
    ]
    np.testing.assert_allclose(scores[0].probabilities_NK, scores[1].probabilities_NK, atol=1e-4)


@pytest.mark.parametrize("amp", [False, True])
def test_searching(tmp_path: Path, videos: Path, amp: bool) -> None:
    space = tsdsl.load(write_space(tmp_path / "space.tsnet", norm=True))

    def search(folder: str, **options: Any) -> Any:
        options = {"resume": True, "save_every": 1, "mixed_precision": amp, **options}
        torch.manual_seed(0)
        return tsdsl.search(space, videos, device="cuda", folder=tmp_path / folder, **options)

    done = search("straight")
    assert done.samples > 0 and done.peak_memory > 0 and not done.interrupted
    for at in (2, 3):
        assert search("stopped", stop=stopping_at(at)).interrupted
    search("stopped")
    one, other = tmp_path / "straight", tmp_path / "stopped"
    for name in ("supernet.safetensors", "model.safetensors"):
        assert equal(one / name, other / name)
    for name in ("distribution.json", "arch.json"):
        assert (one / name).read_text() == (other / name).read_text()


@pytest.mark.parametrize("micro_batch", [None, 2])
def test_one_graph_is_all_graphs(micro_batch: int | None) -> None:
    """The streaming step equals all graphs at once, in float64, for losses of up to 10^4 nats."""
    space = tsdsl.load(ROOT / "examples/glyphs_space.tsnet", set={"crop": 32})
    torch.manual_seed(0)
    # In evaluation mode, statistics do not depend on the division into micro-batches.
    supernet: Any = tsdsl.compile(space).double().cuda().eval()
    clips = Clips(
        torch.randn(4, *space.input_shape, dtype=torch.float64, device="cuda"),
        torch.arange(4, device="cuda"),
    )
    archs = space.sample(13, seed=0)
    random = Random(0)
    to = {arch: random.choice([random.uniform(-2, 0), random.uniform(-1e4, 0)]) for arch in archs}
    plain = classifier(supernet)

    def likelihood(arch: Any, given: Clips) -> torch.Tensor:
        found = plain(arch, given)
        return found + (to[arch] * len(given) / 4 - found.detach())

    total = torch.stack([likelihood(arch, clips) for arch in archs])
    (-(torch.softmax(total.detach(), 0) @ total) / 4).backward()
    wanted = {n: p.grad.clone() for n, p in supernet.named_parameters() if p.grad is not None}
    parsec = ParsecStep(
        supernet,
        Alpha(space),
        likelihood,
        reading="sum",
        ranks=Ranks.alone("cuda"),
        micro_batch=micro_batch,
    )
    parsec.step(archs, clips)
    largest = max(float(g.abs().max()) for g in wanted.values())
    found = {n: p.grad for n, p in supernet.named_parameters() if p.grad is not None}
    assert found.keys() == wanted.keys()
    for name, grad in wanted.items():
        assert float((found[name] - grad).abs().max()) <= 1e-10 * largest, name


def test_the_memory_of_a_step() -> None:
    """13 architectures take at most 1.15 of the memory of one, weights included."""
    space = tsdsl.load(ROOT / "examples/two_stream.tsnet", set={"crop": 112})
    torch.manual_seed(0)
    supernet: Any = tsdsl.compile(space).cuda().train()
    clips = Clips(torch.randn(4, *space.input_shape, device="cuda"), torch.arange(4, device="cuda"))
    parsec = ParsecStep(supernet, Alpha(space), classifier(supernet), ranks=Ranks.alone("cuda"))
    archs = space.sample(13, seed=0)
    device = torch.device("cuda")
    parsec.step(archs, clips)

    def peak(samples: list[Any]) -> int:
        for parameter in supernet.parameters():
            parameter.grad = None
        return peak_memory(lambda: parsec.step(samples, clips), device, inference=False)

    assert peak(archs) <= 1.15 * max(peak([arch]) for arch in archs)


def test_statistics_and_counts() -> None:
    """Running statistics of a step equal those of the frozen networks, one after the other."""
    space = tsdsl.load(ROOT / "examples/glyphs_space.tsnet", set={"crop": 32})
    torch.manual_seed(0)
    supernet: Any = tsdsl.compile(space).double().cuda().train()
    twin = deepcopy(supernet)
    clips = torch.randn(4, *space.input_shape, dtype=torch.float64, device="cuda")
    labels = torch.arange(4, device="cuda")
    archs = space.sample(13, seed=0)
    parsec = ParsecStep(supernet, Alpha(space), classifier(supernet), ranks=Ranks.alone("cuda"))
    for _ in range(3):
        parsec.step(archs, Clips(clips, labels))
        with torch.no_grad():
            for arch in archs:
                twin(clips, arch)
    for (name, one), other in zip(supernet.named_buffers(), twin.buffers(), strict=True):
        assert torch.equal(one, other), name
