"""Checks of the arguments of public functions: a wrong type is named, with what was meant."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any


def check_type(name: str, value: object, wanted: type, hint: str) -> None:
    """Raise `TypeError` unless an argument has its type; ``hint`` says how such a value is made."""
    if not isinstance(value, wanted):
        article = "an" if wanted.__name__[0] in "AEIO" else "a"
        noun = f"{article} {wanted.__name__}"
        raise TypeError(f"{name} is {noun}, not {type(value).__name__}: {hint}")


def check_architecture(value: Any) -> None:
    """Raise `TypeError` unless a value is a mapping from decision paths to options."""
    if isinstance(value, Mapping):
        return
    noun = "an architecture is a mapping from decision paths to options"
    if isinstance(value, str | PathLike):
        raise TypeError(f"{noun}, not a path: tsdsl.Architecture.load({str(value)!r}) reads a file")
    raise TypeError(f"{noun}, not {type(value).__name__}")


def check_count(name: str, value: object, least: int = 0) -> None:
    """Raise `TypeError` unless an argument is a whole number, and `ValueError` if it is less than
    ``least``."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} is a whole number, not {value!r}")
    if value.__index__() < least:
        raise ValueError(f"{name} is at least {least}, not {value}")
