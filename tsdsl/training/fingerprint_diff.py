"""Differences between the identities of two runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Top-level key of the entries that may differ between two identities of the same run.
CONDITIONS = "conditions"


def flat(value: Any, key: str = "") -> dict[str, Any]:
    """The leaves of nested mappings, by their dotted keys."""
    if isinstance(value, Mapping):
        return {
            inner: leaf
            for name, part in value.items()
            for inner, leaf in flat(part, f"{key}.{name}" if key else str(name)).items()
        }
    return {key: value}


def short(value: Any) -> str:
    """A value as text of at most 60 characters."""
    text = "not set" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def between_ranks(found: list[dict[str, Any]]) -> list[str]:
    """For each rank whose identity differs from that of rank 0, a text with the differences.
    Conditions, such as the machine, are not compared."""
    texts = []
    first = flat(found[0])
    for rank, other in enumerate(map(flat, found)):
        keys = [
            key
            for key in dict.fromkeys([*first, *other])
            if first.get(key) != other.get(key) and not key.startswith(CONDITIONS)
        ]
        if keys:
            said = [
                f"{key} is {short(other.get(key))} on rank {rank}"
                f" and {short(first.get(key))} on rank 0"
                for key in keys
            ]
            more = f" (and {len(keys) - 6} more)" if len(keys) > 6 else ""
            texts.append("; ".join(said[:6]) + more)
    return texts
