"""``tsdsl compile``: a network as Python source, or a summary of it."""

from __future__ import annotations

import os
from importlib.util import find_spec

import click

import tsdsl
from tsdsl.cli.colour import colour_option
from tsdsl.cli.open_spec import NetworkOptions
from tsdsl.cli.option_groups import takes
from tsdsl.cli.output import data, note
from tsdsl.diagnostics.render import visible
from tsdsl.files import write_atomic

EPILOG = """\b
Examples:
  tsdsl compile specs/x3d_s.tsnet                                    # a summary
  tsdsl compile specs/x3d_s.tsnet -o x3d_s.py
  tsdsl compile space.tsnet --frozen arch.json --set crop=182 -o model.py
  tsdsl compile space.tsnet -o supernet.py                           # all architectures
"""


@click.command(epilog=EPILOG)
@takes(spec=NetworkOptions)
@click.option(
    "-o",
    "output",
    type=click.Path(),
    metavar="MODEL.py",
    help="Write the network as Python source ('-' for standard output).",
)
@colour_option
def command(spec: NetworkOptions, output: str | None) -> None:
    """Compile a network to Python source that needs torch only.

    A spec without decisions is one network; for a space, --frozen names the architecture. Without
    --frozen, -o writes the supernet of the space, which shares weights among all architectures and
    runs the one that is passed with the clip. Without -o, prints a summary of the network.
    """
    if output is not None and output != "-" and not output.endswith(".py"):
        suffix = os.path.splitext(output)[1]
        written = f"'{suffix}'" if suffix else "a name without a suffix"
        raise click.UsageError(f"-o writes Python source (model.py), not {written}: '{output}'")
    if output is None or spec.frozen is not None:
        space, arch = spec.open()
    else:
        space, arch = spec.load(), None
    if output is None:
        from tsdsl.cli.cost_tables import summary

        data(summary(space, arch))
        note("-o model.py writes the network")
        return
    if arch is None and space.decisions and find_spec("torch") is None:
        raise click.UsageError("a supernet needs torch: pip install 'tsdsl[torch]'")
    source = tsdsl.emit(space, frozen=arch)
    if output == "-":
        data(source)
        return
    write_atomic(output, source)
    from tsdsl.cli.quantities import several

    what = f": the supernet of {several(len(space.decisions), 'decision')}"
    note(f"wrote {visible(output)}{what if arch is None and space.decisions else ''}")
