"""An architecture: the options that make one network out of a space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tsdsl.diagnostics.unknown_name import UnknownName

if TYPE_CHECKING:
    from os import PathLike

    from tsdsl.diagnostics import Source

#: An option as in ``arch.json``: numbers and booleans are JSON's own, all other options are strings
#: as a spec writes them (``"3x3x3"``).
Option = int | float | bool | str


def option_text(option: Option) -> str:
    """Write an option as in a spec: ``true``, ``40``, ``3x3x3``."""
    return str(option).lower() if isinstance(option, bool) else str(option)


class Architecture(Mapping[str, Option]):
    """One option for each decision that is active under the others: an immutable, hashable mapping
    from decision path to option.

    Two architectures are equal if they make the same decisions; their origin (``space``,
    ``space_hash``, ``provenance``) does not count. `Space.sample`, `Space.architecture` and
    `Architecture.load` make them. ``arch[path]`` raises `UnknownName`, a `KeyError`, for a path
    that the architecture has no option for.

    - ``space``, ``space_hash``: name and hash of the space that it belongs to.
    - ``provenance``: where it comes from (seed, windows, version), as written to ``arch.json``.
    - ``source``: the text of the file that it was loaded from, so that findings can quote it.

        >>> arch["main.s1.width"], arch.get("main.s1.widht")
        (8, None)
        >>> arch["main.s1.widht"]
        Traceback (most recent call last):
        tsdsl...UnknownName: there is no option for 'main.s1.widht' in this architecture ...
    """

    __slots__ = ("_decisions", "_hash", "provenance", "source", "space", "space_hash")

    def __init__(
        self,
        decisions: Mapping[str, Option],
        space: str = "",
        space_hash: str = "",
        provenance: Mapping[str, Any] | None = None,
        source: Source | None = None,
    ) -> None:
        self._decisions = dict(decisions)
        self._hash: int | None = None
        self.space = space
        self.space_hash = space_hash
        self.provenance = dict(provenance or {})
        self.source = source

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Architecture:
        """Read an ``arch.json``. A `Space` checks it when it is used.

        Raises `FileError` and `ArchitectureError`.

            >>> arch.save("arch.json")
            >>> tsdsl.Architecture.load("arch.json") == arch
            True
        """
        from tsdsl.ir.arch_file import load

        return load(path)

    def save(self, path: str | PathLike[str]) -> None:
        """Write ``arch.json``, whole or not at all. Raises `FileError`."""
        from tsdsl.ir.arch_file import save

        save(self, path)

    def __getitem__(self, path: str) -> Option:
        try:
            return self._decisions[path]
        except KeyError:
            where = f" in this architecture{f' of {self.space}' if self.space else ''}"
            raise UnknownName("option for", path, self._decisions, where) from None

    def get(self, path: str, default: Any = None) -> Any:
        """The option of a decision, or ``default`` where the architecture has none for it."""
        return self._decisions.get(path, default)

    def __contains__(self, path: object) -> bool:
        return path in self._decisions

    def __iter__(self) -> Iterator[str]:
        return iter(self._decisions)

    def __len__(self) -> int:
        return len(self._decisions)

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self._decisions.items()))
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Architecture) and self._decisions == other._decisions

    def __repr__(self) -> str:
        from tsdsl.notebook import listed, shortened

        whose = f" of {shortened(self.space)}" if self.space else ""
        noun = "decision" if len(self) == 1 else "decisions"
        inside = listed(f"{path}={option_text(option)}" for path, option in self.items())
        return f"<Architecture{whose}, {len(self)} {noun}{': ' if inside else ''}{inside}>"

    def _repr_html_(self) -> str:
        from tsdsl.notebook import html_table

        caption = f"Architecture of {self.space}" if self.space else "Architecture"
        rows = ((path, option_text(option)) for path, option in self.items())
        return html_table(caption, ["decision", "option"], rows, len(self))
