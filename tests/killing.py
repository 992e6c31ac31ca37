"""Runs in forks, which need not import everything anew, and which are killed.

Moments are drawn by what a run has done, counted in its accesses to its own folder, and not by the
clock: a machine that has much else to do would kill all runs before they came to anything.
"""

from __future__ import annotations

import mmap
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

Run = Callable[[Path], None]


def forked(run: Callable[[], None]) -> int:
    """A child that runs."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            run()
            code = 0
        except BaseException as error:
            print(repr(error), file=sys.stderr)
        finally:
            os._exit(code)
    return child


def ended(child: int) -> int:
    """Its exit code, or the signal that ended it as a negative number."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def signal_at(owner: type, method: str, call: int, number: int) -> None:
    """This process sends itself a signal in that call (from 1) of a method."""
    called, calls = getattr(owner, method), count(1)

    def one(self: object, *arguments: object) -> object:
        if next(calls) == call:
            os.kill(os.getpid(), number)
        return called(self, *arguments)

    setattr(owner, method, one)


@dataclass
class Killer:
    """Kill -9 at random moments of ``run``, of which ``whole`` is measured first.

    A moment is an access to the run's folder (open, rename, remove, mkdir) and up to as long after
    it as one of them took on average, so that a kill comes between them and within them.
    """

    run: Run
    seed: int
    share: float = 1.0  # of a whole run: later moments are not drawn
    accesses: int = field(init=False)
    seconds: float = field(init=False)

    def whole(self, folder: Path) -> None:
        """A run to its end, which says how long one is."""
        self._draw = random.Random(self.seed)
        with mmap.mmap(-1, 8) as shared:

            def counted() -> None:
                def note(number: int) -> None:
                    shared[:] = number.to_bytes(8, "little")

                _on_access(folder, note)
                self.run(folder)

            start = time.monotonic()
            assert ended(forked(counted)) == 0
            self.seconds = time.monotonic() - start
            self.accesses = int.from_bytes(shared[:], "little")
        assert self.accesses > 10

    def kill(self, folder: Path) -> bool:
        """Whether it was killed: a run that goes on may be at its end before."""
        moment = self._draw.randrange(round(self.accesses * self.share))
        after = self._draw.uniform(0, self.seconds / self.accesses)

        def doomed() -> None:
            def die(number: int) -> None:
                if number == moment:
                    timer = threading.Timer(after, os.kill, (os.getpid(), signal.SIGKILL))
                    timer.daemon = True
                    timer.start()

            _on_access(folder, die)
            die(0)
            self.run(folder)

        code = ended(forked(doomed))
        assert code in (0, -signal.SIGKILL)
        return code != 0

    def finish(self, folder: Path) -> None:
        """The same run, to its end."""
        assert ended(forked(lambda: self.run(folder))) == 0


def _on_access(folder: Path, tell: Callable[[int], None]) -> None:
    """Tell the number of each access of this process to what is in a folder."""
    process, inside, number = os.getpid(), os.fsencode(folder), 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal number
        if event not in ("open", "os.rename", "os.remove", "os.mkdir") or os.getpid() != process:
            return
        path = arguments[0]
        if isinstance(path, str | bytes | os.PathLike) and os.fsencode(path).startswith(inside):
            number += 1
            tell(number)

    sys.addaudithook(hook)
