"""Runs in forks, which need not import everything anew, and which are killed."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable


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


def finished(run: Callable[[], None]) -> float:
    """Run to the end; seconds."""
    start = time.monotonic()
    child = forked(run)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return time.monotonic() - start


def killed(run: Callable[[], None], seconds: float, draw: random.Random) -> None:
    """Kill -9 at a random moment of that time."""
    child = forked(run)
    time.sleep(draw.uniform(0, seconds))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
