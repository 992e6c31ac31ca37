"""``tsdsl data synth``: a synthetic data set to begin with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from tsdsl.cli.colour import colour_option
from tsdsl.cli.option_groups import OptionGroup, option, takes
from tsdsl.cli.output import data, note
from tsdsl.cli.progress_bar import progress
from tsdsl.cli.run_options import needs_videos

if TYPE_CHECKING:
    from tsdsl.data.synth import SynthOptions

EPILOG = """\b
Examples:
  tsdsl data synth glyphs                       # 1536 videos of 32 classes
  tsdsl data synth glyphs --clips 240 --workers 2
  tsdsl data synth hard --glyphs 8 --motions 6 --difficulty 0.9 --clips 4800
"""


class RenderingOptions(OptionGroup):
    """What is rendered; what is left out is as the library has it."""

    clips: int | None = option(
        "--clips", type=int, metavar="N", help="Number of videos, of all classes together."
    )
    glyphs: int | None = option(
        "--glyphs", type=int, metavar="N", help="Number of glyphs (what is shown): 1 to 16."
    )
    motions: int | None = option(
        "--motions", type=int, metavar="N", help="Number of motions (how it moves): 1 to 8."
    )
    difficulty: float | None = option(
        "--difficulty", type=float, metavar="X", help="From 0 (clean) to 1 (faint and noisy)."
    )
    size: int | None = option("--size", type=int, metavar="N", help="Height and width in pixels.")
    frames: int | None = option("--frames", type=int, metavar="N", help="Frames of each video.")
    val: float | None = option("--val", type=float, metavar="X", help="Share of videos in val.csv.")
    seed: int | None = option(
        "--seed", type=int, metavar="N", help="Seed of everything that is random."
    )

    def checked(self) -> SynthOptions:
        """Raises `UsageError` for values that do not fit."""
        from tsdsl.data.synth import SynthOptions, UnfitOptions

        given = {name: value for name, value in vars(self).items() if value is not None}
        options = SynthOptions(**given)
        try:
            options.check()
        except UnfitOptions as bad:
            raise click.UsageError(str(bad)) from None
        return options


@click.command(epilog=EPILOG)
@click.argument("folder", type=click.Path(), metavar="DIR")
@takes(rendering=RenderingOptions)
@click.option(
    "--workers",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Render in N processes; left out, in this one.",
)
@click.option("--force", is_flag=True, help="Replace a set with other options. Other files stay.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@colour_option
def command(
    folder: str, rendering: RenderingOptions, workers: int, force: bool, as_json: bool
) -> int:
    """Render videos to train on: striped digits that move.

    A class is a glyph and a motion: a single frame shows the glyph, but only several frames show
    the motion. DIR gets train.csv, val.csv, the videos and synth.json with the options. A run that
    was interrupted starts over; a set that is complete, with the same options, is left as it is.
    """
    needs_videos()
    from tsdsl.data.synth import synthesise

    options = rendering.checked()
    with progress("videos", options.clips) as step:
        written = synthesise(folder, options, workers=workers, force=force, step=step)
    if as_json:
        data(
            json.dumps(
                {
                    "format_version": 1,
                    "train": written.train,
                    "val": written.val,
                    "classes": list(written.classes),
                    "videos": written.counts,
                    "encoder": written.encoder,
                    "rendered": written.rendered,
                },
                indent=2,
            )
        )
    else:
        data(f"{written.train}\n{written.val}")
    counts = f"{written.counts['train']} videos to train, {written.counts['val']} to validate"
    was = f"rendered with {written.encoder}" if written.rendered else "complete already"
    note(f"{counts}, {len(written.classes)} classes: {was}")
    return 0
