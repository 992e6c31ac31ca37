"""All views of all videos of a list, whatever the batches, workers and broken videos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from make_videos import bright, broken
from torch import Tensor, nn

from tsdsl.data.dataset import EvalViews, NoUsableVideo
from tsdsl.data.lists import VideoList, read_list
from tsdsl.data.loader import EvalLoader, ViewBatch
from tsdsl.data.sampling import Sampling
from tsdsl.data.transforms import normalise
from tsdsl.data.video_problems import KINDS
from tsdsl.diagnostics import SpecError
from tsdsl.sema.sections import Evaluate
from tsdsl.training.evaluation import views_of
from tsdsl.training.scoring import MIXED, EvaluationError, score

SAMPLING = Sampling(4, 2)
LCR = Evaluate(name="lcr", clips=2, crops="left_center_right", crop=16)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> VideoList:
    """9 whole videos and one of each kind of broken ones."""
    folder = tmp_path_factory.mktemp("mixed")
    lines = [f"{bright(folder / f'v{i}.mp4', 20 * i, 10 + i).name} {i % 3}" for i in range(9)]
    for at, path in enumerate(broken(folder).values()):
        lines.insert(2 * at % 7, f"{path.name} 1")
    (folder / "list.csv").write_text("\n".join(lines))
    return read_list(folder / "list.csv")


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv3d(3, 8, 3, stride=(1, 2, 2)),
        nn.BatchNorm3d(8),
        nn.ReLU(),
        nn.Conv3d(8, 16, 1),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(16, 4),
    )


def views(videos: VideoList, section: Evaluate = LCR) -> EvalViews:
    return views_of(videos, section, SAMPLING, 16)


def test_the_mean_of_the_softmax(mixed: VideoList, net: nn.Module) -> None:
    net.train()
    scores = score(net, EvalLoader(views(mixed)))
    assert net.training and scores.classes == ("0", "1", "2", "3") and scores.views == 6
    net.eval()
    dataset = views(mixed)
    for at, index in enumerate(scores.indices_N.tolist()):
        clips = dataset[index].views_NCTHW
        assert clips is not None and len(clips) == 6
        rows = [net(normalise(clip[None]))[0].softmax(0).double() for clip in clips]
        mean = torch.stack(rows).mean(0).detach().numpy()
        np.testing.assert_allclose(scores.probabilities_NK[at], mean, rtol=1e-5)
        assert scores.labels_N[at] == mixed.videos[index].label
        assert scores.paths[at] == mixed.videos[index].name
    assert score(net, EvalLoader(dataset)).top1 == scores.top1 and not net.training


def test_broken_videos_are_named(mixed: VideoList, net: nn.Module) -> None:
    scores = score(net, EvalLoader(views(mixed), 3))
    assert (len(scores), len(scores.missing), scores.total) == (9, 12, 21)
    assert {m.problem.kind for m in scores.missing} == set(KINDS)
    assert all(m.problem.path == mixed.videos[m.index].path for m in scores.missing)
    assert all(m.path == mixed.videos[m.index].name for m in scores.missing)
    found = [*scores.indices_N.tolist(), *(m.index for m in scores.missing)]
    assert sorted(found) == list(range(21)) and scores.indices_N.tolist() == sorted(found[:9])


@pytest.mark.parametrize(("videos", "workers"), [(1, 0), (4, 0), (21, 0), (2, 2)])
def test_batches_and_workers_change_nothing(
    mixed: VideoList, net: nn.Module, videos: int, workers: int
) -> None:
    one = score(net, EvalLoader(views(mixed)))
    other = score(net, EvalLoader(views(mixed), videos, workers=workers))
    assert np.array_equal(one.probabilities_NK, other.probabilities_NK)
    assert one.missing == other.missing and one.paths == other.paths


@pytest.mark.parametrize("at_once", [1, 2, 5, 7, 100])
def test_another_size_of_call(mixed: VideoList, net: nn.Module, at_once: int) -> None:
    one = score(net, EvalLoader(views(mixed)))
    sizes: list[int] = []
    net[0].register_forward_hook(lambda module, given, out: sizes.append(len(out)))
    other = score(net, EvalLoader(views(mixed)), at_once=at_once)
    assert sizes == [at_once] * -(-54 // at_once)
    np.testing.assert_allclose(other.probabilities_NK, one.probabilities_NK, rtol=0, atol=1e-6)


def test_bfloat16(mixed: VideoList, net: nn.Module) -> None:
    plain = score(net, EvalLoader(views(mixed)))
    cast = score(net, EvalLoader(views(mixed)), autocast=MIXED)
    far = np.abs(plain.probabilities_NK - cast.probabilities_NK).max()
    assert 0 < far < 0.02


def test_float64(mixed: VideoList, net: nn.Module) -> None:
    plain = score(net, EvalLoader(views(mixed)))
    double = score(net.double(), EvalLoader(views(mixed)))
    np.testing.assert_allclose(double.probabilities_NK, plain.probabilities_NK, atol=1e-5)


class _Bad(nn.Module):
    """Returns something else for bright clips."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, clips_NCTHW: Tensor) -> Tensor:
        bright = clips_NCTHW.mean(dim=(1, 2, 3, 4)) > 0.5
        return torch.where(bright[:, None], self.value, torch.zeros(len(bright), 4))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_names_the_video(mixed: VideoList, value: float) -> None:
    with pytest.raises(EvaluationError, match=r"/v\d.mp4: .* are not finite"):
        score(_Bad(value), EvalLoader(views(mixed)))


@pytest.mark.parametrize(
    ("net", "match"),
    [
        (nn.Identity(), r"returns \(8, 3, 4, 16, 16\) for 8 clips"),
        (nn.Sequential(nn.Flatten(0), nn.Unflatten(0, (1, -1))), r"returns \(1, 24576\)"),
        (nn.Sequential(nn.Flatten(), nn.Linear(3072, 2)), "3 classes, the network has 2"),
    ],
)
def test_networks_that_give_no_scores(mixed: VideoList, net: nn.Module, match: str) -> None:
    with pytest.raises(EvaluationError, match=match):
        score(net, EvalLoader(views(mixed)))


def test_memory_that_is_not_there(mixed: VideoList) -> None:
    class Large(nn.Module):
        def forward(self, clips_NCTHW: Tensor) -> Tensor:
            return torch.empty(1 << 55)

    with pytest.raises(EvaluationError, match="not enough memory for 8 views"):
        score(Large(), EvalLoader(views(mixed)))


def test_a_bug_is_no_finding(mixed: VideoList) -> None:
    class Wrong(nn.Module):
        def forward(self, clips_NCTHW: Tensor) -> Tensor:
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        score(Wrong(), EvalLoader(views(mixed)))


def test_a_call_has_no_more_views_than_there_are(mixed: VideoList, net: nn.Module) -> None:
    sizes: list[int] = []
    net[0].register_forward_hook(lambda module, given, out: sizes.append(len(out)))
    score(net, EvalLoader(views(mixed)), at_once=10**9)
    assert sizes == [21 * 6]


def test_nothing_usable(tmp_path: Path, net: nn.Module) -> None:
    (tmp_path / "list.csv").write_text("a.mp4 0\nb.mp4 1\n")
    videos = read_list(tmp_path / "list.csv")
    with pytest.raises(NoUsableVideo, match="none of 2 videos"):
        score(net, EvalLoader(views(videos)))


def test_an_error_restores_the_mode(mixed: VideoList, net: nn.Module) -> None:
    net.train()
    net[-1].bias.data.fill_(float("nan"))
    with pytest.raises(EvaluationError):
        score(net, EvalLoader(views(mixed)))
    assert net.training


def test_short_side(mixed: VideoList) -> None:
    section = Evaluate(name="x", clips=1, crop=16, short_side=20)
    whole = next(i for i, v in enumerate(mixed.videos) if v.name == "v3.mp4")
    far = views(mixed, section)[whole].views_NCTHW
    near = views(mixed, Evaluate(name="x", clips=1, crop=16))[whole].views_NCTHW
    assert far is not None and near is not None
    assert far.shape == near.shape == (1, 3, 4, 16, 16) and not torch.equal(far, near)
    with pytest.raises(SpecError, match="a crop of 16 does not fit a short side of 12"):
        views(mixed, Evaluate(name="x", clips=1, crop=16, short_side=12))


def test_it_tells_each_batch(mixed: VideoList, net: nn.Module) -> None:
    told: list[ViewBatch] = []
    score(net, EvalLoader(views(mixed), 2), on_batch=told.append)
    assert sorted(i for batch in told for i in batch.indices) == list(range(21))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
