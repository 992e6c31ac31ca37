"""The environment variables that ``torchrun`` sets for each process of a run."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tsdsl.diagnostics import Diagnostic, DiagnosticError
from tsdsl.record import Record

#: Largest number of processes: torch counts them in 32 bits.
_MOST = 2**31 - 1
_HIGHEST_PORT = 65535


class RanksError(DiagnosticError, ValueError):
    """The processes of a run do not match, or their environment is inconsistent."""


class ProcessRank(Record):
    """The rank of this process among all ``world`` processes, and among those of its machine."""

    rank: int
    world: int
    local: int


def process_rank(environ: Mapping[str, str]) -> ProcessRank | None:
    """The rank of this process, or None for a single process (neither ``RANK`` nor ``WORLD_SIZE``
    is set). Raises `RanksError`."""
    missing = [name for name in ("RANK", "WORLD_SIZE") if name not in environ]
    local = _whole(environ, "LOCAL_RANK", 0, _MOST, 0)
    on_machine = processes_here(environ)
    if len(missing) == 2:
        return None
    if missing:
        there = "WORLD_SIZE" if missing == ["RANK"] else "RANK"
        raise _unusable(f"{there} is set, but {missing[0]} is not")
    world = _whole(environ, "WORLD_SIZE", 1, _MOST, 1)
    rank = _whole(environ, "RANK", 0, _MOST, 0)
    if rank >= world:
        raise _unusable(f"RANK is {rank}, but WORLD_SIZE is {world}: ranks are 0 to {world - 1}")
    if "LOCAL_WORLD_SIZE" in environ and local >= on_machine:
        raise _unusable(f"LOCAL_RANK is {local}, but LOCAL_WORLD_SIZE is {on_machine}")
    return ProcessRank(rank, world, local)


def check_meeting_point(environ: Mapping[str, str]) -> None:
    """Raise `RanksError` if the environment does not say where the processes meet."""
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        if not environ.get(name):
            raise _unusable(f"RANK and WORLD_SIZE are set, but {name} is not")
    if not re.fullmatch(r"[\w.:%-]+", environ["MASTER_ADDR"]):
        raise _unusable(f"MASTER_ADDR is {environ['MASTER_ADDR']!r}, not a host")
    _whole(environ, "MASTER_PORT", 1, _HIGHEST_PORT, 1)


def processes_here(environ: Mapping[str, str]) -> int:
    """Number of processes of the run on this machine. Raises `RanksError`."""
    return _whole(environ, "LOCAL_WORLD_SIZE", 1, _MOST, 1)


def _whole(environ: Mapping[str, str], name: str, least: int, most: int, otherwise: int) -> int:
    """The whole number in a variable, or ``otherwise`` if it is not set."""
    text = environ.get(name)
    if text is None:
        return otherwise
    if not re.fullmatch(r"[0-9]{1,10}", text) or not least <= int(text) <= most:
        limits = f"from {least} to {most}" if most < _MOST else f"from {least} on"
        shown = text if len(text) <= 40 else f"{text[:40]}..."
        raise _unusable(f"{name} is {shown!r}, not a whole number {limits}")
    return int(text)


def _unusable(message: str) -> RanksError:
    hint = "torchrun sets RANK, WORLD_SIZE and the rest; unset them for a single process"
    return RanksError([Diagnostic("E0829", message, help=hint)])
