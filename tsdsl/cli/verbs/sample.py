"""``tsdsl sample``: architectures drawn from a space."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING

import click

import tsdsl
from tsdsl.cli.colour import colour_option
from tsdsl.cli.open_spec import SpecWithCosts
from tsdsl.cli.option_groups import option, takes
from tsdsl.cli.output import check_outputs, data, note
from tsdsl.cli.quantities import several
from tsdsl.cli.window_options import WindowOptions
from tsdsl.diagnostics.render import visible
from tsdsl.files import folder_failure, write_atomic

if TYPE_CHECKING:
    from tsdsl.analysis.windows.window import Weighting

EPILOG = """\b
Examples:
  tsdsl sample my_space.tsnet --seed 1 -o arch.json
  tsdsl sample my_space.tsnet -n 100 --seed 1 > archs.jsonl     # one in each line
  tsdsl sample my_space.tsnet -n 100 --flops 2.4G..2.5G --params ..8M -o archs/
  tsdsl sample my_space.tsnet -n 9 --costs latency.json --within latency:8ms..10ms
"""


class SampleOptions(WindowOptions):
    """How many architectures are drawn, and from which distribution."""

    count: int = option(
        "-n",
        type=click.IntRange(1, 1_000_000),
        default=1,
        metavar="N",
        help="Number of architectures.",
    )
    seed: int = option(
        "--seed",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Seed of the draw; the same seed gives the same architectures.",
    )
    uniform: bool = option("--uniform", is_flag=True, help="Draw uniformly over architectures.")
    distribution: str | None = option(
        "--distribution",
        type=click.Path(),
        metavar="DIST",
        help="Draw from this distribution, a distribution.json of the space.",
    )

    def weighting(self, space: tsdsl.Space) -> Weighting:
        """The distribution that is drawn from."""
        if self.distribution is None:
            return "architectures" if self.uniform else "initial"
        from tsdsl.analysis.distribution import Distribution

        return Distribution.load(space.graph, self.distribution)


@click.command(epilog=EPILOG)
@takes(spec=SpecWithCosts, sampling=SampleOptions)
@click.option(
    "-o",
    "output",
    type=click.Path(),
    metavar="PATH",
    help="arch.json for one, archs.jsonl for one in each line, or a directory.",
)
@colour_option
def command(spec: SpecWithCosts, sampling: SampleOptions, output: str | None) -> None:
    """Draw architectures from a space, within budgets if some are given.

    They follow the weights that the spec gives its options (--uniform: all architectures equally
    probable), conditioned exactly on each cost being in its window. Architectures that build the
    same network are drawn once. One architecture goes to standard output as arch.json, several as
    JSON lines, each as soon as it is drawn. With the same seed, a smaller -n gives the first ones
    of a larger -n.
    """
    count = sampling.count
    suffix = os.path.splitext(output)[1] if output is not None else ""
    if suffix == ".json" and count > 1:
        raise click.UsageError(f"-n {count} architectures need a .jsonl file or a directory")
    if sampling.uniform and sampling.distribution is not None:
        raise click.UsageError("--uniform and --distribution exclude each other")
    if suffix in (".json", ".jsonl"):
        check_outputs([output], [spec.file, sampling.distribution, *spec.costs])
    space = spec.load()
    windows = sampling.windows(space)
    weights = sampling.weighting(space)
    drawn = _Drawn(space.stream(seed=sampling.seed, weights=weights, within=windows), count)
    if output is None and count == 1:
        data(document(next(drawn)))
    elif output is None:
        for text in map(line, drawn):
            sys.stdout.write(text)
            sys.stdout.flush()
    elif suffix == ".json":
        write_atomic(output, document(next(drawn)))
        note(f"wrote {visible(output)}")
    elif suffix == ".jsonl":
        write_atomic(output, map(line, drawn))
        note(f"wrote {several(drawn.count, 'architecture')} to {visible(output)}")
    else:
        _write_all(output, drawn, count)
        note(f"wrote {several(drawn.count, 'architecture')} to {visible(output)}")
    if drawn.count < count:
        weighted = sampling.distribution is not None
        note(drawn.why or _fewer(drawn.count, bool(windows), weighted, count))


class _Drawn(Iterator[tsdsl.Architecture]):
    """The first architectures of a stream, at most ``limit``. It ends early where no further one
    exists; `why` then has the reason. Raises `DiagnosticError` if there is not even one."""

    def __init__(self, stream: Iterator[tsdsl.Architecture], limit: int) -> None:
        # Errors in the space or the windows are raised before anything is written.
        first = next(stream)
        self._rest = islice(chain([first], stream), limit)
        self.count = 0
        self.why: str | None = None

    def __next__(self) -> tsdsl.Architecture:
        try:
            arch = next(self._rest)
        except tsdsl.SpecError as few:
            self.why = few.diagnostics[0].message
            raise StopIteration from None
        self.count += 1
        return arch


def _fewer(drawn: int, windows: bool, weighted: bool, count: int) -> str:
    where = " in these windows" if windows else ""
    weight = " of a probability above 0" if weighted else ""
    networks = "distinct network" if drawn == 1 else "distinct networks"
    return f"the space has {drawn:,} {networks}{weight}{where}, fewer than -n {count}"


def _write_all(directory: str, drawn: _Drawn, count: int) -> None:
    try:
        os.makedirs(directory, exist_ok=True)
    except (OSError, ValueError) as error:
        raise folder_failure(error, directory) from None
    digits = max(3, len(str(count - 1)))
    for at, arch in enumerate(drawn):
        write_atomic(os.path.join(directory, f"arch-{at:0{digits}}.json"), document(arch))


def document(arch: tsdsl.Architecture) -> str:
    """An architecture as the text of an arch.json."""
    from tsdsl.ir.arch_file import dump

    return dump(arch)


def line(arch: tsdsl.Architecture) -> str:
    """An architecture as one line."""
    from tsdsl.ir.arch_file import document_of

    return json.dumps(document_of(arch), ensure_ascii=False, allow_nan=False) + "\n"
