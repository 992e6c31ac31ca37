"""The options that name a spec and an architecture, and how they are opened."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

import tsdsl
from tsdsl.cli.option_groups import OptionGroup, argument, option
from tsdsl.cli.output import note, show
from tsdsl.cli.parameter_types import Setting
from tsdsl.diagnostics import Collector, Source

if TYPE_CHECKING:
    from tsdsl.weights.weight_files import LoadedWeights, StoredWeights


def _as_dict(
    ctx: click.Context, parameter: click.Parameter, values: tuple[tuple[str, Any], ...]
) -> dict[str, Any]:
    return dict(values)


class SpecOptions(OptionGroup):
    """A space of a spec, with some of its values replaced."""

    file: str = argument(type=click.Path(), metavar="FILE")
    settings: dict[str, Any] = option(
        "--set",
        type=Setting(),
        multiple=True,
        callback=_as_dict,
        metavar="NAME=VALUE",
        help="Give a param, a decision (by its path) or a setting of a section (train.lr) another"
        " value; may be repeated.",
    )
    space_name: str | None = option(
        "--space",
        metavar="NAME",
        help="The space, if the file has several; it may be one that others extend.",
    )

    def load(self) -> tsdsl.Space:
        return tsdsl.load(self.file, set=self.settings, space=self.space_name)

    @property
    def about(self) -> dict[str, Any]:
        """What the description of a run says of its spec."""
        return {"spec": os.path.basename(self.file)}


class SpecWithCosts(SpecOptions):
    """A space of a spec, and tables of further costs."""

    costs: tuple[str, ...] = option(
        "--costs",
        type=click.Path(),
        multiple=True,
        metavar="TABLE",
        help="A cost table, such as latency.json of 'tsdsl measure'; may be repeated.",
    )

    def load(self) -> tsdsl.Space:
        return tsdsl.load(self.file, set=self.settings, space=self.space_name, costs=self.costs)


class NetworkOptions(SpecOptions):
    """One network: a spec without decisions, or an architecture of a space."""

    frozen: str | None = option(
        "--frozen",
        type=click.Path(),
        metavar="ARCH",
        help="The architecture (an arch.json of the space).",
    )

    def open(self) -> tuple[tsdsl.Space, tsdsl.Architecture | None]:
        """The space and the architecture, which is None for a space without decisions. Raises
        `UsageError` where a space has decisions and no architecture is given."""
        return open_network(self.file, self.frozen, self.settings, self.space_name)


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
    from tsdsl.cli.quantities import several

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


def say_filled(loaded: LoadedWeights) -> None:
    """Say which modules of a network another code base does not have."""
    modules = dict.fromkeys(
        name.rpartition(".")[0] for name in loaded.filled if name.endswith(".weight")
    )
    if modules:
        note(f"not in the file, and set to what changes nothing: {', '.join(modules)}")


def network_of_weights(
    file: str,
    frozen: str | None,
    settings: dict[str, Any],
    name: str | None,
    held: StoredWeights,
) -> tuple[tsdsl.Space, tsdsl.Architecture | None]:
    """The space of a file, and the architecture: that of a file, or the one that the weights were
    trained with."""
    text = held.about.get("architecture")
    if frozen is not None or text is None:
        return open_network(file, frozen, settings, name)
    space = tsdsl.load(file, set=settings, space=name)
    if not space.decisions:
        return space, None
    from tsdsl.ir.arch_file import parse

    warnings = Collector()
    found = space.architecture(parse(Source(held.source, text)), warnings)
    # Of the processes of a run, one says it.
    if os.environ.get("RANK", "0") == "0":
        show(warnings)
    return space, found
