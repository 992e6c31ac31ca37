"""The twelve reasons for which a video cannot be used."""

from __future__ import annotations

from typing import NamedTuple

#: Kind -> its meaning. Reports and ``tsdsl data check --json`` count by kind.
KINDS = {
    "missing": "there is no such file",
    "unreadable": "the file may not be read, or is no file",
    "empty": "the file has no bytes",
    "not-a-video": "no container that FFmpeg knows, or a damaged header",
    "still-image": "an image under the name of a video",
    "no-video-stream": "sound only",
    "no-frames": "a video without a frame, or a folder without an image",
    "truncated": "the file ends before the video does",
    "corrupt": "the decoder reports an error",
    "too-large": "a frame has more pixels than the limit",
    "several-series": "a folder with more than one series of images",
    "too-short": "fewer frames than asked for",
}


class Problem(NamedTuple):
    """The problem of the video at ``path``. ``kind`` is one of `KINDS`."""

    path: str
    kind: str
    detail: str

    def __str__(self) -> str:
        detail = f": {self.detail}" if self.detail else ""
        return f"{self.path}: {self.kind} ({KINDS[self.kind]}{detail})"


class BadVideo(Exception):
    """A video cannot be used. Worker processes send it to the main one."""

    def __init__(self, path: str, kind: str, detail: str = "") -> None:
        assert kind in KINDS, kind
        super().__init__(path, kind, detail)
        self.problem = Problem(path, kind, detail)

    def __str__(self) -> str:
        return str(self.problem)
