"""The processes of a run: one alone, or those that ``torchrun`` starts, on one machine or many."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from tsdsl.diagnostics import Diagnostic, DiagnosticError, SpecError
from tsdsl.record import Record

T = TypeVar("T")

#: How long a rank waits for the others: a rank that evaluates or writes keeps them waiting.
PATIENCE = timedelta(minutes=60)

#: What gloo and NCCL say where another process is there no more.
_GONE = re.compile(r"(closed|reset) by peer|broken pipe|remote process exited|NCCL.*abort", re.I)


class LostRank(DiagnosticError, RuntimeError):
    """Another process of the run has ended, and with it this one."""


def lost_rank(bad: BaseException) -> Diagnostic | None:
    """What it means if another process does not answer any more."""
    if not isinstance(bad, RuntimeError) or not _GONE.search(str(bad)):
        return None
    hint = "it says why; with torchrun, all go on or none"
    return Diagnostic("E0827", "another process of this run has ended", help=hint)


@contextmanager
def together() -> Iterator[None]:
    """Around what all ranks do at once. Raises `LostRank` where one is there no more."""
    try:
        yield
    except RuntimeError as bad:
        if (lost := lost_rank(bad)) is None:
            raise
        raise LostRank([lost]) from None


class Ranks(Record):
    """This process among those of the run. ``world`` 1 needs no communication at all."""

    rank: int
    world: int
    device: torch.device

    @classmethod
    def alone(cls, device: str | torch.device = "cpu") -> Ranks:
        return cls(0, 1, _device(str(device), 0, 1))

    @classmethod
    @contextmanager
    def of(cls, device: str | None = None) -> Iterator[Ranks]:
        """What the environment says: torchrun's ``RANK``, ``WORLD_SIZE`` and ``LOCAL_RANK``, or one
        process. ``device``: "cpu", "cuda" (a GPU for each local rank) or "cuda:N"; left out, GPUs
        where there are any. Raises `SpecError` for a device that cannot be used."""
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
            yield cls.alone(device)
            return
        rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        local = int(os.environ.get("LOCAL_RANK", "0"))
        found = _device(device, local, world)
        outer = dist.is_initialized()
        if not outer:
            backend = "nccl" if found.type == "cuda" else "gloo"
            dist.init_process_group(backend, timeout=PATIENCE)
        try:
            yield cls(rank, world, found)
        finally:
            if not outer:
                dist.destroy_process_group()

    @property
    def is_first(self) -> bool:
        """Whether this one writes files and prints."""
        return self.rank == 0

    def gather(self, own: T) -> list[T]:
        """What every rank has, by rank, on every rank. Anything that can be pickled."""
        if self.world == 1:
            return [own]
        found: list[Any] = [None] * self.world
        with together():
            dist.all_gather_object(found, own)
        return found

    def broadcast(self, own: T) -> T:
        """What the first rank has."""
        if self.world == 1:
            return own
        found: list[Any] = [own]
        with together():
            dist.broadcast_object_list(found, device=self.device)
        return found[0]  # type: ignore[no-any-return]

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over ranks, in place."""
        if self.world > 1:
            with together():
                dist.all_reduce(tensor)
        return tensor

    def share(self, tensor: Tensor) -> None:
        """Give all ranks what the first one has, in place."""
        if self.world > 1:
            with together():
                dist.broadcast(tensor, 0)

    def barrier(self) -> None:
        if self.world > 1:
            with together():
                dist.barrier()


def _device(name: str, local: int, world: int) -> torch.device:
    """The device of a local rank. Raises `SpecError`."""
    try:
        device = torch.device(name)
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", local)
        elif device.type == "cuda" and world > 1:
            raise RuntimeError("several processes cannot share one GPU: ask for 'cuda'")
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as bad:
        first = (str(bad).strip().splitlines() or ["?"])[0]
        message = f"device '{name}' cannot be used: {first}"
        hint = "--device cpu runs on the processor"
        raise SpecError([Diagnostic("E0726", message, help=hint)]) from None
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def use_threads(threads: int | None) -> None:
    """Threads of the processor that this process uses from now on; torch's choice if None."""
    if threads is not None:
        torch.set_num_threads(threads)


def without_storage() -> torch.device:
    """A context in which modules are made without memory."""
    return torch.device("meta")
