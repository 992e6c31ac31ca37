"""What torch's errors mean to a user."""

from __future__ import annotations

import torch


def out_of_memory(bad: BaseException) -> bool:
    text = str(bad)
    return (
        isinstance(bad, torch.OutOfMemoryError | MemoryError)
        or "not enough memory" in text
        or "DefaultCPUAllocator" in text
    )


def decoder_ended(bad: BaseException) -> tuple[str, str] | None:
    """What happened, and what to do, if a process that decodes is gone."""
    if "DataLoader worker (pid" not in str(bad):
        return None
    return (
        "a process that decodes has been ended",
        "it may lack memory, or shared memory (/dev/shm): fewer --workers need less",
    )


def first_line(bad: BaseException) -> str:
    """Without torch's traces of C++."""
    return (str(bad).strip().splitlines() or [type(bad).__name__])[0][:200]
