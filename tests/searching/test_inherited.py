"""Scores with inherited weights against plain loops; what is decoded, and how often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cases import swept

import tsdsl
from tsdsl.data.dataset import EvalViews, NoUsableVideo, TrainClips, Views
from tsdsl.data.lists import read_list
from tsdsl.data.loader import TrainLoader
from tsdsl.data.transforms import normalise
from tsdsl.diagnostics import SpecError
from tsdsl.searching.inherited_weights import Inherited, KeptClips
from tsdsl.sema.sections import Evaluate
from tsdsl.training.evaluation import views_of
from tsdsl.training.ranks import Ranks
from tsdsl.training.recipe import Recipe
from tsdsl.training.scores import Scores
from tsdsl.training.scoring import EvaluationError

Tiny = Callable[..., tsdsl.Space]


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    before = torch.get_num_threads(), torch.get_default_dtype()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_num_threads(before[0])
    torch.set_default_dtype(before[1])


def supernet_of(space: tsdsl.Space) -> tsdsl.Supernet:
    """Random weights, and running statistics that fit nothing."""
    torch.manual_seed(3)
    made = tsdsl.compile(space)
    assert isinstance(made, tsdsl.Supernet)
    for name, tensor in made.state_dict().items():
        if "running" in name:
            tensor.uniform_(0.5, 2.0)
    return made.eval()


def inherited(
    space: tsdsl.Space,
    videos: Path,
    supernet: tsdsl.Supernet | None = None,
    batches: int = 4,
    clips: int = 2,
    **options: Any,
) -> Inherited:
    recipe = Recipe.of(space)
    listed = read_list(videos)
    section = Evaluate(name="two", clips=clips, crop=16)
    kept = None
    if batches:
        train = TrainClips(listed, recipe.sampling, recipe.transform, seed=0)
        kept = KeptClips(train, 4, batches)
    return Inherited(
        space,
        supernet or supernet_of(space),
        views_of(listed, section, recipe.sampling, recipe.crop),
        kept,
        Ranks.alone(),
        **options,
    )


def scores_of(found: Iterator[tuple[int, Scores | None]]) -> dict[int, Scores]:
    return {at: scores for at, scores in found if scores is not None}


def test_scores_are_those_of_a_plain_loop(tiny: Tiny, videos: Path) -> None:
    """Frozen network, statistics as means over batches, softmax averaged over views."""
    space = tiny(True)
    supernet = supernet_of(space)
    archs = space.sample(4, seed=1)
    found = scores_of(inherited(space, videos, supernet).scores(archs))
    recipe = Recipe.of(space)
    listed = read_list(videos)
    train = TrainLoader(TrainClips(listed, recipe.sampling, recipe.transform, seed=0), 4)
    batches = [b for epoch in (0, 1) for b in train.epoch(epoch)][:4]
    views = views_of(listed, Evaluate(name="x", clips=2, crop=16), recipe.sampling, recipe.crop)
    for at, arch in enumerate(archs):
        net = space.freeze(supernet, arch).train()
        norms = {n: m for n, m in net.named_modules() if isinstance(m, torch.nn.BatchNorm3d)}
        seen: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {name: [] for name in norms}

        def note(module: torch.nn.Module, given: Any, out: Any, *, into: list[Any]) -> None:
            into.append((given[0].mean((0, 2, 3, 4)), given[0].var((0, 2, 3, 4))))

        for name, module in norms.items():
            module.register_forward_hook(
                lambda m, given, out, into=seen[name]: note(m, given, out, into=into)
            )
        with torch.no_grad():
            for batch in batches:
                net(normalise(batch.clips_NCTHW, torch.float64))
        for name, module in norms.items():
            means, variances = zip(*seen[name], strict=True)
            assert len(means) == 4 and isinstance(module.running_mean, torch.Tensor)
            module.running_mean.copy_(torch.stack(means).mean(0))
            module.running_var.copy_(torch.stack(variances).mean(0))  # type: ignore[union-attr]
        net.eval()
        for row in range(len(listed)):
            clips_NCTHW = views[row].views_NCTHW
            assert clips_NCTHW is not None
            with torch.no_grad():
                p_NK = net(normalise(clips_NCTHW, torch.float64)).softmax(1)
            assert np.allclose(found[at].probabilities_NK[row], p_NK.mean(0).numpy(), atol=1e-6)
    assert len({scores.log_loss for scores in found.values()}) == 4


def test_without_batches_it_is_the_supernet(tiny: Tiny, videos: Path) -> None:
    space = tiny(True)
    supernet = supernet_of(space)
    made = inherited(space, videos, supernet, batches=0)
    clip = torch.randn(2, *space.input_shape)
    for arch in space.sample(5, seed=0):
        with torch.no_grad():
            assert torch.equal(made.network(arch)(clip), supernet(clip, arch))


def test_nothing_else_changes(spec: Callable[..., Path], videos: Path, tmp_path: Path) -> None:
    """Not the supernet, not a generator; and nothing that happens elsewhere changes a score, also
    where dropout is before a normalisation."""
    text = spec(True).read_text().replace("-> bn ->", "-> bn -> dropout(0.5) ->")
    (tmp_path / "noisy.tsnet").write_text(text)
    space = tsdsl.load(tmp_path / "noisy.tsnet")
    supernet = supernet_of(space)
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    state = torch.random.get_rng_state()
    made = inherited(space, videos, supernet)
    archs = space.sample(3, seed=0)
    first = scores_of(made.scores(archs))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(t, before[name]) for name, t in supernet.state_dict().items())
    # Whatever came before, and in another order.
    torch.manual_seed(99)
    again = scores_of(made.scores(archs[::-1]))
    for at in range(3):
        assert (first[at].probabilities_NK == again[2 - at].probabilities_NK).all()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a video was decoded, for training and for evaluation."""
    found: Counter[str] = Counter()
    plain = {cls: cls.__getitem__ for cls in (EvalViews, TrainClips)}
    for cls, get in plain.items():

        def counted(self: Any, key: Any, get: Any = get, name: str = cls.__name__) -> Any:
            found[name] += 1
            return get(self, key)

        monkeypatch.setattr(cls, "__getitem__", counted)
    return found


@pytest.mark.parametrize("parts", [1, 5, swept(2), swept(14)])
def test_scores_do_not_depend_on_how_much_fits_into_memory(
    tiny: Tiny, videos: Path, decoded: Counter[str], parts: int
) -> None:
    """What does not fit into memory is decoded once for all: the same scores."""
    space = tiny(True)
    archs = space.sample(4, seed=1)
    supernet = supernet_of(space)
    whole = inherited(space, videos, supernet)
    expected = scores_of(whole.scores(archs))
    assert whole.parts == 1
    decoded.clear()
    video = 2 * 3 * 4 * 16**2
    clips = 4 * 4 * 3 * 4 * 16**2
    assert (whole.bytes_of_video, whole.bytes_of_views) == (video, 14 * video)
    assert whole.bytes_of_clips == clips
    made = inherited(space, videos, supernet, memory=clips + -(-14 // parts) * video)
    assert made.parts == parts
    for _ in range(2):
        found = list(made.scores(archs))
        assert len(found) == 4 * parts and sum(s is not None for _, s in found) == 4
        for at, scores in scores_of(iter(found)).items():
            assert np.allclose(scores.probabilities_NK, expected[at].probabilities_NK, atol=1e-12)
            assert (scores.indices_N == expected[at].indices_N).all()
            assert scores.paths == expected[at].paths
    assert decoded == {"EvalViews": 14 if parts == 1 else 28, "TrainClips": 16}


def test_nothing_is_decoded_for_nothing(tiny: Tiny, videos: Path, decoded: Counter[str]) -> None:
    """Without batch normalisation there are no statistics."""
    space = tiny(False)
    made = inherited(space, videos)
    assert made.bytes_of_clips == 0
    scores_of(made.scores(space.sample(2, seed=0)))
    assert decoded == {"EvalViews": 14}


@pytest.mark.parametrize("workers", [0, 1])
def test_scores_do_not_depend_on_workers(tiny: Tiny, videos: Path, workers: int) -> None:
    space = tiny(True)
    archs = space.sample(2, seed=1)
    one = scores_of(inherited(space, videos).scores(archs))
    other = scores_of(inherited(space, videos, workers=workers).scores(archs))
    for at, scores in one.items():
        assert (scores.probabilities_NK == other[at].probabilities_NK).all()


def test_videos_that_cannot_be_used(tiny: Tiny, videos: Path, tmp_path: Path) -> None:
    """Missing ones are the same in parts, also where a part has nothing else."""
    space = tiny(True)
    lines = videos.read_text().split("\n")
    for k in (3, 6, 7):
        lines[k] = f"none{k}.mp4 {lines[k].split()[1]}"
    (videos.parent / "some.csv").write_text("\n".join(lines))
    archs = space.sample(2, seed=1)
    whole = inherited(space, videos.parent / "some.csv", batches=0)
    expected = scores_of(whole.scores(archs))
    assert [m.index for m in expected[0].missing] == [3, 6, 7]
    made = inherited(space, videos.parent / "some.csv", batches=0, memory=2 * whole.bytes_of_video)
    assert made.parts == 7
    for at, scores in scores_of(made.scores(archs)).items():
        assert np.allclose(scores.probabilities_NK, expected[at].probabilities_NK, atol=1e-12)
        assert scores.missing == expected[at].missing and scores.total == 14
        assert (scores.labels_N == expected[at].labels_N).all()
    (videos.parent / "none.csv").write_text("x.mp4 dark\ny.mp4 grey\nz.mp4 white")
    for memory in (1 << 30, whole.bytes_of_video):
        bad = inherited(space, videos.parent / "none.csv", batches=0, memory=memory)
        with pytest.raises(NoUsableVideo, match="none of 3 videos can be used"):
            scores_of(bad.scores(archs))


def test_too_little_memory(tiny: Tiny, videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = tiny(True)
    with pytest.raises(SpecError, match="55,296 bytes of decoded clips are needed, 50,000"):
        inherited(space, videos, memory=50_000)
    made = inherited(space, videos)

    def fail(*arguments: Any) -> Views:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("tsdsl.searching.inherited_weights.reestimate", fail)
    with pytest.raises(EvaluationError, match="not enough memory for a batch of training clips"):
        made.network(space.sample(seed=0))
