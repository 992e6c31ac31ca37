"""Gradients of parts of tensors, straight to their place in the gradient of the whole.

Autograd's gradient of a part (``whole[:8]``) is as large as the whole, with zeros around the part,
for each slice, and is then added to what is there: that is several passes over all weights of a
supernet for each architecture that runs, however small it is. Here a part is a leaf of its own,
whose ``.grad`` is a view of the whole's: autograd adds to that, and to nothing else.

A leaf is a view of the whole's storage, so that it follows every step of an optimiser: it is made
once and kept. On a GPU, small networks wait for Python, and slices of all weights anew for each
architecture were a third of a step.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

#: What is kept of configurations that have run; past that, everything is made anew.
_KEPT = 30_000


class Leaf:
    """A part of a parameter that learns."""

    __slots__ = ("at", "offset", "part", "placed", "sizes", "strides", "whole")

    def __init__(self, whole: Tensor, at: tuple[slice, ...]) -> None:
        self.whole = whole
        self.at = at
        self.part = whole.detach()[at].requires_grad_()
        self.sizes, self.strides = self.part.shape, self.part.stride()
        self.offset = self.part.storage_offset() - whole.storage_offset()
        #: Where its gradient goes by itself; None where the whole has none yet.
        self.placed: Tensor | None = None


class PlacedGradients:
    """Leaves of some tensors, of which a model has one or more. `active` inside of `placing`."""

    def __init__(self, tensors: Callable[[], Iterable[Tensor]] = tuple) -> None:
        self.active = False
        self._tensors = tensors
        self._stamp: tuple[object, ...] = ()
        self._kept: dict[object, object] = {}
        self._taken: list[Leaf] = []

    def keep(self, key: object, make: Callable[[], T]) -> T:
        """What was made for ``key``, out of the tensors as they stand now."""
        found = self._kept.get(key)
        if found is None:
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            found = self._kept[key] = make()
        return found  # type: ignore[return-value]

    def forget(self) -> None:
        """Nothing that was made holds on to the tensors any more."""
        self._kept.clear()

    def take(self, leaf: Leaf) -> None:
        """For a forward pass whose gradient is wanted."""
        if leaf.part.grad is not None:  # in the same pass once more
            return
        grad = leaf.whole.grad
        if grad is not None:
            # The same as grad[at], for a fraction of the time.
            if grad.is_contiguous() and leaf.whole.is_contiguous():
                placed = grad.as_strided(
                    leaf.sizes, leaf.strides, grad.storage_offset() + leaf.offset
                )
            else:
                placed = grad[leaf.at]
            leaf.placed = leaf.part.grad = placed
        self._taken.append(leaf)

    @contextmanager
    def placing(self) -> Iterator[None]:
        """Inside, gradients reach the wholes through ``backward`` followed by `place`, and not
        through `torch.autograd.grad`. The tensors have to stay where they are."""
        _hush()
        stamp = tuple((id(t), t.data_ptr(), t.requires_grad) for t in self._tensors())
        if stamp != self._stamp:
            # Moved to another device, replaced, frozen, ...
            self.forget()
            self._stamp = stamp
        self.active = True
        try:
            yield
        finally:
            self.active = False
            for leaf in self._taken:
                leaf.part.grad = leaf.placed = None
            self._taken.clear()

    def place(self) -> None:
        """After the backward pass: give each whole that had no gradient one, with zeros around
        what its parts have. A part that no gradient has reached leaves it without."""
        for leaf in self._taken:
            part, placed = leaf.part, leaf.placed
            grad = part.grad
            part.grad = leaf.placed = None
            if grad is None or grad is placed:
                continue
            whole = leaf.whole
            if whole.grad is None:
                whole.grad = torch.zeros_like(whole)
                whole.grad[leaf.at] = grad
            else:
                whole.grad[leaf.at] += grad
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
