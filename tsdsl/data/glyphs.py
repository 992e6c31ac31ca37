"""Clips of striped digits that move, rendered with numpy.

What is shown (a `GLYPHS` entry: the shape of a digit, and the slant of its stripes) is told by one
frame. How it moves (a `MOTIONS` entry: its path, round and round) is told by many:

- The picture is a torus, the start uniform on it: whatever the motion, the glyph is equally likely
  to be anywhere in any frame, so that no frame alone tells the motion.
- The speed is constant within a clip, the direction of the whole path uniform: the step from a
  frame to the next has one distribution for all motions, so that two frames in a row do not tell
  it either.
- Every path closes after `PERIOD` frames, but for a drift that all motions have alike: frames that
  are a multiple of the period apart tell nothing of the motion, however many there are.

Everything else (speed, drift, scale, colours, background, noise) is drawn independently of both.
Stripes and background have the same mean, so that brightness tells nothing. Mirrored clips may be
clips of other classes: do not flip them in training.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tsdsl.record import Record

#: Digits as strokes on a grid of 5 x 7 cells. Each exists with both slants of stripes.
_SHAPES = {
    "0": "01110 10001 10001 10001 10001 10001 01110",
    "4": "00010 00110 01010 10010 11111 00010 00010",
    "7": "11111 00001 00010 00100 01000 01000 01000",
    "2": "01110 10001 00001 00110 01000 10000 11111",
    "6": "00110 01000 10000 11110 10001 10001 01110",
    "3": "11110 00001 00001 01110 00001 00001 11110",
    "9": "01110 10001 10001 01111 00001 00010 01100",
    "5": "11111 10000 11110 00001 00001 10001 01110",
}
#: (name, digit, whether the stripes fall to the right). Neighbours share the digit, so that neither
#: shape nor stripes alone determine the glyph.
GLYPHS = tuple(
    (f"{digit}-{slant}", digit, slant == "falling")
    for digit in _SHAPES
    for slant in ("rising", "falling")
)
#: Number of frames after which a path is closed.
PERIOD = 8
#: (name, heading of each step of a period in eighths of a counter-clockwise turn).
MOTIONS = (
    ("shake", "04040404"),
    ("swing", "00440044"),
    ("sweep", "00004444"),
    ("circle", "01234567"),
    ("left-turns", "02460246"),
    ("right-turns", "06420642"),
    ("box", "00224466"),
    ("arc", "01237654"),
)
#: Number of stripes over the height of a glyph.
_STRIPES = 3.5


class Clip(Record, eq=True):
    """The parameters of a rendered clip.

    ``glyph`` and ``motion`` index `GLYPHS` and `MOTIONS`; ``size`` is the height and width in
    pixels; ``difficulty`` runs from 0 (clean) to 1 (faint stripes in clutter and noise); ``seed``
    is a key of non-negative integers.
    """

    glyph: int
    motion: int
    seed: tuple[int, ...] = (0,)
    frames: int = 32
    size: int = 64
    difficulty: float = 0.2


def class_name(glyph: int, motion: int) -> str:
    """Name of a class, as ``0-rising-sweep``."""
    return f"{GLYPHS[glyph][0]}-{MOTIONS[motion][0]}"


class _Draw(Record):
    """The random values of a clip, drawn independently of its glyph and motion. Lengths are in
    picture sizes, angles in radians, speeds in picture sizes per frame; light is from 0 to 1."""

    start: NDArray[np.float64]
    heading: float
    speed: float
    drift: NDArray[np.float64]
    phase: int
    scale: float
    stripe: float
    colour: NDArray[np.float64]
    grey: float


def _draw(rng: np.random.Generator) -> _Draw:
    angle = rng.uniform(0, 2 * np.pi)
    return _Draw(
        start=rng.uniform(0, 1, 2),
        heading=rng.uniform(0, 2 * np.pi),
        speed=rng.uniform(0.06, 0.08),
        drift=rng.uniform(0, 0.01) * np.array([np.sin(angle), np.cos(angle)]),
        phase=int(rng.integers(PERIOD)),
        scale=rng.uniform(0.5, 0.6),
        stripe=rng.uniform(0, 2 * np.pi),
        colour=rng.uniform(0.6, 1, 3),
        grey=rng.uniform(0.45, 0.55),
    )


def positions(clip: Clip) -> NDArray[np.float64]:
    """Centre of the glyph in each frame: at_T2, (y, x) in picture sizes, in [0, 1)."""
    return _positions(clip, _draw(np.random.default_rng(clip.seed)))


def _positions(clip: Clip, draw: _Draw) -> NDArray[np.float64]:
    eighths_P = np.array([int(eighth) for eighth in MOTIONS[clip.motion][1]])
    # y points down, so that a counter-clockwise turn decreases the angle from x to y.
    heading_T = draw.heading - np.pi / 4 * eighths_P[(np.arange(clip.frames) + draw.phase) % PERIOD]
    step_T2 = draw.speed * np.stack([np.sin(heading_T), np.cos(heading_T)], axis=1) + draw.drift
    moved_T2 = np.concatenate([np.zeros((1, 2)), np.cumsum(step_T2[:-1], axis=0)])
    at_T2: NDArray[np.float64] = (draw.start + moved_T2) % 1.0
    return at_T2


def render(clip: Clip) -> NDArray[np.uint8]:
    """Render the frames of a clip: frames_THWC, RGB. Equal clips give equal frames."""
    rng = np.random.default_rng(clip.seed)
    draw = _draw(rng)
    size, hard = clip.size, clip.difficulty
    ground_HW = _clutter(rng, size) * (0.04 + 0.10 * hard)
    contrast, noise = 0.40 - 0.20 * hard, 0.01 + 0.06 * hard
    _, digit, falling = GLYPHS[clip.glyph]
    reach = int(0.5 * draw.scale * size) + 2
    window_G = np.arange(-reach, reach + 1)
    frames_THWC = np.empty((clip.frames, size, size, 3), np.uint8)
    for frame_HWC, centre_2 in zip(frames_THWC, _positions(clip, draw) * size, strict=True):
        whole_2 = np.floor(centre_2).astype(int)
        # Coordinates of the window's pixels, in glyph heights from the centre.
        y_G, x_G = (window_G - (centre_2 - whole_2)[:, None]) / (draw.scale * size)
        inside_GG = _covered(digit, y_G, x_G)
        along_GG = y_G[:, None] + (-x_G if falling else x_G)
        stripes_GG = contrast * np.sin(2 * np.pi * _STRIPES * along_GG + draw.stripe)
        at = np.ix_((whole_2[0] + window_G) % size, (whole_2[1] + window_G) % size)
        light_HWC = np.repeat(ground_HW[:, :, None], 3, axis=2)
        glyph_GGC = stripes_GG[:, :, None] * draw.colour
        light_HWC[at] = np.where(inside_GG[:, :, None], glyph_GGC, light_HWC[at])
        light_HWC += noise * rng.standard_normal((size, size, 1), np.float32) + draw.grey
        frame_HWC[:] = np.clip(np.rint(light_HWC * 255), 0, 255)
    return frames_THWC


def _covered(digit: str, y_G: NDArray[np.float64], x_G: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether points, in glyph heights from the centre, are on the strokes of a digit: in_GG."""
    cells = np.array([[cell == "1" for cell in row] for row in _SHAPES[digit].split()])
    # An empty border, for points outside of the grid.
    cells = np.pad(cells, 1)
    row_G = np.clip(np.floor(y_G * 7 + 3.5).astype(int), -1, 7) + 1
    col_G = np.clip(np.floor(x_G * 7 + 2.5).astype(int), -1, 5) + 1
    covered: NDArray[np.bool_] = cells[np.ix_(row_G, col_G)]
    return covered


def _clutter(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """A periodic background: smooth noise with mean 0 and standard deviation 1."""
    spectrum = np.fft.rfft2(rng.standard_normal((size, size)))
    y, x = np.fft.fftfreq(size)[:, None] * size, np.fft.rfftfreq(size)[None, :] * size
    # Blobs are as wide as strokes and stripes: frequencies up to about 4 per picture.
    spectrum *= np.exp(-(y**2 + x**2) / (2 * 4.0**2))
    spectrum[0, 0] = 0
    ground_HW = np.fft.irfft2(spectrum, s=(size, size))
    found: NDArray[np.float64] = ground_HW / ground_HW.std()
    return found
