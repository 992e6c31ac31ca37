"""The `KeyError` of look-ups by name that users make: it suggests the nearest name."""

from __future__ import annotations

from collections.abc import Iterable


class UnknownName(KeyError):
    """A look-up of a ``name`` that is not known: a `KeyError` that suggests the nearest name.

    The nearest known name is looked for when the message is needed and not before: code that
    catches a `KeyError` does not pay for it.
    """

    def __init__(self, kind: str, name: object, known: Iterable[str], where: str = "") -> None:
        super().__init__(name)
        self.kind = kind
        self.name = name
        self._known = known
        self._where = where

    def __str__(self) -> str:
        from tsdsl.diagnostics import did_you_mean

        message = f"there is no {self.kind} {self.name!r}{self._where}"
        if not isinstance(self.name, str):
            return f"{message}: names are strings"
        hint = did_you_mean(self.name, self._known)
        return f"{message}: {hint}" if hint else message

    def __reduce__(self) -> tuple[type[UnknownName], tuple[str, object, list[str], str]]:
        return type(self), (self.kind, self.name, list(self._known), self._where)
