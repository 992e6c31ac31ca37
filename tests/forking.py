"""Commands and programs in a fork of this process, which has imported what they need.

A test that starts an interpreter waits for its imports (of torch, some seconds) more than for what
it tests. A fork has a process's own working directory, environment, streams, limits and exit code;
it differs in that modules are imported already and caches are warm. What depends on a fresh
interpreter (which modules a command imports, hash seeds, signals to a group) starts one.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

#: Where the generator of torch stands in a fresh interpreter.
FRESH_SEED = 67280421310721


def command(arguments: Sequence[str], cwd: Path, **how: Any) -> subprocess.CompletedProcess[str]:
    """Run ``tsdsl ARGUMENTS`` as `run_forked` does."""
    _prepare()
    return run_forked(command_main(arguments), cwd, **how)


def program(text: str, cwd: Path, **how: Any) -> subprocess.CompletedProcess[str]:
    """Run ``python -c TEXT`` as `run_forked` does."""
    return run_forked(program_main(text), cwd, **how)


def command_main(arguments: Sequence[str]) -> Callable[[], None]:
    """What ``tsdsl ARGUMENTS`` does in its process."""

    def main() -> None:
        from tsdsl.cli.__main__ import main

        sys.argv = ["tsdsl", *arguments]
        main()

    return main


def program_main(text: str, *arguments: str) -> Callable[[], None]:
    """What ``python -c TEXT ARGUMENTS`` does in its process."""

    def main() -> None:
        sys.argv = ["-c", *arguments]
        sys.path.insert(0, "")
        exec(compile(text, "<string>", "exec"), {"__name__": "__main__"})

    return main


@cache
def _prepare() -> None:
    """Import the compiler, and read its grammar and its standard library, in this process."""
    import tsdsl
    import tsdsl.cli.verbs.check

    tsdsl.check(Path(__file__).parents[1] / "specs" / "x3d_xs.tsnet")


def run_forked(
    main: Callable[[], None],
    cwd: Path,
    *,
    env: Mapping[str, str] | None = None,
    merged: bool = False,
    seconds: int = 600,
    cpu_seconds: int | None = None,
    further_bytes: int | None = None,
) -> subprocess.CompletedProcess[str]:
    """Call `main` in a fork, and return its exit code and output.

    `env` is added to the environment; `merged` puts both outputs into one, in their order.
    A signal ends the fork after `seconds` of wall-clock or `cpu_seconds` of CPU time; it can have
    `further_bytes` of address space beside those that this process has.
    """

    def limit() -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(seconds)
        if cpu_seconds is not None:
            resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
        if further_bytes is not None:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limit = pages * resource.getpagesize() + further_bytes
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    return _Fork(main, cwd, env or {}, merged, limit).finish()


def run_ranks(
    mains: Sequence[Callable[[], None]], cwd: Path, seconds: int = 600
) -> list[subprocess.CompletedProcess[str]]:
    """Call each of `mains` in a fork. They are the ranks of one group, as torchrun starts them.

    A single one is started without a group.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(len(mains))}

    def limit() -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(seconds)

    forks = []
    for rank, main in enumerate(mains):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        env = common | own if len(mains) > 1 else {}
        forks.append(_Fork(main, cwd, env, False, limit))
    return [fork.finish() for fork in forks]


class _Fork:
    """A child that was started, and the files with its output."""

    def __init__(
        self,
        main: Callable[[], None],
        cwd: Path,
        env: Mapping[str, str],
        merged: bool,
        limit: Callable[[], None],
    ) -> None:
        # `finish` closes them.
        self.out, self.err = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115
        sys.stdout.flush()
        sys.stderr.flush()
        self.child = os.fork()
        if self.child == 0:
            code = 70
            try:
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(self.out.fileno(), 1)
                os.dup2((self.out if merged else self.err).fileno(), 2)
                limit()
                _refresh(cwd, env)
                code = _exit_code(main)
            finally:
                os._exit(code)

    def finish(self) -> subprocess.CompletedProcess[str]:
        code = os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])
        texts = []
        for file in (self.out, self.err):
            with file:
                file.seek(0)
                texts.append(file.read().decode())
        return subprocess.CompletedProcess([], code, *texts)


def _refresh(cwd: Path, env: Mapping[str, str]) -> None:
    """Undo what pytest and earlier tests changed of an interpreter."""
    os.chdir(cwd)
    os.environ.update(env)
    sys.stdin = os.fdopen(0, closefd=False)
    # By lines, as on a terminal: the outputs of a command are in the order of its statements.
    sys.stdout = os.fdopen(1, "w", closefd=False, buffering=1)
    sys.stderr = os.fdopen(2, "w", closefd=False, buffering=1)
    # An interpreter keeps its first streams: a command may put others over their buffers, which
    # would be closed with them.
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr
    warnings.showwarning = _show_warning
    random.seed()
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(FRESH_SEED)
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object
) -> None:
    sys.stderr.write(warnings.formatwarning(message, category, filename, lineno))


def _exit_code(main: Callable[[], None]) -> int:
    """What an interpreter would end with after the call."""
    code: object = 0
    try:
        main()
    except SystemExit as leaving:
        code = leaving.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else 0 if code is None else 1
