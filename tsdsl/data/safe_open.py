"""Opens a regular file that a list names, and nothing else.

FFmpeg follows references in a file: playlists, lists of parts and session descriptions name other
files, addresses and devices, and a playlist that names itself is followed without end. Three
measures prevent that:

- The file is opened here, only if it is a regular one, and FFmpeg gets its descriptor (``fd:``).
- No other protocol is allowed, so that nothing else is opened, on disk or over a network.
- Only the formats in `FORMATS` are read. None of them names other files.

A frame has at most `max_pixels` pixels. The decoder refuses larger ones before it allocates them.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager

import av
from av import logging as av_logging
from av.container import InputContainer

from tsdsl.data.pixel_limit import MAX_PIXELS_VARIABLE, max_pixels
from tsdsl.data.video_problems import BadVideo

#: Video containers and elementary streams, by FFmpeg's names.
_VIDEO = (
    "mov,matroska,avi,flv,live_flv,kux,asf,asf_o,mpeg,mpegts,mpegvideo,m4v,h261,h263,h264,hevc,vvc,"
    "av1,obu,avs2,avs3,cavsvideo,dirac,dnxhd,vc1,vc1test,ivf,gif,apng,webp,ogg,nut,mxf,gxf,rm,dv,"
    "wtv,nuv,nsv,yuv4mpegpipe,mjpeg,mjpeg_2000,swf,smk,bink,roq,flic,film_cpk,4xm,ea,idcin,thp,"
    "vmd,mtv,iv8,lmlm4,pva,ty,dhav,xmv,smjpeg,filmstrip,cine,siff,rpl,usm,jpegxl_anim"
)
#: Audio formats, which are read so that the message can say "sound only".
_SOUND = "wav,w64,mp3,aac,flac,ac3,eac3,aiff,au,amr,caf,ape,wv,tta,dts,mpc,mpc8,truehd"
#: Image formats: frames in folders, and images with the extension of a video.
_IMAGES = (
    "png_pipe,jpeg_pipe,jpegls_pipe,jpegxl_pipe,j2k_pipe,bmp_pipe,webp_pipe,ppm_pipe,pgm_pipe,"
    "pbm_pipe,pam_pipe,pfm_pipe,gif_pipe,tiff_pipe,dpx_pipe,exr_pipe,hdr_pipe,psd_pipe,qoi_pipe,"
    "sgi_pipe,sunrast_pipe,pcx_pipe,xbm_pipe,xpm_pipe,xwd_pipe,dds_pipe"
)
#: All formats that are read.
FORMATS = f"{_VIDEO},{_SOUND},{_IMAGES}"

#: Beginnings of files that FFmpeg would treat as a list of other files.
_LISTS = re.compile(
    rb"\s*(#EXTM3U|ffconcat|v=0\s|\[playlist\]|(<\?xml[^>]*>\s*)?<(MPD|smil|asx)\b)"
)
_TOO_LARGE = re.compile(r"Picture size (\d+)x(\d+) exceeds")


@contextmanager
def open_container(path: str) -> Iterator[InputContainer]:
    """Open the container in a regular file. Raises `BadVideo`."""
    descriptor = _descriptor(path)
    try:
        try:
            container = _container(descriptor)
        except (av.FFmpegError, OSError, ValueError):
            raise BadVideo(path, *_unopened(descriptor)) from None
        with container:
            for stream in container.streams.video:
                context = stream.codec_context
                # The width is 0 if the decoder was refused the size that it requested.
                if context is not None and not context.width and (size := _refused(descriptor)):
                    raise BadVideo(path, "too-large", too_large(*size))
                if context is not None and context.width * context.height > max_pixels():
                    raise BadVideo(path, "too-large", too_large(context.width, context.height))
            yield container
    finally:
        os.close(descriptor)


def too_large(width: int, height: int) -> str:
    """Detail of a problem for a frame over the limit, and how to raise the limit."""
    limit = f"more than {max_pixels():,} pixels; {MAX_PIXELS_VARIABLE} sets another limit"
    return f"{width} x {height}, {limit}"


def decoder_options() -> dict[str, str]:
    """Decoder options: errors are not concealed, and the size of frames is limited."""
    return {"err_detect": "explode", "max_pixels": _decoder_limit()}


def _decoder_limit() -> str:
    """Slightly more than `max_pixels`, since decoders count the edges with which they pad a
    frame."""
    return str(max_pixels() * 17 // 16 + (1 << 16))


def _descriptor(path: str) -> int:
    """A descriptor of a regular file. Raises `BadVideo` for anything else, without waiting for a
    pipe."""
    flags = os.O_RDONLY
    for name in ("O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY"):
        flags |= getattr(os, name, 0)
    try:
        descriptor = os.open(path, flags)
    except (FileNotFoundError, NotADirectoryError):
        raise BadVideo(path, "missing") from None
    except PermissionError:
        raise BadVideo(path, "unreadable", "permission denied") from None
    except (OSError, ValueError) as error:
        raise BadVideo(path, "unreadable", getattr(error, "strerror", None) or "") from None
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_size:
        return descriptor
    os.close(descriptor)
    if stat.S_ISREG(found.st_mode):
        raise BadVideo(path, "empty")
    raise BadVideo(path, "unreadable", "not a regular file")


def _container(descriptor: int) -> InputContainer:
    os.lseek(descriptor, 0, os.SEEK_SET)
    return av.open(
        "fd:",
        options={"max_pixels": _decoder_limit()},
        container_options={
            "fd": str(descriptor),
            "protocol_whitelist": "fd",
            "format_whitelist": FORMATS,
        },
    )


def _refused(descriptor: int) -> tuple[int, int] | None:
    """Width and height of a refused frame. FFmpeg reports them in its log only."""
    level, skips = av_logging.get_level(), av_logging.get_skip_repeated()
    av_logging.set_level(av_logging.ERROR)
    av_logging.set_skip_repeated(False)
    try:
        with av_logging.Capture() as lines:
            try:
                with _container(descriptor) as container:
                    context = container.streams.video[0].codec_context
                    context.options = decoder_options()
                    next(container.decode(video=0), None)
            except (av.FFmpegError, OSError, ValueError):
                pass
    finally:
        av_logging.set_level(level)
        av_logging.set_skip_repeated(skips)
    found = [match for _, _, line in lines if (match := _TOO_LARGE.search(line))]
    return (int(found[0][1]), int(found[0][2])) if found else None


def _unopened(descriptor: int) -> tuple[str, str]:
    """Kind and detail of the problem of a regular file that cannot be opened."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    head = os.read(descriptor, 256)
    if head[4:8] == b"ftyp":
        return "truncated", "an MP4 file without its index, which usually stands at the end"
    if _LISTS.match(head):
        return "not-a-video", "a list of other files, which are not opened"
    return "not-a-video", ""
