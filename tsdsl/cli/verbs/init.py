"""``tsdsl init``: a commented spec to start from."""

from __future__ import annotations

import os
import re
import shlex

import click

from tsdsl.cli.colour import colour_option
from tsdsl.cli.output import data, note
from tsdsl.diagnostics import Diagnostic, FileError
from tsdsl.diagnostics.render import visible
from tsdsl.files import read_text, write_atomic

EPILOG = """\b
Examples:
  tsdsl init                     # my_space.tsnet
  tsdsl init two_stream
  tsdsl init specs/two_stream.tsnet --force
"""
TEMPLATE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "templates", "starter.tsnet")
#: The name of the space in the template.
PLACEHOLDER = "Starter"


@click.command(epilog=EPILOG)
@click.argument("name", type=click.Path(), default="my_space", metavar="[NAME]")
@click.option("--force", is_flag=True, help="Overwrite a file that exists.")
@colour_option
def command(name: str, force: bool) -> None:
    """Write a commented spec to start from.

    It is a small searchable two-stream space that checks, counts and compiles as it is.
    """
    path = name if name.endswith(".tsnet") else f"{name}.tsnet"
    if os.path.lexists(path) and not force:
        raise FileError(
            [
                Diagnostic(
                    "E0808", "this file exists already", file=path, help="--force overwrites it"
                )
            ]
        )
    text = re.sub(rf"\b{PLACEHOLDER}\b", _identifier(path), read_text(TEMPLATE))
    # The name stands in comments, which a line end would close.
    write_atomic(path, text.replace("NAME.tsnet", _typed(os.path.basename(path))))
    data(visible(path))
    note(f"next: tsdsl check {_typed(path)}; tsdsl flops {_typed(path)}")


def _typed(path: str) -> str:
    """The path for a command line of a shell, on one line."""
    return visible(shlex.quote(path))


def _identifier(path: str) -> str:
    """The name of a space after its file: my_space.tsnet -> MySpace."""
    words = re.findall(r"[A-Za-z0-9]+", os.path.basename(path).removesuffix(".tsnet"))
    name = "".join(word[0].upper() + word[1:] for word in words)
    return name if name and name[0].isalpha() else f"Space{name}"
