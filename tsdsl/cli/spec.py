"""The spec and the architecture that a command names."""

from __future__ import annotations

from typing import Any

import click

import tsdsl
from tsdsl.cli.output import show
from tsdsl.diagnostics import Collector


def open_network(
    file: str, frozen: str | None, settings: dict[str, Any], name: str | None
) -> tuple[tsdsl.Space, tsdsl.Architecture | None]:
    """The space of a file and the architecture of a file; a searchable space needs one."""
    space = tsdsl.load(file, set=settings, space=name)
    if frozen is not None:
        return space, architecture(space, frozen)
    if space.decisions:
        raise undecided(file, space)
    return space, None


def undecided(file: str, space: tsdsl.Space) -> click.UsageError:
    """What a spec with decisions lacks where one network is meant."""
    from tsdsl.cli.tables import several

    return click.UsageError(
        f"'{file}' has {several(len(space.decisions), 'decision')}: say which network with "
        f"--frozen arch.json ('tsdsl sample {file} -o arch.json' draws one)"
    )


def architecture(space: tsdsl.Space, path: str) -> tsdsl.Architecture:
    """The architecture of a file, valid in the space; what merely looks wrong is shown."""
    warnings = Collector()
    found = space.architecture(tsdsl.Architecture.load(path), warnings)
    show(warnings)
    return found
