"""Operations by name: the built-in ones, and those that other packages add by an entry point.

A package adds an operation in its `pyproject.toml`:

    [project.entry-points."tsdsl.ops"]
    layer_norm = "tsdsl_norms:LayerNorm"

Installed packages are searched when a name is needed that no built-in operation has, and only once
in a process: a spec of built-in operations never pays for the search. A built-in operation is never
replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from tsdsl.diagnostics import Diagnostic, SpecError
from tsdsl.ir.op import Op, OpArgs

if TYPE_CHECKING:
    # Importing it takes as long as checking a small spec.
    from importlib.metadata import EntryPoint

#: The group of entry points that name operations.
GROUP = "tsdsl.ops"


class UnusableOperation(SpecError):
    """An operation that another package offers in a way that does not work."""

    def __init__(self, message: str, help: str) -> None:
        super().__init__([Diagnostic("E0215", message, help=help)])
        self.message = message
        self.help = help

    def __reduce__(self) -> tuple[type[UnusableOperation], tuple[str, str]]:
        return type(self), (self.message, self.help)


class Operations(Mapping[str, type[Op]]):
    """All operations by the name that a spec uses: ``operations[name]``.

    Raises `UnusableOperation` for a name that a package offers in a way that does not work, and
    KeyError for a name that nothing offers. Iteration lists both kinds of names: the built-in ones,
    then all that packages offer, usable or not.
    """

    def __init__(self, builtin: Iterable[type[Op]]) -> None:
        self._builtin = {op.name: op for op in builtin}
        self._loaded: dict[str, type[Op] | UnusableOperation] = {}

    def __getitem__(self, name: str) -> type[Op]:
        op = self._builtin.get(name)
        if op is not None:
            return op
        offers = self._offered[name]
        if name not in self._loaded:
            try:
                self._loaded[name] = self._load(name, offers)
            except UnusableOperation as error:
                self._loaded[name] = error
        loaded = self._loaded[name]
        if isinstance(loaded, UnusableOperation):
            raise UnusableOperation(loaded.message, loaded.help)
        return loaded

    def __contains__(self, name: object) -> bool:
        return name in self._builtin or name in self._offered

    def __iter__(self) -> Iterator[str]:
        yield from self._builtin
        yield from (name for name in self._offered if name not in self._builtin)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def find(self, name: str) -> type[Op] | None:
        """The operation of this name; None where there is none, or none that can be used."""
        try:
            return self.get(name)
        except UnusableOperation:
            return None

    @cached_property
    def _offered(self) -> Mapping[str, list[EntryPoint]]:
        """The entry points of all installed packages. Several of one name are a clash."""
        from importlib.metadata import entry_points

        offered: dict[str, list[EntryPoint]] = {}
        for entry in sorted(entry_points(group=GROUP), key=_package):
            offered.setdefault(entry.name, []).append(entry)
        return offered

    def _load(self, name: str, offers: list[EntryPoint]) -> type[Op]:
        entry = offers[0]
        package = _package(entry)
        if len(offers) > 1:
            packages = " and ".join(f"'{_package(offer)}'" for offer in offers)
            raise UnusableOperation(
                f"the operation '{name}' is offered by {packages}",
                f"uninstall all but one of them, or rename the operation in one of them ({GROUP})",
            )
        for other in self._builtin:
            if any(_package(offer) == package for offer in self._offered.get(other, ())):
                raise UnusableOperation(
                    f"the package '{package}' offers '{other}', which is built in",
                    f"built-in operations are not replaced: rename '{other}' in '{package}'",
                )
        place = f"entry point '{name} = {entry.value}' of the package '{package}'"
        try:
            value: object = entry.load()
        except Exception as error:  # foreign code may raise anything
            said = f"{type(error).__name__}: {error}".strip().split("\n")[0].rstrip(".: ")
            raise UnusableOperation(
                f"the operation '{name}' of the package '{package}' cannot be imported ({said})",
                f"python -c 'import {entry.value.partition(':')[0].strip()}' shows where it fails;"
                f" repair, update or uninstall '{package}'",
            ) from error
        if not (isinstance(value, type) and issubclass(value, Op)):
            raise UnusableOperation(
                f"the {place} leads to something that is no operation",
                f"'{package}' has to name a subclass of tsdsl.ir.op.Op there",
            )
        lacking = sorted(value.__abstractmethods__)
        args = getattr(value, "Args", None)
        if not (isinstance(args, type) and issubclass(args, OpArgs)):
            lacking.append("Args")
        if not isinstance(getattr(value, "name", None), str):
            lacking.append("name")
        if lacking:
            raise UnusableOperation(
                f"the {place} leads to an operation without {', '.join(lacking)}",
                f"in '{package}', the class {value.__name__} has to define all that Op requires",
            )
        if value.name != name:
            raise UnusableOperation(
                f"the {place} leads to an operation that is named '{value.name}'",
                f"in '{package}', give the entry point and the class {value.__name__} one name",
            )
        return value


def _package(entry: EntryPoint) -> str:
    """The name of the package that has an entry point."""
    # A package without metadata has no name of its own: its module has to do.
    name = entry.dist.name if entry.dist is not None else None
    return name or entry.value.partition(":")[0].partition(".")[0].strip()
