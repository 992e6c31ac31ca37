"""Findings for errors that torch raises."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tsdsl.diagnostics import Diagnostic
from tsdsl.training.ranks import lost_rank


def out_of_memory(bad: BaseException) -> bool:
    text = str(bad)
    return (
        isinstance(bad, torch.OutOfMemoryError | MemoryError)
        or "not enough memory" in text
        or "DefaultCPUAllocator" in text
    )


def decoder_ended(bad: BaseException) -> tuple[str, str] | None:
    """Message and help for a decoding process that has died; None for other errors."""
    if "DataLoader worker (pid" not in str(bad):
        return None
    return (
        "a decoding process has died",
        "it may lack memory, or shared memory (/dev/shm): fewer --workers need less",
    )


def first_line(bad: BaseException) -> str:
    """The first line of an error, without torch's C++ traces."""
    return (str(bad).strip().splitlines() or [type(bad).__name__])[0][:200]


def step_failed(code: str, step: int, bad: Exception, smaller: str) -> Diagnostic:
    """The finding for an error of torch in a step. ``smaller``: how to reduce memory use, for the
    help line."""
    if lost := lost_rank(bad):
        return lost
    where = f"step {step} failed"
    if out_of_memory(bad):
        return Diagnostic(code, f"{where}: there is not enough memory", help=smaller)
    if ended := decoder_ended(bad):
        return Diagnostic(code, f"{where}: {ended[0]}", help=ended[1])
    hint = "torch's error for this network, with this batch, on this device"
    return Diagnostic(code, f"{where}: {first_line(bad)}", help=hint)


def first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of a tensor that has an infinite or NaN element, or None."""
    floats = {name: t for name, t in tensors.items() if t.is_floating_point()}
    if not floats:
        return None
    # One transfer for all tensors, so that a GPU is synchronised once. A search has alpha on the
    # CPU.
    device = next(iter(floats.values())).device
    good = torch.stack([tensor.isfinite().all().to(device) for tensor in floats.values()]).tolist()
    return next((name for name, finite in zip(floats, good, strict=True) if not finite), None)
