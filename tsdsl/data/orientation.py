"""Showing an image as its display matrix asks: the eight orientations of a rectangle."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Literal, NamedTuple, cast

import numpy as np
from av.buffer import Buffer
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame
from numpy.typing import NDArray


class Orientation(NamedTuple):
    """Transposition, followed by reversal of rows and of columns."""

    transposed: bool = False
    rows_reversed: bool = False
    columns_reversed: bool = False


UPRIGHT = Orientation()
#: By the number of counter-clockwise quarter turns.
_QUARTER_TURNS = (
    UPRIGHT,
    Orientation(True, True, False),
    Orientation(False, True, True),
    Orientation(True, False, True),
)
#: By the orientation in EXIF data, from 1 to 8 (JEITA CP-3451, 4.6.4).
_EXIF = (
    UPRIGHT,
    Orientation(False, False, True),
    Orientation(False, True, True),
    Orientation(False, True, False),
    Orientation(True, False, False),
    Orientation(True, False, True),
    Orientation(True, True, True),
    Orientation(True, True, False),
)
_ORIENTATION_TAG, _SHORT = 0x0112, 3


def orientation_of(frame: VideoFrame) -> Orientation:
    """The orientation in which a frame of a video is to be shown.

    The display matrix moves the pixel in column p and row q to column a p + c q and row b p + d q
    (ISO/IEC 14496-12, 6.2.2). Angles are rounded to quarter turns.
    """
    try:
        # The stubs of PyAV type the keys as text; they are members of `Type`.
        sides = cast("Mapping[Type, Buffer]", frame.side_data)
    except ValueError:
        # PyAV raises ValueError for kinds of side data that are newer than its `Type`. The angle is
        # available anyway.
        return _QUARTER_TURNS[round(frame.rotation / 90) % 4]
    if Type.DISPLAYMATRIX not in sides:
        return UPRIGHT
    a, b, _, c, d = struct.unpack("=5i", bytes(sides[Type.DISPLAYMATRIX])[:20])
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(True, b < 0, c < 0)
    return Orientation(False, d < 0, a < 0)


def shown(image_HWC: NDArray[np.uint8], orientation: Orientation) -> NDArray[np.uint8]:
    """A view of the image in an orientation."""
    if orientation.transposed:
        image_HWC = image_HWC.transpose(1, 0, 2)
    if orientation.rows_reversed:
        image_HWC = image_HWC[::-1]
    if orientation.columns_reversed:
        image_HWC = image_HWC[:, ::-1]
    return image_HWC


def exif_orientation(data: bytes) -> Orientation:
    """The orientation in the EXIF data of a JPEG, PNG or WebP file."""
    tiff = _exif(data)
    order: Literal["little", "big"] = "little" if tiff[:2] == b"II" else "big"
    if tiff[:2] not in (b"II", b"MM"):
        return UPRIGHT
    at = int.from_bytes(tiff[4:8], order)
    for entry in range(int.from_bytes(tiff[at : at + 2], order)):
        field = tiff[at + 2 + 12 * entry :][:12]
        if len(field) < 12:
            break
        if int.from_bytes(field[:2], order) == _ORIENTATION_TAG:
            value = int.from_bytes(field[8:10], order)
            is_short = int.from_bytes(field[2:4], order) == _SHORT
            return _EXIF[value - 1] if is_short and 1 <= value <= 8 else UPRIGHT
    return UPRIGHT


def _exif(data: bytes) -> bytes:
    """The TIFF structure of EXIF data; empty if there is none."""
    if data.startswith(b"\xff\xd8"):
        at = 2
        # Segments before the one in which the image data begins.
        while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] not in (b"\xda", b"\xd9"):
            size = int.from_bytes(data[at + 2 : at + 4], "big")
            if data[at + 1] == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
                return data[at + 10 : at + 2 + size]
            at += 2 + max(size, 2)
        return b""
    if data.startswith(b"\x89PNG"):
        return _chunk(data, 8, b"eXIf", "big", size_first=True)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _chunk(data, 12, b"EXIF", "little", size_first=False).removeprefix(b"Exif\0\0")
    return b""


def _chunk(
    data: bytes, at: int, name: bytes, order: Literal["little", "big"], size_first: bool
) -> bytes:
    """Content of the first chunk with a name, in PNG (``size_first``) or RIFF."""
    while at + 8 <= len(data):
        first, second = data[at : at + 4], data[at + 4 : at + 8]
        size = int.from_bytes(first if size_first else second, order)
        if (second if size_first else first) == name:
            return data[at + 8 : at + 8 + size]
        # Chunks are followed by a checksum in PNG, and by a byte that makes the size even in RIFF.
        at += 8 + size + (4 if size_first else size % 2)
    return b""
