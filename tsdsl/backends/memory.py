"""Peak memory of a call, in bytes above what was allocated before it.

Counted are all tensors that torch allocates during the call: results, activations, and the
workspaces that kernels request from torch's allocator. Not counted are weights and inputs, which
exist before; the code; what libraries allocate outside of torch's allocator (workspaces of oneDNN,
the CUDA context); and what an allocator caches.

- CUDA: `torch.cuda.max_memory_allocated`.
- CPU: the running sum of the allocations and releases that the profiler records, which it does for
  the calling thread only. The resident memory of the process is no substitute: it varies by a third
  from call to call with what malloc caches, and never shows the need of one network.
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
    """Peak memory in bytes. ``call`` has to be warmed up, since allocations that its first call
    makes once would be counted.

    ``one_thread``: run the call with one thread on the CPU, because allocations of other threads
    (workspaces of their share of a convolution) are not recorded. ``inference``: run in inference
    mode; otherwise the call may run backward passes, which are counted.
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
    # Without it, the profiler's library logs its start and stop to standard error.
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
