"""``tsdsl data synth``: a data set to begin with."""

from __future__ import annotations

import json
from typing import Any

import click

from tsdsl.cli.colour import colour_option
from tsdsl.cli.output import data, note
from tsdsl.cli.progress_bar import progress

EPILOG = """\b
Examples:
  tsdsl data synth glyphs                       # 1536 videos of 32 classes
  tsdsl data synth glyphs --clips 240 --workers 2
  tsdsl data synth hard --glyphs 8 --motions 6 --difficulty 0.9 --clips 4800
"""


@click.command(epilog=EPILOG)
@click.argument("folder", type=click.Path(), metavar="DIR")
@click.option("--clips", type=int, metavar="N", help="Videos of all classes together.")
@click.option("--glyphs", type=int, metavar="N", help="What is shown: 1 to 16.")
@click.option("--motions", type=int, metavar="N", help="How it moves: 1 to 8.")
@click.option("--difficulty", type=float, metavar="X", help="0 is clean, 1 faint and noisy.")
@click.option("--size", type=int, metavar="N", help="Height and width in pixels.")
@click.option("--frames", type=int, metavar="N", help="Frames of each video.")
@click.option("--val", type=float, metavar="X", help="The share of videos in val.csv.")
@click.option("--seed", type=int, metavar="N")
@click.option(
    "--workers",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Render in N processes; in this one if left out.",
)
@click.option("--force", is_flag=True, help="Replace another set; other files stay.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@colour_option
def command(
    folder: str,
    clips: int | None,
    glyphs: int | None,
    motions: int | None,
    difficulty: float | None,
    size: int | None,
    frames: int | None,
    val: float | None,
    seed: int | None,
    workers: int,
    force: bool,
    as_json: bool,
) -> int:
    """Render videos to train on: striped digits that move.

    A class is a glyph and a motion. One frame tells the glyph, only many tell the motion. DIR gets
    train.csv, val.csv, the videos and synth.json, which has the options. A run that was
    interrupted is done again; a set that is there already is left as it is.
    """
    try:
        import av  # noqa: F401
    except ImportError:
        raise click.UsageError("videos need PyAV: pip install 'tsdsl[video]'") from None
    from tsdsl.data.synth import SynthOptions, synthesise

    given: dict[str, Any] = {
        "clips": clips,
        "glyphs": glyphs,
        "motions": motions,
        "difficulty": difficulty,
        "size": size,
        "frames": frames,
        "val": val,
        "seed": seed,
    }
    options = SynthOptions(**{name: value for name, value in given.items() if value is not None})
    try:
        options.check()
    except ValueError as bad:
        raise click.UsageError(str(bad)) from None
    with progress("videos", options.clips) as step:
        found = synthesise(folder, options, workers=workers, force=force, step=step)
    if as_json:
        data(
            json.dumps(
                {
                    "format_version": 1,
                    "train": found.train,
                    "val": found.val,
                    "classes": list(found.classes),
                    "videos": found.counts,
                    "encoder": found.encoder,
                    "rendered": found.rendered,
                },
                indent=2,
            )
        )
    else:
        data(f"{found.train}\n{found.val}")
    counts = f"{found.counts['train']} videos to train, {found.counts['val']} to validate"
    was = f"rendered with {found.encoder}" if found.rendered else "there already"
    note(f"{counts}, {len(found.classes)} classes: {was}")
    return 0
