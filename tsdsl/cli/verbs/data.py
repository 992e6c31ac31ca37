"""``tsdsl data``: videos to train on. Its verbs are files of their own, as those of `tsdsl` are."""

from __future__ import annotations

import click

from tsdsl.cli.colour import colour_option
from tsdsl.cli.group import LazyGroup

#: Verb -> its line in ``tsdsl data --help``. The verb is ``command``.
DATA_VERBS = {
    "check": "Report every video of a list that cannot be used.",
    "synth": "Render videos to train on: striped digits that move.",
}

EPILOG = """\b
Examples:
  tsdsl data check train.csv                    # exit code 1 if a video cannot be used
  tsdsl data synth glyphs                       # writes glyphs/train.csv, val.csv and videos
"""


@click.command(
    cls=LazyGroup,
    verbs=DATA_VERBS,
    prefix="tsdsl.cli.verbs.data_",
    subcommand_metavar="VERB ...",
    epilog=EPILOG,
)
@colour_option
def command() -> None:
    """Work with lists of videos."""
