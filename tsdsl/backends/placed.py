"""Gradients of parts of tensors, straight to their place in the gradient of the whole.

Autograd's gradient of a part (``whole[:8]``) is as large as the whole, with zeros around the part,
for each slice, and is then added to what is there: that is several passes over all weights of a
supernet for each architecture that runs, however small it is. Here a part is a leaf of its own,
whose ``.grad`` is a view of the whole's: autograd adds to that, and to nothing else.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor


class _Taken(NamedTuple):
    whole: Tensor
    at: tuple[slice, ...]
    part: Tensor
    #: Where the gradient of the part goes by itself; None where the whole had none yet.
    placed: Tensor | None


class PlacedGradients:
    """Parts of parameters. Outside of `placing` they are plain slices."""

    def __init__(self) -> None:
        self._taken: list[_Taken] | None = None

    def part(self, whole: Tensor, at: tuple[slice, ...]) -> Tensor:
        """``whole[at]``, for one forward pass."""
        if self._taken is None or not (whole.requires_grad and torch.is_grad_enabled()):
            return whole[at]
        part = whole.detach()[at].requires_grad_()
        placed = None
        if whole.grad is not None:
            placed = part.grad = whole.grad[at]
        self._taken.append(_Taken(whole, at, part, placed))
        return part

    @contextmanager
    def placing(self) -> Iterator[None]:
        """Parts that are taken inside are leaves: their gradients reach the whole through
        ``backward`` followed by `place`, and not through `torch.autograd.grad`."""
        _hush()
        self._taken = []
        try:
            yield
        finally:
            self._taken = None

    def place(self) -> None:
        """After the backward pass: give each whole that had no gradient one, with zeros around
        what its parts have. A part that no gradient has reached leaves it without."""
        assert self._taken is not None
        for whole, at, part, placed in self._taken:
            grad, part.grad = part.grad, None
            if grad is None or grad is placed:
                continue
            if whole.grad is None:
                whole.grad = torch.zeros_like(whole)
                whole.grad[at] = grad
            else:
                whole.grad[at] += grad
        self._taken.clear()


@cache
def _hush() -> None:
    """Autograd warns, once in a process, of gradients that lie with gaps between them, as data
    parallelism would be slow with them. It is not given these."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="grad and param do not obey")
        part, whole = torch.zeros(2, 4)[:, :2].requires_grad_(), torch.zeros(2, 4)
        part.grad = whole[:, :2]
        part.sum().backward()  # type: ignore[no-untyped-call]
