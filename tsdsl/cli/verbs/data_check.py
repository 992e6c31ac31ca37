"""``tsdsl data check``: every video of a list that cannot be used, before a training meets it."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from tsdsl.cli.colour import colour_option
from tsdsl.cli.output import aligned, data, note, show
from tsdsl.cli.progress_bar import progress
from tsdsl.cli.run_options import needs_videos

if TYPE_CHECKING:
    from tsdsl.data.check import VideoFacts
    from tsdsl.data.lists import Video, VideoList
    from tsdsl.data.video_problems import Problem
    from tsdsl.diagnostics import Diagnostic

EPILOG = """\b
Examples:
  tsdsl data check train.csv                    # path label, paths relative to the list
  tsdsl data check train.csv --root /videos --workers 8
  tsdsl data check videos/                      # a folder for each class
  tsdsl data check train.csv --json > report.json
"""


@click.command(epilog=EPILOG)
@click.argument("source", type=click.Path(), metavar="LIST")
@click.option(
    "--root", type=click.Path(), metavar="DIR", help="What paths of the list are relative to."
)
@click.option(
    "--val",
    type=click.Path(),
    metavar="LIST",
    help="Warn of videos that this list has as well. They are not decoded.",
)
@click.option(
    "--min-frames",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    metavar="N",
    help="A video with fewer frames is too short.",
)
@click.option(
    "--workers",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Decode in N processes; in this one if left out.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@colour_option
def command(
    source: str,
    root: str | None,
    val: str | None,
    min_frames: int,
    workers: int,
    as_json: bool,
) -> int:
    """Report every video of a list that cannot be used.

    Every frame of every video is decoded. LIST is a CSV with a path and a label in each line, or a
    folder with a folder for each class; a video is a file or a folder of images.

    Exit code 1 if there is a bad video.
    """
    needs_videos()
    from tsdsl.data.check import check_list
    from tsdsl.data.lists import in_both, read_list

    videos = read_list(source, root)
    show(videos.warnings)
    if val is not None:
        scored = read_list(val, root, videos.classes)
        show([*scored.warnings, *in_both(videos, scored)])
    found = []
    with progress("videos", len(videos)) as step:
        for result in check_list(videos, min_frames, workers):
            found.append(result)
            step()
    rows = list(zip(videos.videos, found, strict=True))
    show(_several_streams(videos, rows))
    if as_json:
        data(json.dumps(_json(videos, rows), indent=2))
    else:
        _text(videos, rows)
    return int(bool(_bad(rows)))


Rows = list[tuple["Video", "VideoFacts | Problem"]]


def _bad(rows: Rows) -> list[tuple[Video, Problem]]:
    from tsdsl.data.video_problems import Problem

    return [(video, found) for video, found in rows if isinstance(found, Problem)]


def _good(rows: Rows) -> list[tuple[Video, VideoFacts]]:
    from tsdsl.data.check import VideoFacts

    return [(video, found) for video, found in rows if isinstance(found, VideoFacts)]


def _several_streams(videos: VideoList, rows: Rows) -> list[Diagnostic]:
    """A warning for each video with several video streams: which of them is taken."""
    from tsdsl.diagnostics import Diagnostic
    from tsdsl.diagnostics.render import visible

    found = []
    for video, facts in _good(rows):
        at, count = facts.stream
        if count > 1:
            message = f"{visible(video.name)}: video stream {at + 1} of {count} is taken"
            hint = "the one that is marked as default, or has the most pixels"
            found.append(
                Diagnostic("W0983", message, file=videos.source, help=hint, severity="warning")
            )
    return found


def _extremes(rows: Rows) -> dict[str, Any]:
    """Shortest and longest video by frames; how many videos have which rate and size."""
    good = _good(rows)
    if not good:
        return {"shortest": None, "longest": None, "fps": {}, "sizes": {}}
    ends = {
        "shortest": min(good, key=lambda row: row[1].frames),
        "longest": max(good, key=lambda row: row[1].frames),
    }
    rates = Counter("none" if f.fps is None else f"{f.fps:.6g}" for _, f in good)
    sizes = Counter(f"{f.width}x{f.height}" for _, f in good)
    return {
        name: {"path": video.name, "frames": facts.frames, "seconds": facts.seconds}
        for name, (video, facts) in ends.items()
    } | {"fps": dict(rates.most_common()), "sizes": dict(sizes.most_common())}


def _json(videos: VideoList, rows: Rows) -> dict[str, Any]:
    bad = _bad(rows)
    bad_of = Counter(video.label for video, _ in bad)
    return {
        "format_version": 1,
        "list": videos.source,
        "videos": len(videos),
        "bad": [
            {
                "path": video.name,
                "line": video.line or None,
                "label": video.label,
                "kind": problem.kind,
                "detail": problem.detail,
            }
            for video, problem in bad
        ],
        "kinds": dict(Counter(problem.kind for _, problem in bad)),
        "classes": [
            {"name": name, "videos": count, "bad": bad_of[label]}
            for label, (name, count) in enumerate(zip(videos.classes, videos.counts(), strict=True))
        ],
        **_extremes(rows),
    }


def _text(videos: VideoList, rows: Rows) -> None:
    from tsdsl.data.video_problems import KINDS
    from tsdsl.diagnostics import Diagnostic
    from tsdsl.diagnostics.render import visible

    bad = _bad(rows)
    for video, problem in bad:
        where = f"line {video.line}: " if video.line else ""
        detail = f": {problem.detail}" if problem.detail else ""
        message = f"{where}{video.name}: {KINDS[problem.kind]}{detail} ({problem.kind})"
        show([Diagnostic("E0812", visible(message), file=videos.source)])
    bad_of = Counter(video.label for video, _ in bad)
    table = [["class", "videos", "bad"]] + [
        [visible(name), str(count), str(bad_of[label])]
        for label, (name, count) in enumerate(zip(videos.classes, videos.counts(), strict=True))
    ]
    data(aligned(table, (1, 2)))
    facts = _extremes(rows)
    for name in ("shortest", "longest"):
        if end := facts[name]:
            lasts = f", {end['seconds']:.1f} s" if end["seconds"] is not None else ""
            data(f"{name}: {end['frames']} frames{lasts}: {visible(end['path'])}")
    for name, what in (("fps", "frames per second"), ("sizes", "sizes")):
        if counted := list(facts[name].items()):
            rest = f", {len(counted) - 8} more" if len(counted) > 8 else ""
            data(f"{what}: " + ", ".join(f"{k} ({n})" for k, n in counted[:8]) + rest)
    kinds = ", ".join(f"{n} {kind}" for kind, n in Counter(p.kind for _, p in bad).items())
    note(f"{len(videos)} videos checked: " + (f"{len(bad)} bad: {kinds}" if bad else "all good"))
