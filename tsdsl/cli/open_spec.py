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


# Fields that several groups have.
settings_field: Any = option(
    "--set",
    type=Setting(),
    multiple=True,
    callback=_as_dict,
    metavar="NAME=VALUE",
    help="Give a param, a decision (by its path) or a setting of a section (train.lr) another"
    " value; may be repeated.",
)
space_field: Any = option(
    "--space",
    metavar="NAME",
    help="The space, if the file has several; it may be one that others extend.",
)
costs_field: Any = option(
    "--costs",
    type=click.Path(),
    multiple=True,
    metavar="TABLE",
    help="A cost table, such as latency.json of 'tsdsl measure'; may be repeated.",
)
frozen_field: Any = option(
    "--frozen",
    type=click.Path(),
    metavar="ARCH",
    help="The architecture (an arch.json of the space).",
)


class SpecOptions(OptionGroup):
    """A space of a spec, with some of its values replaced."""

    file: str = argument(type=click.Path(), metavar="FILE")
    settings: dict[str, Any] = settings_field
    space_name: str | None = space_field

    def load(self) -> tsdsl.Space:
        return tsdsl.load(self.file, set=self.settings, space=self.space_name)

    @property
    def about(self) -> dict[str, Any]:
        """What the description of a run says of its spec."""
        return {"spec": os.path.basename(self.file)}


class SpecWithCosts(SpecOptions):
    """A space of a spec, and tables of further costs."""

    costs: tuple[str, ...] = costs_field

    def load(self) -> tsdsl.Space:
        return tsdsl.load(self.file, set=self.settings, space=self.space_name, costs=self.costs)


class NetworkOptions(SpecOptions):
    """One network: a spec without decisions, or an architecture of a space."""

    frozen: str | None = frozen_field

    def open(self) -> tuple[tsdsl.Space, tsdsl.Architecture | None]:
        """The space and the architecture, which is None for a space without decisions. Raises
        `UsageError` where a space has decisions and no architecture is given."""
        space = self.load()
        if self.frozen is not None:
            return space, architecture(space, self.frozen)
        if space.decisions:
            raise undecided(self.file, space)
        return space, None

    def open_for(self, weights: StoredWeights) -> tuple[tsdsl.Space, tsdsl.Architecture | None]:
        """The same, except that an architecture which is not given is the one that the weights
        were trained with."""
        text = weights.about.get("architecture")
        if self.frozen is not None or text is None:
            return self.open()
        space = self.load()
        if not space.decisions:
            return space, None
        from tsdsl.ir.arch_file import parse

        warnings = Collector()
        trained = space.architecture(parse(Source(weights.source, text)), warnings)
        # Of the processes of a run, the first one prints.
        if os.environ.get("RANK", "0") == "0":
            show(warnings)
        return space, trained


def undecided(file: str, space: tsdsl.Space) -> click.UsageError:
    """The error where a spec has decisions and the verb needs one network."""
    from tsdsl.cli.quantities import several

    return click.UsageError(
        f"'{file}' has {several(len(space.decisions), 'decision')}: say which network with "
        f"--frozen arch.json ('tsdsl sample {file} -o arch.json' draws one)"
    )


def architecture(space: tsdsl.Space, path: str) -> tsdsl.Architecture:
    """The architecture of a file, checked against the space; warnings are shown."""
    warnings = Collector()
    loaded = space.architecture(tsdsl.Architecture.load(path), warnings)
    show(warnings)
    return loaded


def say_filled(loaded: LoadedWeights) -> None:
    """Say which modules of the network the file of another code base has no weights for."""
    modules = dict.fromkeys(
        name.rpartition(".")[0] for name in loaded.filled if name.endswith(".weight")
    )
    if modules:
        note(f"not in the file, and set to the identity: {', '.join(modules)}")
