"""Decoding video files with PyAV: an index of the frames first, then those that are needed.

Reading the packets of a file without decoding them gives the time stamp of every frame, in the
order of presentation, and the key frames. A frame is therefore named by its number, exactly, with
any frame rate. Decoding seeks to the last key frame before a frame that is wanted, unless going on
gets there as well, and checks the time stamp of what it finds; where that fails (a container
without time stamps, references across key frames), it decodes from the beginning.

- Frames are RGB of 8 bits, whatever the file has: grey is repeated, transparency left out, deeper
  pixels are reduced by FFmpeg's swscale. Pixels that are not square stay as they are stored.
- The display matrix of a file is applied: quarter turns and mirror images.
- An error that the decoder reports makes a video corrupt: nothing is concealed.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tsdsl.data.images import frame_files, is_frame_folder, read_images
from tsdsl.data.orientation import orientation_of, shown
from tsdsl.data.safe_open import decoder_options, open_container
from tsdsl.data.video_problems import BadVideo
from tsdsl.record import Record

#: Largest part of a video that may be missing, against the length in its header: in seconds, as a
#: share, and as a share of short videos, of which those seconds are a large part.
_SLACK, _SLACK_SHARE, _SLACK_OF_SHORT = 0.5, 0.02, 0.15
#: Largest relative difference between the rate in the header and the mean rate of the frames.
_RATE_SLACK = 0.01
#: Containers whose time stamps are partly counted by the reader, so that they can name the wrong
#: frame after a seek: MPEG program streams and elementary streams.
_COUNTED = frozenset({"mpeg", "mpegvideo", "m4v", "h264", "hevc"})
#: Elementary streams, whose frame rate only the codec knows.
_BARE = frozenset({"h264", "hevc", "vvc"})
#: Smallest number of frames that a seek has to save: about what a decoder with reordered frames has
#: to decode again after one.
_WORTH_SEEKING = 8


class VideoIndex(Record):
    """The frames of a video, found without decoding it."""

    #: Number of frames, at least 1.
    count: int
    #: Mean frames per second; None for a folder of images, and if the file does not state it.
    fps: float | None
    #: Time stamps of all frames in order of presentation; empty if the file has none.
    stamps: tuple[int, ...] = ()
    #: Presentation and decoding time stamps of key frames, in order of presentation.
    keys: tuple[tuple[int, int], ...] = ()
    #: Files of the frames, if the video is a folder of images.
    files: tuple[str, ...] = ()
    #: Index of the stream among the file's video streams, and number of video streams.
    stream: tuple[int, int] = (0, 1)


class _Missed(Exception):
    """A seek did not lead to the wanted frame."""


def index_video(path: str) -> VideoIndex:
    """Index the frames of a file or of a folder of images, without decoding. Raises `BadVideo`."""
    if is_frame_folder(path):
        files = frame_files(path)
        return VideoIndex(len(files), None, files=tuple(files))
    with _opened(path) as (container, stream):
        return _index(path, container, stream)


def read_clip(
    path: str, index: VideoIndex, indices: Sequence[int], seek: bool = True
) -> NDArray[np.uint8]:
    """Decode frames as clip_CTHW (RGB, uint8). Frames may be repeated and are returned in the order
    of ``indices``. ``seek`` False decodes from the beginning. Raises `BadVideo`."""
    assert indices and min(indices) >= 0 and max(indices) < index.count
    if index.files:
        return read_images(path, index.files, indices)
    wanted = sorted(set(indices))
    frames = None
    if seek and index.stamps:
        try:
            frames = _seeking(path, index, wanted)
        except (_Missed, BadVideo):
            frames = None
    if frames is None:
        frames = _from_the_start(path, index, wanted)
    if len({frame.shape for frame in frames.values()}) > 1:
        raise BadVideo(path, "corrupt", "its size changes")
    clip_THWC = np.stack([frames[i] for i in indices])
    return clip_THWC.transpose(3, 0, 1, 2)


def decode_all(path: str, index: VideoIndex) -> tuple[int, int]:
    """Decode all frames as a check; returns width and height as shown. Raises `BadVideo`."""
    if index.files:
        shape = [read_images(path, index.files, [i]).shape for i in range(index.count)]
        if len(set(shape)) > 1:
            raise BadVideo(path, "corrupt", "frames of several sizes")
        return shape[0][3], shape[0][2]
    count, sizes = 0, set()
    with _opened(path) as (container, stream):
        for frame in _decoded(path, container, stream):
            count += 1
            turned = orientation_of(frame).transposed
            sizes.add((frame.height, frame.width) if turned else (frame.width, frame.height))
    if count != index.count:
        raise BadVideo(path, "corrupt", f"{count} of {index.count} frames can be decoded")
    if len(sizes) > 1:
        raise BadVideo(path, "corrupt", "its size changes")
    return sizes.pop()


@contextmanager
def _opened(path: str) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file and its preferred video stream, with one decoding thread: loaders have
    processes."""
    with open_container(path) as container:
        name = container.format.name
        if name.endswith("_pipe") or name == "image2":
            raise BadVideo(path, "still-image", name.removesuffix("_pipe"))
        streams = _video_streams(container)
        if name == "tty" or not (streams or container.streams.audio):
            raise BadVideo(path, "not-a-video", name)
        if not streams:
            raise BadVideo(path, "no-video-stream", name)
        stream = max(streams, key=_preference)
        if stream.codec_context is None:
            raise BadVideo(path, "corrupt", "a codec that FFmpeg does not have")
        stream.codec_context.thread_count = 1
        stream.codec_context.options = decoder_options()
        yield container, stream


def _video_streams(container: InputContainer) -> list[VideoStream]:
    """The video streams of a container that are not cover pictures."""
    return [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]


def _preference(stream: VideoStream) -> int:
    """The quantity whose maximum the `ffmpeg` command chooses: pixels and the mark of the default
    stream (`map_auto_video` in fftools/ffmpeg_mux_init.c). Ties go to the first stream."""
    context = stream.codec_context
    pixels = context.width * context.height if context is not None else 0
    return pixels + 5_000_000 * bool(stream.disposition & Disposition.default)


def _index(path: str, container: InputContainer, stream: VideoStream) -> VideoIndex:
    vp8 = stream.codec_context.name in ("vp8", "libvpx")
    times: list[int | None] = []
    keys: list[tuple[int, int]] = []
    packets = 0
    damaged = False
    try:
        for packet in container.demux(stream):
            if packet.size == 0:
                continue
            packets += 1
            damaged |= packet.is_corrupt
            # Packets before the start of an edit list are never shown, nor are VP8 reference frames
            # whose header (RFC 6386, section 9.1) says so.
            if packet.is_discard or (vp8 and not bytes(packet)[0] & 0x10):
                continue
            times.append(packet.pts)
            if packet.is_keyframe and packet.pts is not None:
                keys.append((packet.pts, packet.pts if packet.dts is None else packet.dts))
    except (av.FFmpegError, OSError) as error:
        raise BadVideo(path, "truncated" if packets else "corrupt", _said(error)) from None
    stated = stream.frames
    if damaged or (packets < stated and not _whole_avi(path, container)):
        raise BadVideo(path, "truncated", f"{packets} of {stated} frames" if stated else "")
    if not times:
        raise BadVideo(path, "no-frames")
    stamps = sorted(t for t in times if t is not None)
    rate = stream.average_rate
    if container.format.name in _BARE and stream.codec_context.framerate:
        # The container has no rate of its own; its value is a default.
        rate = stream.codec_context.framerate
    if len(set(stamps)) < len(times):
        stamps, keys = [], []
    elif stream.time_base is not None:
        length = (stamps[-1] - stamps[0]) * stream.time_base
        _check_length(path, stream, length)
        if length and not (rate and abs(rate * length / (len(stamps) - 1) - 1) < _RATE_SLACK):
            # The container states no rate, or that of most frames only.
            rate = (len(stamps) - 1) / length
    # AVI has no presentation time stamps; their substitutes are in decoding order.
    in_order = all(a is None or b is None or a <= b for a, b in pairwise(times))
    if container.format.name in _COUNTED or (in_order and stream.codec_context.has_b_frames):
        stamps, keys = [], []
    streams = _video_streams(container)
    return VideoIndex(
        len(times),
        float(rate) if rate else None,
        tuple(stamps),
        tuple(sorted(keys)),
        stream=([s.index for s in streams].index(stream.index), len(streams)),
    )


def _whole_avi(path: str, container: InputContainer) -> bool:
    """Whether a file is an AVI file with all of its chunks.

    Its header counts clock ticks, also those without a stored frame: dropped frames and, with
    reordered frames, gaps of a finer clock. The count therefore shows nothing. The sizes of RIFF
    chunks do, since they are written when a recording ends.
    """
    if container.format.name != "avi":
        return False
    with open(path, "rb") as file:
        total = os.fstat(file.fileno()).st_size
        at = 0
        while at + 12 <= total:
            file.seek(at)
            tag, size = struct.unpack("<4sI", file.read(8))
            if tag != b"RIFF":
                break
            if size < 4 or at + 8 + size > total:
                return False
            at += 8 + size + size % 2
    return at > 0


def _check_length(path: str, stream: VideoStream, length: Fraction) -> None:
    """Check the duration of a stream. Matroska stores it, but no number of frames."""
    text = stream.metadata.get("DURATION", "")
    try:
        hours, minutes, seconds = (float(part) for part in text.split(":"))
    except ValueError:
        return
    stated = 3600 * hours + 60 * minutes + seconds
    # The last frame is shown for its duration, too: at 2 frames per second for half a second.
    frame = float(1 / stream.average_rate) if stream.average_rate else 0.0
    slack = max(min(_SLACK, _SLACK_OF_SHORT * stated), _SLACK_SHARE * stated)
    if stated - float(length) - frame > slack:
        detail = f"{float(length):.1f} of {stated:.1f} seconds"
        raise BadVideo(path, "truncated", detail)


def _decoded(path: str, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Decode frames from the container's position on. Raises `BadVideo` for an error or a damaged
    frame."""
    try:
        for frame in container.decode(stream):
            if frame.is_corrupt:
                raise BadVideo(path, "corrupt", "a damaged frame")
            yield frame
    except (av.FFmpegError, OSError) as error:
        raise BadVideo(path, "corrupt", _said(error)) from None


def _seeking(path: str, index: VideoIndex, wanted: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
    """Decode frames by seeking, as image_HWC, in rising order. Raises `_Missed` and `BadVideo`."""
    stamps = [pts for pts, _ in index.keys]
    places = [bisect_left(index.stamps, stamp) for stamp in stamps]
    pixels = _Pixels(path)
    found = {}
    with _opened(path) as (container, stream):
        frames = _decoded(path, container, stream)
        at = -1
        for i in wanted:
            key = bisect_right(places, i) - 1
            frame = None
            if key > 0 and places[key] - at > _WORTH_SEEKING:
                # Containers seek by either of the two time stamps. By the wrong one, an earlier or
                # later key frame is found.
                for time in index.keys[key]:
                    frames = _sought(path, container, stream, time)
                    frame = next(frames, None)
                    if frame is not None and frame.pts is not None and frame.pts <= stamps[key]:
                        break
            frame = frame or next(frames, None)
            while frame is not None and frame.pts is not None and frame.pts < index.stamps[i]:
                frame = next(frames, None)
            if frame is None or frame.pts != index.stamps[i]:
                raise _Missed
            found[i], at = pixels.rgb(frame), i
    return found


def _sought(
    path: str, container: InputContainer, stream: VideoStream, time: int
) -> Iterator[VideoFrame]:
    try:
        container.seek(time, stream=stream)
    except av.FFmpegError:
        raise _Missed from None
    return _decoded(path, container, stream)


def _from_the_start(
    path: str, index: VideoIndex, wanted: Sequence[int]
) -> dict[int, NDArray[np.uint8]]:
    pixels = _Pixels(path)
    left = set(wanted)
    number = {stamp: i for i, stamp in enumerate(index.stamps)}
    found = {}
    with _opened(path) as (container, stream):
        for n, frame in enumerate(_decoded(path, container, stream)):
            i = n if frame.pts is None else number.get(frame.pts, -1) if number else n
            if i in left:
                found[i] = pixels.rgb(frame)
                left.discard(i)
                if not left:
                    break
    if left:
        raise BadVideo(path, "corrupt", f"frame {min(left)} of {index.count} cannot be decoded")
    return found


class _Pixels:
    """Converts frames to RGB in the orientation in which they are shown. Reuses swscale's
    tables."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._reformatter = VideoReformatter()

    def rgb(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """Convert a frame to image_HWC. Raises `BadVideo`."""
        orientation = orientation_of(frame)
        try:
            rgb = self._reformatter.reformat(frame, format="rgb24")
            image = np.asarray(rgb.to_ndarray(), np.uint8)
        except (av.FFmpegError, OSError, ValueError):
            detail = f"pixels of format {frame.format.name} cannot be converted"
            raise BadVideo(self._path, "corrupt", detail) from None
        return shown(image, orientation)


def _said(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).lower()[:120]
