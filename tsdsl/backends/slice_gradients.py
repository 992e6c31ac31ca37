"""Gradients of parts of tensors, straight to their place in the gradient of the whole.

Autograd's gradient of a part (``whole[:8]``) is as large as the whole, with zeros around the part,
for each slice, and is then added to what is there: that is several passes over all weights of a
supernet for each architecture that runs, however small it is. Here a part is a leaf of its own.

- Where it is small and lies in one piece (channels of a normalisation, of a depthwise
  convolution), its gradient is added with those of all others, in a few kernels, after the
  backward pass.
- Where it is large or lies with gaps, its ``.grad`` is a view of the whole's: autograd adds to that
  itself.

A leaf is a view of the whole's storage, so that it follows every step of an optimiser: it is made
once and kept. On a GPU, small networks wait for Python: slices of all weights anew for each
architecture, and a kernel for each gradient, were a third of a step.
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

#: Elements. Gradients of small parts wait until all are there; large ones would be held twice.
_SMALL = 16384
#: What is kept of configurations that have run; past that, everything is made anew.
_KEPT = 30_000


class WeightSlice:
    """A part of a parameter that learns: all of it where ``at`` is None."""

    __slots__ = ("at", "offset", "part", "placed", "sizes", "solid", "strides", "whole")

    def __init__(self, whole: Tensor, at: tuple[slice, ...] | None) -> None:
        self.whole = whole
        self.at = at
        part = whole.detach()
        self.part = (part if at is None else part[at]).requires_grad_()
        #: Whether it lies in one piece, in the order of its axes, and is small.
        self.solid = whole.is_contiguous() and self.part.is_contiguous() and whole.numel() <= _SMALL
        self.sizes, self.strides = self.part.shape, self.part.stride()
        self.offset = self.part.storage_offset() - whole.storage_offset()
        #: Where its gradient goes by itself; None where it does not.
        self.placed: Tensor | None = None

    def place_in(self, grad: Tensor) -> Tensor:
        """The part's place in the gradient of the whole."""
        if self.at is None:
            return grad
        if self.whole.is_contiguous() and grad.is_contiguous():
            # The same as grad[at], for a fraction of the time.
            return grad.as_strided(self.sizes, self.strides, grad.storage_offset() + self.offset)
        return grad[self.at]


class SliceGradients:
    """Leaves of some tensors, of which a model has one or more. `active` inside of `placing`."""

    def __init__(self, tensors: Callable[[], Iterable[Tensor]] = tuple) -> None:
        self.active = False
        self._tensors = tensors
        self._stamp: tuple[object, ...] = ()
        #: By identity: tensors on which somebody waits for gradients.
        self.hooked: set[int] = set()
        self.kept: dict[object, Any] = {}
        self._taken: list[WeightSlice] = []
        self._counts: Counter[Tensor] = Counter()

    def keep(self, key: object, made: object) -> None:
        """What was made out of the tensors as they stand now, to be found in `kept`."""
        if len(self.kept) >= _KEPT:
            self.kept.clear()
        self.kept[key] = made

    def forget(self) -> None:
        """Nothing that was made holds on to the tensors any more."""
        self.kept.clear()

    def take(self, leaves: Sequence[WeightSlice]) -> None:
        """For a forward pass whose gradient is wanted."""
        self._taken += leaves
        for leaf in leaves:
            if not leaf.solid and leaf.placed is None and (grad := leaf.whole.grad) is not None:
                leaf.placed = leaf.part.grad = leaf.place_in(grad)

    def count(self, counter: Tensor) -> None:
        """Add one to a number, by the end of `placing`."""
        self._counts[counter] += 1

    @contextmanager
    def placing(self) -> Iterator[None]:
        """Inside, gradients reach the wholes through ``backward`` followed by `place`, and not
        through `torch.autograd.grad`. The tensors have to stay where they are."""
        _hush()
        tensors = list(self._tensors())
        stamp = tuple([(id(t), t.data_ptr(), t.requires_grad) for t in tensors])
        self.hooked = {id(t) for t in tensors if _has_hooks(t)}
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
            for by in set(self._counts.values()):
                torch._foreach_add_([t for t, n in self._counts.items() if n == by], by)
            self._counts.clear()

    def place(self) -> None:
        """After the backward pass: add what the parts have to the gradients of the wholes. A whole
        that had none gets one, with zeros around the part. A part that no gradient has reached
        leaves it as it is."""
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
                # Two parts of one whole would meet in one kernel.
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
    """Autograd warns, once in a process, of gradients that lie with gaps between them, as data
    parallelism would be slow with them. It is not given these."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="grad and param do not obey")
        part, whole = torch.zeros(2, 4)[:, :2].requires_grad_(), torch.zeros(2, 4)
        part.grad = whole[:, :2]
        part.sum().backward()  # type: ignore[no-untyped-call]
