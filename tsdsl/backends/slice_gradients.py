"""Gradients of slices of shared tensors, accumulated in the gradients of the whole tensors.

The gradient that autograd computes for a slice (``whole[:8]``) is as large as the whole tensor,
with zeros around the slice, and is then added to what is there. For a supernet that means several
passes over all weights for each architecture, however small the architecture is. Here, each slice
is a leaf tensor of its own:

- If it is small and contiguous (channels of a normalisation or of a depthwise convolution), its
  gradient is added after the backward pass, together with those of other slices, in a few kernels.
- If it is large or not contiguous, its ``.grad`` is a view of the whole tensor's gradient, to which
  autograd adds by itself.

A leaf is a view of the whole tensor's storage, so that it follows every optimiser step: it is made
once and cached. On a GPU, small networks wait for Python: slicing all weights for each
architecture, and one kernel for each gradient, took a third of a step.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor

#: Elements of the largest tensor whose slices wait until the end of the backward pass. Gradients of
#: larger slices would take much memory in addition to that of the whole.
_SMALL = 16384
#: Largest number of cached configurations. When it is reached, the cache is emptied.
_KEPT = 30_000


class WeightSlice:
    """A slice of a parameter as a leaf tensor; the whole parameter if ``at`` is None."""

    __slots__ = ("at", "offset", "part", "placed", "sizes", "solid", "strides", "whole")

    def __init__(self, whole: Tensor, at: tuple[slice, ...] | None) -> None:
        self.whole = whole
        self.at = at
        part = whole.detach()
        self.part = (part if at is None else part[at]).requires_grad_()
        #: Whether the slice is small and contiguous.
        self.solid = whole.is_contiguous() and self.part.is_contiguous() and whole.numel() <= _SMALL
        self.sizes, self.strides = self.part.shape, self.part.stride()
        self.offset = self.part.storage_offset() - whole.storage_offset()
        #: The view of the whole's gradient that autograd adds to; None for a slice whose gradient
        #: waits.
        self.placed: Tensor | None = None

    def place_in(self, grad: Tensor) -> Tensor:
        """The view of the whole tensor's gradient that belongs to this slice."""
        if self.at is None:
            return grad
        if self.whole.is_contiguous() and grad.is_contiguous():
            # Equal to grad[at], at a fraction of the time.
            return grad.as_strided(self.sizes, self.strides, grad.storage_offset() + self.offset)
        return grad[self.at]


class SliceGradients:
    """The slices of the tensors of a model. ``active`` is true inside of `placing`."""

    def __init__(self, tensors: Callable[[], Iterable[Tensor]] = tuple) -> None:
        self.active = False
        self._tensors = tensors
        self._stamp: tuple[object, ...] = ()
        #: Identities of the tensors that have hooks of a user, which wait for gradients of
        #: autograd.
        self.hooked: set[int] = set()
        self.kept: dict[object, Any] = {}
        self._taken: list[WeightSlice] = []
        self._counts: Counter[Tensor] = Counter()

    def keep(self, key: object, made: object) -> None:
        """Cache something that was made from the tensors as they are now, in ``kept``."""
        if len(self.kept) >= _KEPT:
            self.kept.clear()
        self.kept[key] = made

    def forget(self) -> None:
        """Empty the cache, so that nothing refers to the tensors."""
        self.kept.clear()

    def take(self, leaves: Sequence[WeightSlice]) -> None:
        """Register the slices of a forward pass whose gradient is wanted."""
        self._taken += leaves
        for leaf in leaves:
            if not leaf.solid and leaf.placed is None and (grad := leaf.whole.grad) is not None:
                leaf.placed = leaf.part.grad = leaf.place_in(grad)

    def count(self, counter: Tensor) -> None:
        """Add one to a counter, at the end of `placing`."""
        self._counts[counter] += 1

    @contextmanager
    def placing(self) -> Iterator[None]:
        """Inside of the block, gradients reach the whole tensors by ``backward`` followed by
        `place`. `torch.autograd.grad` does not see them. The tensors may not be replaced or moved
        in the block."""
        _hush()
        tensors = list(self._tensors())
        stamp = tuple([(id(t), t.data_ptr(), t.requires_grad) for t in tensors])
        self.hooked = {id(t) for t in tensors if _has_hooks(t)}
        if stamp != self._stamp:
            # The tensors have been moved, replaced or frozen since they were cached.
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
            for by in set(self._counts.values()):
                torch._foreach_add_([t for t, n in self._counts.items() if n == by], by)
            self._counts.clear()

    def place(self) -> None:
        """Add the gradients of the slices to those of the whole tensors, after a backward pass. A
        tensor without a gradient gets one that is zero outside of the slice. A slice that no
        gradient has reached changes nothing."""
        sums: list[Tensor] = []
        added: list[Tensor] = []
        touched: set[int] = set()
        for leaf in self._taken:
            part, placed, whole = leaf.part, leaf.placed, leaf.whole
            grad = part.grad
            if grad is None:
                continue
            part.grad = leaf.placed = None
            if grad is placed:
                continue
            held = whole.grad
            if held is None:
                if leaf.at is None:
                    whole.grad = grad
                else:
                    whole.grad = torch.zeros_like(whole)
                    whole.grad[leaf.at] = grad
            elif leaf.solid and id(whole) not in touched:
                # Two slices of one tensor must not be added in one kernel.
                touched.add(id(whole))
                sums.append(leaf.place_in(held))
                added.append(grad)
            else:
                leaf.place_in(held).add_(grad)
        if sums:
            torch._foreach_add_(sums, added)
        self._taken.clear()


def _has_hooks(tensor: Tensor) -> bool:
    return bool(tensor._backward_hooks or tensor._post_accumulate_grad_hooks)


@cache
def _hush() -> None:
    """Autograd warns once in a process of gradients that are not contiguous, since they slow data
    parallelism down. It is never given these: the warning is provoked here and suppressed."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="grad and param do not obey")
        part, whole = torch.zeros(2, 4)[:, :2].requires_grad_(), torch.zeros(2, 4)
        part.grad = whole[:, :2]
        part.sum().backward()  # type: ignore[no-untyped-call]
