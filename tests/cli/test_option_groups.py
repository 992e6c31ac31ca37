"""Options that belong together reach a verb as one argument."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tsdsl.cli import verbs
from tsdsl.cli.option_groups import OptionGroup, argument, option, takes

#: Parameters of a function from which on it lacks a noun.
MOST = 8
VERB_FILES = sorted(path.stem for path in Path(verbs.__path__[0]).glob("[a-z]*.py"))


class Files(OptionGroup):
    file: str = argument(metavar="FILE")
    many: tuple[str, ...] = option("--many", multiple=True)


class Numbered(Files):
    count: int = option("-n", type=int, default=3)


class Renamed(Numbered):
    many: tuple[str, ...] = option("--several", multiple=True)


def command_of(group: type[OptionGroup]) -> click.Command:
    @click.command()
    @takes(group=group)
    @click.option("--last")
    def command(group: OptionGroup, last: str | None) -> None:
        click.echo(f"{vars(group)} {last}")

    return command


def test_a_verb_gets_a_group_as_one_argument() -> None:
    done = CliRunner().invoke(command_of(Numbered), ["f", "--many", "a", "--last", "z"])
    assert done.output == "{'file': 'f', 'many': ('a',), 'count': 3} z\n"


def test_inherited_fields_come_first_and_stay_in_their_place() -> None:
    assert list(Renamed.declared()) == ["file", "many", "count"]
    flags = [p.opts[-1] for p in command_of(Renamed).params]
    assert flags == ["file", "--several", "-n", "--last"]


def test_two_groups_of_one_verb_share_no_field() -> None:
    """A field of two groups would be one option, of which only the last group had the value."""
    for name in VERB_FILES:
        module = import_module(f"tsdsl.cli.verbs.{name}")
        names = [p.name for p in module.command.params]
        assert len(names) == len(set(names)), name


@pytest.mark.parametrize("name", VERB_FILES)
def test_no_function_of_a_verb_has_more_than_eight_parameters(name: str) -> None:
    module = import_module(f"tsdsl.cli.verbs.{name}")
    functions = [f for _, f in inspect.getmembers(module, inspect.isfunction)]
    functions.append(inspect.unwrap(module.command.callback))
    for function in functions:
        if function.__module__ == module.__name__:
            assert len(inspect.signature(function).parameters) <= MOST, function.__qualname__
