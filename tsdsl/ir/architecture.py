"""An architecture: one option for each decision that is active under the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Option = int | float | bool | str
#: An option as `arch.json` has it: numbers and booleans as they are, the rest as it is written in the spec.


class Architecture(Mapping[str, Option]):
    """An immutable, hashable mapping from decision path to option.

    Two architectures are equal when they make the same decisions; where they came from
    (``space``, ``space_hash``, ``provenance``) does not count.
    """

    __slots__ = ("_decisions", "_hash", "provenance", "space", "space_hash")

    def __init__(
        self,
        decisions: Mapping[str, Option],
        space: str = "",
        space_hash: str = "",
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        self._decisions = dict(decisions)
        self._hash = hash(frozenset(self._decisions.items()))
        self.space = space
        self.space_hash = space_hash
        self.provenance = dict(provenance or {})

    def __getitem__(self, path: str) -> Option:
        return self._decisions[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._decisions)

    def __len__(self) -> int:
        return len(self._decisions)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Architecture) and self._decisions == other._decisions

    def __repr__(self) -> str:
        inside = ", ".join(f"{path}={option}" for path, option in self.items())
        return f"Architecture({inside})"
