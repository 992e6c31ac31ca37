"""Samples are functions of (seed, epoch, index); bad videos are replaced and reported."""

from __future__ import annotations

from multiprocessing import active_children
from pathlib import Path

import pytest
import torch
from make_videos import broken, frame_folder, video

from tsdsl.data.dataset import EvalViews, NoUsableVideo, TrainClips
from tsdsl.data.lists import VideoList, read_list
from tsdsl.data.loader import Batch, EvalLoader, TrainLoader
from tsdsl.data.sampling import Sampling
from tsdsl.data.transforms import EvalTransform, TrainTransform
from tsdsl.data.video_problems import KINDS

SAMPLING = Sampling(4, 3)
TRANSFORM = TrainTransform(24, 26, 34, augment="autoaugment")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> VideoList:
    """A list of 16 whole videos and one of each kind of unusable ones."""
    folder = tmp_path_factory.mktemp("mixed")
    lines = []
    for i in range(14):
        video(folder / f"v{i}.mp4", frames=20 + i)
        lines.append(f"v{i}.mp4 {i % 3}")
    frame_folder(folder / "images")
    lines += ["images 0", "v3.mp4 1"]
    for kind, path in broken(folder).items():
        lines.insert(len(kind), f"{path.name} 2")
    (folder / "list.csv").write_text("\n".join(lines))
    return read_list(folder / "list.csv")


def clips(videos: VideoList, seed: int = 0) -> TrainClips:
    return TrainClips(videos, SAMPLING, TRANSFORM, seed=seed)


def same(one: list[Batch], other: list[Batch]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a.clips_NCTHW, b.clips_NCTHW)
        and torch.equal(a.labels_N, b.labels_N)
        and (a.indices, a.used, a.problems) == (b.indices, b.used, b.problems)
        for a, b in zip(one, other, strict=True)
    )


def test_any_number_of_workers_gives_the_same(mixed: VideoList) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    alone = TrainLoader(clips(mixed), 4)
    epochs = [list(alone.epoch(e)) for e in (0, 1)]
    assert torch.equal(before, torch.get_rng_state())
    loader = TrainLoader(clips(mixed), 4, workers=2)
    assert same(list(loader.epoch(1)), epochs[1])
    assert same(list(loader.epoch(0)), epochs[0])
    assert loader.report.bad == alone.report.bad
    assert not same(epochs[0], epochs[1])
    assert not same(list(TrainLoader(clips(mixed, seed=1), 4).epoch(0)), epochs[0])


def test_closed(mixed: VideoList) -> None:
    """No process is left, also after part of an epoch; reading again gives the same batches."""
    others = set(active_children())
    whole = list(TrainLoader(clips(mixed), 4).epoch(0))
    train = TrainLoader(clips(mixed), 4, workers=2)
    views = EvalLoader(EvalViews(mixed, SAMPLING, EvalTransform(24)), 2, workers=2)
    for _ in range(2):
        for loader, batches in ((train, train.epoch(0)), (views, iter(views))):
            next(batches)
            assert len(set(active_children()) - others) == 2
            loader.close()
            assert set(active_children()) == others
    assert same(list(train.epoch(0)), whole)
    train.close()
    train.close()
    assert set(active_children()) == others
    TrainLoader(clips(mixed), 4).close()


def test_broken_videos_are_replaced_and_named(mixed: VideoList) -> None:
    loader = TrainLoader(clips(mixed), 4)
    batches = list(loader.epoch(0))
    assert len(batches) == len(loader) == 7
    assert all(b.clips_NCTHW.shape == (4, 3, 4, 24, 24) for b in batches)
    asked = [i for b in batches for i in b.indices]
    used = [i for b in batches for i in b.used]
    labels = [int(label) for b in batches for label in b.labels_N]
    assert sorted(asked) == list(range(28))
    bad = {i for i, v in enumerate(mixed.videos) if Path(v.path).stem in KINDS}
    assert len(bad) == 12 and bad.isdisjoint(used)
    assert all(a == u for a, u in zip(asked, used, strict=True) if a not in bad)
    assert labels == [mixed.videos[i].label for i in used]
    assert set(loader.report.bad) == {mixed.videos[i].path for i in bad}
    assert loader.report.kinds() == dict.fromkeys(KINDS, 1)
    assert (loader.report.samples, loader.report.replaced) == (28, 12)
    assert all(f"{kind} (" in str(loader.report) for kind in KINDS)


def test_ranks_share_the_steps_of_one(mixed: VideoList) -> None:
    whole = [b.indices for b in TrainLoader(clips(mixed), 4).epoch(3)]
    halves = [
        [b.indices for b in TrainLoader(clips(mixed), 2, rank=r, world=2).epoch(3)] for r in (0, 1)
    ]
    assert whole == [a + b for a, b in zip(*halves, strict=True)]


def test_an_epoch_goes_on_in_the_middle(mixed: VideoList) -> None:
    loader = TrainLoader(clips(mixed), 4)
    assert same(list(loader.epoch(2, skip=4)), list(loader.epoch(2))[4:])


def test_a_sample_does_not_depend_on_other_videos_being_good(mixed: VideoList) -> None:
    """Replacements are drawn from a generator of their own."""
    good = next(i for i, v in enumerate(mixed.videos) if v.name == "v5.mp4")
    first = clips(mixed)[0, good]
    only = [v for v in mixed.videos if Path(v.path).stem not in KINDS]
    others = [v if i == good else only[0] for i, v in enumerate(mixed.videos)]
    again = clips(VideoList(tuple(others), mixed.classes, mixed.source))[0, good]
    assert torch.equal(first.clip_CTHW, again.clip_CTHW)


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_usable(tmp_path: Path, workers: int) -> None:
    (tmp_path / "list.csv").write_text("".join(f"nothing{i}.mp4 0\n" for i in range(5)))
    loader = TrainLoader(clips(read_list(tmp_path / "list.csv")), 2, workers=workers)
    with pytest.raises(NoUsableVideo, match="none of 5 videos can be used"):
        list(loader.epoch(0))


def test_fewer_videos_than_a_step(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("a.mp4 0\n")
    with pytest.raises(NoUsableVideo, match="1 videos do not fill a step of 4"):
        TrainLoader(clips(read_list(tmp_path / "list.csv")), 2, world=2)


def test_a_video_that_vanishes_during_training(tmp_path: Path) -> None:
    for i in range(4):
        video(tmp_path / f"{i}.mp4")
    (tmp_path / "list.csv").write_text("".join(f"{i}.mp4 0\n" for i in range(4)))
    loader = TrainLoader(clips(read_list(tmp_path / "list.csv")), 2)
    list(loader.epoch(0))
    assert not loader.report.bad
    (tmp_path / "2.mp4").unlink()
    list(loader.epoch(1))
    assert [p.kind for p in loader.report.bad.values()] == ["missing"]


def views(
    videos: VideoList, at_once: int, workers: int = 0, **ranks: int
) -> dict[int, list[float]]:
    """Video -> a number for each of its views."""
    dataset = EvalViews(videos, SAMPLING, EvalTransform(24, 3), clips=2)
    loader = EvalLoader(dataset, at_once, workers=workers, **ranks)
    found: dict[int, list[float]] = {}
    for batch in loader:
        for v, index in enumerate(batch.indices):
            own = [] if batch.views_NCTHW is None else batch.views_NCTHW[batch.owners_N == v]
            found[index] = [float(view.double().mean()) for view in own]
    return found


def test_evaluation_replaces_nothing(mixed: VideoList) -> None:
    one = views(mixed, 1)
    bad = {i for i, v in enumerate(mixed.videos) if Path(v.path).stem in KINDS}
    assert list(one) == list(range(28))
    assert {i for i, found in one.items() if not found} == bad
    assert {len(found) for i, found in one.items() if i not in bad} == {6}
    assert views(mixed, 5) == one
    assert views(mixed, 3, workers=2) == one
    halves = [views(mixed, 2, rank=rank, world=2) for rank in (0, 1)]
    assert {**halves[0], **halves[1]} == one and not set(halves[0]) & set(halves[1])


def test_evaluation_reports_what_is_missing(mixed: VideoList) -> None:
    loader = EvalLoader(EvalViews(mixed, SAMPLING, EvalTransform(24)), 4)
    list(loader)
    assert loader.report.kinds() == dict.fromkeys(KINDS, 1)
    assert (loader.report.samples, loader.report.replaced) == (28, 0)
