"""Why a video cannot be used: twelve kinds, each with a sentence."""

from __future__ import annotations

from typing import NamedTuple

#: Kind -> what it means. The kinds are what reports and ``tsdsl data check --json`` count by.
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
    """What is wrong with the video at ``path``; ``kind`` is one of `KINDS`."""

    path: str
    kind: str
    detail: str

    def __str__(self) -> str:
        detail = f": {self.detail}" if self.detail else ""
        return f"{self.path}: {self.kind} ({KINDS[self.kind]}{detail})"


class BadVideo(Exception):
    """A video that cannot be used. It goes from worker processes to the main one."""

    def __init__(self, path: str, kind: str, detail: str = "") -> None:
        assert kind in KINDS, kind
        super().__init__(path, kind, detail)
        self.problem = Problem(path, kind, detail)

    def __str__(self) -> str:
        return str(self.problem)
