"""Tables over a scope (a tuple of variables) as rows: which row, which option, which axis.

A table is laid out in row-major order. A *row* is the number of a combination of the variables
that remain, an *option* the number of a combination of those that are eliminated.
"""

from __future__ import annotations

from math import prod

import numpy as np

from tsdsl.analysis.costs.factors import Array

Axes = tuple[int, ...]


def options_last(table: Array, axes: Axes, kept_shape: tuple[int, ...]) -> Array:
    """The same table with ``axes`` moved to the end and flattened into one: [kept..., option]."""
    kept = [k for k in range(table.ndim) if k not in axes]
    return table.transpose(*kept, *axes).reshape(*kept_shape, -1)


def unravel(option: int, shape: tuple[int, ...], axes: Axes) -> list[int]:
    """The index on each of ``axes``, from the number of an option (see `options_last`)."""
    indices: list[int] = []
    for axis in reversed(axes):
        option, index = divmod(option, shape[axis])
        indices.append(index)
    return indices[::-1]


def unravel_many(options: Array, shape: tuple[int, ...], axes: Axes) -> list[Array]:
    """`unravel` for an array of options."""
    indices: list[Array] = []
    for axis in reversed(axes):
        options, index = np.divmod(options, shape[axis])
        indices.append(index)
    return indices[::-1]


def rows_of_wider(
    scope: tuple[int, ...],
    shape: tuple[int, ...],
    wide_scope: tuple[int, ...],
    wide_shape: tuple[int, ...],
) -> Array:
    """For each row of a table over ``wide_scope``, the row of a table over ``scope`` that agrees
    with it. ``scope`` is part of ``wide_scope``."""
    view = [n if v in scope else 1 for v, n in zip(wide_scope, wide_shape, strict=True)]
    rows = np.arange(prod(shape)).reshape(view)
    return np.broadcast_to(rows, wide_shape).reshape(-1)


def row_of(scope: tuple[int, ...], shape: tuple[int, ...], at: Array) -> Array:
    """The row of a table over ``scope`` for each assignment [assignment, variable]."""
    row: Array = np.zeros(len(at), np.int64)
    for v, n in zip(scope, shape, strict=True):
        row = row * n + at[:, v]
    return row
