"""How many cases a test has by default, and how many with ``--sweep``: the same code either way.

A test that draws its inputs has a fixed sample that CI runs, small enough to wait for and large
enough to fail for the faults that the test was written for. ``--sweep`` adds further cases.
"""

from __future__ import annotations

import pytest
from _pytest.mark import ParameterSet


def swept(*values: object, id: str | None = None) -> ParameterSet:
    """A case of `parametrize` that runs with ``--sweep`` only."""
    return pytest.param(*values, marks=pytest.mark.sweep, id=id)


def cases(count: int, *, sweep: int) -> list[int | ParameterSet]:
    """Seeds 0 to ``count - 1`` by default; with ``--sweep`` all below `sweep`."""
    assert count <= sweep
    return [*range(count), *(swept(seed) for seed in range(count, sweep))]
