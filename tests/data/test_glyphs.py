"""Clips of glyphs: one frame tells what is shown and not how it moves; a path tells how it moves
and not what is shown. Probes are the nearest of the classes' means, or of their neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tsdsl.data.glyphs import GLYPHS, MOTIONS, PERIOD, Clip, class_name, positions, render

FRAMES = 16
SHORT = 3


def nearest_mean(
    train: NDArray[np.float64], labels: NDArray[np.int64], test: NDArray[np.float64]
) -> NDArray[np.int64]:
    means = np.stack([train[labels == label].mean(0) for label in range(labels.max() + 1)])
    found: NDArray[np.int64] = ((test[:, None] - means) ** 2).sum(2).argmin(1)
    return found


def bounds(count: int, chance: float) -> tuple[float, float]:
    """The range of four standard deviations around the expected number of correct guesses."""
    spread = 4 * (chance * (1 - chance) / count) ** 0.5
    return chance - spread, chance + spread


def centred(clip: Clip) -> NDArray[np.float64]:
    """The power spectrum of one frame, which does not depend on the glyph's position."""
    grey_HW = render(clip)[SHORT // 2].mean(2) / 255
    power = np.abs(np.fft.rfft2(grey_HW - grey_HW.mean()))[:, :20]
    return np.log(power + 1e-3).ravel()


def steps(clip: Clip) -> NDArray[np.float64]:
    """step_T2, the shorter way around the torus."""
    at_T2 = positions(clip)
    step_T2: NDArray[np.float64] = (np.diff(at_T2, axis=0) + 0.5) % 1.0 - 0.5
    return step_T2


def pace(clip: Clip) -> NDArray[np.float64]:
    """Power spectrum of the turns of a path to the left and to the right, independent of its
    direction and position."""
    step_T = steps(clip) @ np.array([1j, 1])
    power: NDArray[np.float64] = np.abs(np.fft.fft(step_T - step_T.mean())) / np.abs(step_T).sum()
    return power


def frames_of(count: int, split: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """features_NF of one frame of each clip of 2 glyphs and 4 motions, and their labels."""
    clips = [
        Clip(n % 2, n // 2 % 4, seed=(split, n), frames=SHORT, size=48, difficulty=0.2)
        for n in range(count)
    ]
    labels = np.array([(clip.glyph, clip.motion) for clip in clips])
    return np.stack([centred(clip) for clip in clips]), labels


def test_one_frame_tells_the_glyph_and_not_the_motion() -> None:
    train, known = frames_of(240, 0)
    test, wanted = frames_of(240, 1)
    glyph = (nearest_mean(train, known[:, 0], test) == wanted[:, 0]).mean()
    motion = (nearest_mean(train, known[:, 1], test) == wanted[:, 1]).mean()
    assert glyph > 0.9
    low, high = bounds(240, 1 / 4)
    assert low < motion < high


def test_brightness_tells_nothing() -> None:
    def brightness(split: int) -> NDArray[np.float64]:
        clips = [Clip(n % 4, n // 4 % 4, (split, n), SHORT, 48) for n in range(320)]
        return np.array([[render(clip).mean()] for clip in clips])

    labels = np.arange(320) % 4
    low, high = bounds(320, 1 / 4)
    assert low < (nearest_mean(brightness(0), labels, brightness(1)) == labels).mean() < high
    labels = np.arange(320) // 4 % 4
    assert low < (nearest_mean(brightness(0), labels, brightness(1)) == labels).mean() < high


def test_a_path_tells_the_motion_and_nothing_of_the_glyph() -> None:
    def paths(split: int, count: int) -> NDArray[np.float64]:
        return np.stack([pace(Clip(0, n % 8, (split, n), FRAMES)) for n in range(count)])

    labels = np.arange(800) % 8
    found = nearest_mean(paths(0, 800), labels, paths(1, 800)) == labels
    assert found.mean() > 0.95
    for glyph in range(len(GLYPHS)):
        # The path does not depend on the glyph.
        assert np.array_equal(positions(Clip(0, 2, (5,))), positions(Clip(glyph, 2, (5,))))


@pytest.mark.parametrize("motion", range(len(MOTIONS)))
def test_frames_a_period_apart_tell_nothing_of_the_motion(motion: int) -> None:
    """Over a period, all motions have the same displacement."""
    for n in range(20):
        moved = [
            (np.diff(positions(Clip(0, m, (n,), 40))[n % PERIOD :: PERIOD], axis=0) + 0.5) % 1
            for m in (0, motion)
        ]
        assert np.allclose(*moved, atol=1e-9) and len(moved[0]) >= 3


@pytest.mark.parametrize("motion", range(len(MOTIONS)))
def test_positions_and_steps_are_distributed_alike(motion: int) -> None:
    """For single frames and for pairs of successive frames: uniform positions, uniform directions,
    and step lengths with the quantiles of the first motion."""
    count, at = 2000, 9
    clips = [Clip(0, motion, (2, n), FRAMES) for n in range(count)]
    where = np.stack([positions(clip)[at] for clip in clips])
    cells = np.histogram2d(where[:, 0], where[:, 1], bins=4, range=[[0, 1], [0, 1]])[0]
    # chi-square with 15 degrees of freedom: 44 is exceeded once in 10,000.
    assert ((cells - count / 16) ** 2 / (count / 16)).sum() < 44
    step = np.stack([steps(clip)[at] for clip in clips])
    sectors = np.histogram(np.arctan2(step[:, 0], step[:, 1]), 16, (-np.pi, np.pi))[0]
    assert ((sectors - count / 16) ** 2 / (count / 16)).sum() < 44
    others = np.stack([steps(Clip(0, 0, (3, n), FRAMES))[at] for n in range(count)])
    ends = np.quantile(np.hypot(*others.T), np.linspace(0, 1, 9)[1:-1])
    found = np.histogram(np.hypot(*step.T), [0, *ends, 1])[0]
    # Twice the variance, since both are drawn; 7 degrees of freedom.
    assert ((found - count / 8) ** 2 / (2 * count / 8)).sum() < 30


def test_left_turns_left() -> None:
    """As it is seen: y points down."""
    names = [name for name, _ in MOTIONS]
    for name, sign in (("circle", 1), ("left-turns", 1), ("right-turns", -1)):
        y_T, x_T = steps(Clip(0, names.index(name), (1,), 32)).T
        turn_T = (np.diff(np.arctan2(-y_T, x_T)) + np.pi) % (2 * np.pi) - np.pi
        assert np.sign(np.median(turn_T)) == sign


def test_equal_clips_are_equal_and_others_differ() -> None:
    clip = Clip(3, 1, (7, 0, 2), 9, 40, 0.7)
    frames_THWC = render(clip)
    assert frames_THWC.shape == (9, 40, 40, 3) and frames_THWC.dtype == np.uint8
    assert np.array_equal(frames_THWC, render(Clip(3, 1, (7, 0, 2), 9, 40, 0.7)))
    for other in (
        Clip(4, 1, (7, 0, 2), 9, 40, 0.7),
        Clip(3, 0, (7, 0, 2), 9, 40, 0.7),
        Clip(3, 1, (7, 0, 3), 9, 40, 0.7),
        Clip(3, 1, (7, 0, 2), 9, 40, 0.6),
    ):
        assert not np.array_equal(frames_THWC, render(other))


def test_glyphs_differ_in_their_own_pixels_only() -> None:
    """Two glyphs on one path differ only in pixels that one of them covers."""
    one, other = (render(Clip(glyph, 0, (1,), 8, 64)) for glyph in (0, 1))
    differs = (one != other).any(3).mean()
    assert 0.01 < differs < 0.2


def test_names_are_classes() -> None:
    names = {class_name(g, m) for g in range(len(GLYPHS)) for m in range(len(MOTIONS))}
    assert len(names) == len(GLYPHS) * len(MOTIONS) == 128
    assert class_name(1, 2) == "0-falling-sweep"
