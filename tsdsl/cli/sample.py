"""``tsdsl sample``: architectures drawn from a space."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click

import tsdsl
from tsdsl.cli.options import colour_option, set_option, spec_argument
from tsdsl.cli.output import data, note
from tsdsl.files import write_atomic

if TYPE_CHECKING:
    from tsdsl.analysis.window import Weighting as Weights

EPILOG = """\b
Examples:
  tsdsl sample my_space.tsnet --seed 1 -o arch.json
  tsdsl sample my_space.tsnet -n 100 --seed 1 > archs.jsonl     # one in each line
  tsdsl sample my_space.tsnet -n 100 --seed 1 -o archs/         # arch-000.json ...
"""


@click.command(epilog=EPILOG)
@spec_argument
@click.option(
    "-n", "count", type=click.IntRange(1, 1_000_000), default=1, metavar="N", help="How many."
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Equal seeds draw alike."
)
@click.option("--uniform", is_flag=True, help="All architectures are equally probable.")
@set_option
@click.option(
    "-o",
    "output",
    type=click.Path(),
    metavar="PATH",
    help="arch.json for one, archs.jsonl for one in each line, or a directory.",
)
@colour_option
def command(
    file: str, count: int, seed: int, uniform: bool, settings: dict[str, Any], output: str | None
) -> None:
    """Draw architectures from a space.

    They are distinct, and drawn with the weights that the spec gives its options (--uniform: all
    alike). One goes to standard output as arch.json, several as JSON lines.
    """
    suffix = os.path.splitext(output)[1] if output is not None else ""
    if suffix == ".json" and count > 1:
        raise click.UsageError(f"-n {count} architectures need a .jsonl file or a directory")
    space = tsdsl.load(file, set=settings)
    weights: Weights = "architectures" if uniform else "initial"
    drawn = space.sample(count, seed=seed, weights=weights)
    if output is None:
        data(document(drawn[0]) if count == 1 else lines(drawn))
    elif suffix == ".json":
        write_atomic(output, document(drawn[0]))
        note(f"wrote {output}")
    elif suffix == ".jsonl":
        write_atomic(output, lines(drawn))
        note(f"wrote {len(drawn)} architectures to {output}")
    else:
        _write_all(output, drawn)
    if len(drawn) < count:
        note(f"the space has {len(drawn)} architectures, fewer than -n {count}")


def _write_all(directory: str, drawn: list[tsdsl.Architecture]) -> None:
    try:
        os.makedirs(directory, exist_ok=True)
    except OSError as error:
        raise tsdsl.FileError(
            [
                tsdsl.Diagnostic(
                    "E0807",
                    f"cannot make the directory: {(error.strerror or 'error').lower()}",
                    file=directory,
                )
            ]
        ) from None
    digits = max(3, len(str(len(drawn) - 1)))
    for at, arch in enumerate(drawn):
        write_atomic(os.path.join(directory, f"arch-{at:0{digits}}.json"), document(arch))
    note(f"wrote {len(drawn)} architectures to {directory}")


def document(arch: tsdsl.Architecture) -> str:
    """An architecture as the text of an arch.json."""
    from tsdsl.ir.arch_file import dump

    return dump(arch)


def lines(drawn: list[tsdsl.Architecture]) -> str:
    """One architecture in each line."""
    compact = (json.dumps(json.loads(document(arch)), ensure_ascii=False) for arch in drawn)
    return "".join(line + "\n" for line in compact)
