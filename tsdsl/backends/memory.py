"""The memory that a call takes at its peak, above what was there before.

Counted is what torch allocates for tensors: results, the maps between operations, and the scratch
memory that kernels ask torch's allocator for. Weights and inputs are there before. Not counted are
the code, what libraries allocate behind torch's back (oneDNN its scratch memory, CUDA its context),
and what an allocator keeps in stock.

- CUDA: `torch.cuda.max_memory_allocated`.
- CPU: the running sum of all allocations and releases that the profiler records, which it does for
  the thread of the caller. The resident memory of the process was tried too: from one call to the
  next it varies by a third with what malloc keeps, and it never shows what one network takes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import Any

import torch


def peak_memory(
    call: Callable[[], Any],
    device: torch.device,
    *,
    one_thread: bool = True,
    inference: bool = True,
) -> int:
    """Bytes. ``call`` has to be warm: what its first call allocates for good would count too.

    ``one_thread``: on the CPU, the call runs with one thread, since what others allocate (the
    scratch memory of their share of a convolution) is not recorded. ``inference``: without graphs;
    if not, the call may have backward passes, which are counted too.
    """
    with torch.inference_mode(inference):
        if device.type == "cuda":
            return _on_cuda(call, device)
        with _threads(1 if one_thread else torch.get_num_threads()):
            return _on_cpu(call)


def _on_cuda(call: Callable[[], Any], device: torch.device) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    result = call()
    torch.cuda.synchronize(device)
    peak = int(torch.cuda.max_memory_allocated(device)) - before
    del result
    return peak


def _on_cpu(call: Callable[[], Any]) -> int:
    # Otherwise the profiler's library says on standard error that it starts and stops.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    with torch.autograd.profiler.profile(profile_memory=True) as profile:
        result = call()
    del result
    recorded: Any = profile.kineto_results
    events = [event for event in recorded.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return max(accumulate((int(event.nbytes()) for event in events), initial=0))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
