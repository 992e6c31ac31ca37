"""Indices of frames, against the formula of PySlowFast written with torch."""

from __future__ import annotations

import pytest
import torch

from tsdsl.data.sampling import Sampling


def reference(n: int, t: int, interval: int, fps: float, k: int, clips: int) -> list[int]:
    span = interval * t / 30 * fps
    start = max(n - span, 0) * k / clips
    index = torch.linspace(start, start + span - 1, t, dtype=torch.float64)
    # Sums in another order differ by rounding: a whole number may come out just below itself.
    return torch.clamp(index + 1e-9, 0, n - 1).long().tolist()


@pytest.mark.parametrize("fps", [30.0, 25.0, 29.97, 60.0])
@pytest.mark.parametrize(("t", "interval"), [(4, 20), (16, 5), (1, 1), (13, 6)])
@pytest.mark.parametrize("n", [1, 40, 80, 300])
def test_uniform_clips(n: int, t: int, interval: int, fps: float) -> None:
    found = Sampling(t, interval).uniform(n, fps, 10)
    for k, clip in enumerate(found):
        expected = reference(n, t, interval, fps, k, 10)
        assert all(abs(a - b) <= 1 for a, b in zip(clip, expected, strict=True))
        assert sum(a != b for a, b in zip(clip, expected, strict=True)) <= 2


def test_by_hand() -> None:
    sampling = Sampling(4, 2)
    assert sampling.uniform(16, 30.0, 2) == [[0, 2, 4, 7], [4, 6, 8, 11]]
    assert sampling.random(16, 30.0, 0.999999) == [7, 10, 12, 14]
    assert sampling.random(16, 60.0, 0.5) == [0, 5, 10, 15]
    assert sampling.random(16, None, 0.0) == [0, 2, 4, 7]


def test_a_short_video_repeats_its_last_frame() -> None:
    assert Sampling(4, 2).random(3, 30.0, 0.7) == [0, 2, 2, 2]
    assert Sampling(3, 1).uniform(1, 30.0, 2) == [[0, 0, 0], [0, 0, 0]]


def test_random_starts_reach_both_ends() -> None:
    starts = {Sampling(4, 2).random(12, 30.0, d / 1000)[0] for d in range(1000)}
    assert starts == {0, 1, 2, 3}
