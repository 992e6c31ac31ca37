"""Groups of options: what belongs together reaches a verb as one argument.

    class RunOptions(OptionGroup):
        folder: str | None = option("-o", type=click.Path())
        resume: bool = option("--resume", is_flag=True)

    @click.command()
    @takes(run=RunOptions)
    def command(run: RunOptions) -> None: ...

An option is declared where its value is a field, and is called like the field.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

Result = TypeVar("Result")


class _Declared:
    """An option or an argument of which the name is not known yet."""

    def __init__(
        self, declare: Callable[..., Any], flags: tuple[str, ...], settings: dict[str, Any]
    ) -> None:
        self._declare = declare
        self._flags = flags
        self._settings = settings

    def named(self, name: str) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
        """The decorator of click that adds it to a command."""
        decorator: Callable[[Callable[..., Result]], Callable[..., Result]]
        decorator = self._declare(*self._flags, name, **self._settings)
        return decorator


def option(*flags: str, **settings: Any) -> Any:
    """A field of an `OptionGroup`: an option with the settings that `click.option` takes."""
    return _Declared(click.option, flags, settings)


def argument(**settings: Any) -> Any:
    """A field of an `OptionGroup`: an argument with the settings that `click.argument` takes."""
    return _Declared(click.argument, (), settings)


class OptionGroup:
    """Options as a record. A subclass has a field for each of its own, after those it inherits;
    a field that it declares again stays in its place."""

    def __init__(self, **values: Any) -> None:
        vars(self).update(values)

    @classmethod
    def declared(cls) -> dict[str, Any]:
        """Each field with its option, in the order in which ``--help`` lists them."""
        return {
            name: value
            for base in reversed(cls.__mro__)
            for name, value in vars(base).items()
            if isinstance(value, _Declared)
        }


def takes(
    **groups: type[OptionGroup],
) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Give a command the options of groups; it gets each group as the argument of that name."""

    def decorate(command: Callable[..., Result]) -> Callable[..., Result]:
        @wraps(command)
        def with_groups(**values: Any) -> Result:
            records = {
                name: group(**{field: values.pop(field) for field in group.declared()})
                for name, group in groups.items()
            }
            return command(**records, **values)

        decorated: Callable[..., Result] = with_groups
        for group in reversed(groups.values()):
            # Click lists last what is added first.
            for field, declared in reversed(group.declared().items()):
                decorated = declared.named(field)(decorated)
        return decorated

    return decorate
