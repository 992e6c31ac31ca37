"""The processes of a run: one alone, or those that ``torchrun`` starts on one or more machines."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from tsdsl.diagnostics import Diagnostic, DiagnosticError, SpecError
from tsdsl.record import Record
from tsdsl.training import fingerprint_diff
from tsdsl.training.torchrun import RanksError, check_meeting_point, process_rank

T = TypeVar("T")

#: Longest time that a rank waits for the others, which may be evaluating or writing files.
PATIENCE = timedelta(minutes=60)

#: Errors of gloo and NCCL for a process that has ended.
_GONE = re.compile(r"(closed|reset) by peer|broken pipe|remote process exited|NCCL.*abort", re.I)


class LostRank(DiagnosticError, RuntimeError):
    """Another process of the run has ended, which ends this one, too."""


def lost_rank(bad: BaseException) -> Diagnostic | None:
    """The finding for an error that means that another process has ended; None for other errors."""
    if not isinstance(bad, RuntimeError) or not _GONE.search(str(bad)):
        return None
    hint = "its own message says why; a run needs all of its processes"
    return Diagnostic("E0827", "another process of this run has ended", help=hint)


@contextmanager
def together() -> Iterator[None]:
    """Enclose communication between all ranks. Raises `LostRank` if one of them has ended."""
    try:
        yield
    except RuntimeError as bad:
        if (lost := lost_rank(bad)) is None:
            raise
        raise LostRank([lost]) from None


class Ranks(Record):
    """This process among the processes of the run. With ``world`` 1, nothing is communicated."""

    rank: int
    world: int
    device: torch.device

    @classmethod
    def alone(cls, device: str | torch.device = "cpu") -> Ranks:
        return cls(0, 1, _device(str(device), 0, 1))

    @classmethod
    @contextmanager
    def of(cls, device: str | None = None) -> Iterator[Ranks]:
        """The processes that the environment describes: torchrun's ``RANK``, ``WORLD_SIZE`` and
        ``LOCAL_RANK``, or a single process.

        ``device``: "cpu", "cuda" (one GPU per local rank) or "cuda:N"; None for a GPU if there is
        one. Raises `SpecError` for a device that cannot be used, and `RanksError` if the
        environment is inconsistent or the processes do not find each other.
        """
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        here = process_rank(os.environ)
        if here is None:
            yield cls.alone(device)
            return
        outer = dist.is_initialized()
        if not outer:
            check_meeting_point(os.environ)
        found = _device(device, here.local, here.world)
        if not outer:
            _meet("nccl" if found.type == "cuda" else "gloo")
        try:
            yield cls(here.rank, here.world, found)
        finally:
            if not outer:
                dist.destroy_process_group()

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files and prints."""
        return self.rank == 0

    def gather(self, own: T) -> list[T]:
        """The values of all ranks, by rank, on every rank. They have to be picklable."""
        if self.world == 1:
            return [own]
        found: list[Any] = [None] * self.world
        with together():
            dist.all_gather_object(found, own)
        return found

    @contextmanager
    def agree(self) -> Iterator[dict[str, Any]]:
        """Enclose what each rank prepares by itself, so that either all ranks continue or none.

        The block gets a dict, into which it writes what has to be the same on all ranks. Nested
        mappings are compared leaf by leaf; ``conditions`` are not compared. The block must not
        communicate. If the dicts differ, all ranks raise `RanksError`. If the block raises a
        `DiagnosticError` on some ranks, the others raise `LostRank`.
        """
        own: dict[str, Any] = {}
        if self.world == 1:
            yield own
            return
        try:
            yield own
        except DiagnosticError as error:
            # The other ranks are waiting for this one. If they have ended, this rank's finding is
            # still the one to report.
            with suppress(LostRank):
                self.gather((own, [found.message for found in error.diagnostics]))
            raise
        answers = self.gather((own, list[str]()))
        failed = [f"rank {at}: {why[0]}" for at, (_, why) in enumerate(answers) if why]
        if failed:
            message = "another process of this run cannot begin; " + "; ".join(failed[:3])
            hint = "all processes of a run need the same command and the same files"
            raise LostRank([Diagnostic("E0827", message, help=hint)])
        differ = fingerprint_diff.between_ranks([description for description, _ in answers])
        if differ:
            more = f" (and {len(differ) - 3} more ranks)" if len(differ) > 3 else ""
            message = "the processes of this run differ: "
            message += "; ".join(differ[:3]) + more
            hint = "start all processes with the same command on the same files"
            raise RanksError([Diagnostic("E0828", message, help=hint)])

    def broadcast(self, own: T) -> T:
        """The value of the first rank, on every rank."""
        if self.world == 1:
            return own
        found: list[Any] = [own]
        with together():
            dist.broadcast_object_list(found, device=self.device)
        return found[0]  # type: ignore[no-any-return]

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of a tensor over all ranks, in place."""
        if self.world > 1:
            with together():
                dist.all_reduce(tensor)
        return tensor

    def share(self, tensor: Tensor) -> None:
        """Overwrite a tensor on all ranks by that of the first one."""
        if self.world > 1:
            with together():
                dist.broadcast(tensor, 0)

    def barrier(self) -> None:
        if self.world > 1:
            with together():
                dist.barrier()


def _meet(backend: str) -> None:
    """Wait until all processes of the run are connected. Raises `RanksError`, `LostRank`."""
    try:
        dist.init_process_group(backend, timeout=PATIENCE)
    except (RuntimeError, ValueError) as bad:
        if (lost := lost_rank(bad)) is not None:
            raise LostRank([lost]) from None
        address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        message = f"the processes of this run do not meet at {address}: {_first_line(bad)}"
        hint = "MASTER_ADDR and MASTER_PORT are the host of rank 0 and a free port there"
        raise RanksError([Diagnostic("E0829", message, help=hint)]) from None


def _device(name: str, local: int, world: int) -> torch.device:
    """The device of a local rank. Raises `SpecError` if it cannot be used."""
    try:
        device = torch.device(name)
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", local)
        elif device.type == "cuda" and world > 1:
            raise _unusable(name, "several processes cannot share one GPU: ask for 'cuda'")
        # torch raises AssertionError if it was built without CUDA.
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as bad:
        raise _unusable(name, _first_line(bad)) from None
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def _unusable(device: str, why: str) -> SpecError:
    message = f"device '{device}' cannot be used: {why}"
    hint = "--device cpu runs on the processor"
    return SpecError([Diagnostic("E0726", message, help=hint)])


def _first_line(bad: BaseException) -> str:
    return (str(bad).strip().splitlines() or [type(bad).__name__])[0][:200]


def use_threads(threads: int | None) -> None:
    """Set the number of threads of this process; None leaves torch's default."""
    if threads is not None:
        torch.set_num_threads(threads)


def without_storage() -> torch.device:
    """A context in which modules are made without memory for their tensors."""
    return torch.device("meta")
