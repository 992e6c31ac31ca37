"""An architecture: one option for each decision that is active under the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from os import PathLike

    from tsdsl.diagnostics import Source

Option = int | float | bool | str
#: An option as `arch.json` has it: numbers and booleans as they are, the rest as the spec has it.


class Architecture(Mapping[str, Option]):
    """An immutable, hashable mapping from decision path to option.

    Two architectures are equal when they make the same decisions; where they came from
    (``space``, ``space_hash``, ``provenance``) does not count.
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
        #: The text of the file that it was loaded from, so that findings can point into it.
        self.source = source

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Architecture:
        """The architecture in an ``arch.json``; `validate` or a `Space` checks it against a space.

        Raises `FileError` and `ArchitectureError`.
        """
        from tsdsl.ir.arch_file import load

        return load(path)

    def save(self, path: str | PathLike[str]) -> None:
        """Write it as ``arch.json``, whole or not at all. Raises `FileError`."""
        from tsdsl.ir.arch_file import save

        save(self, path)

    def __getitem__(self, path: str) -> Option:
        return self._decisions[path]

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
        inside = ", ".join(f"{path}={option}" for path, option in self.items())
        return f"Architecture({inside})"
