"""The folder of a run.

run.json            identity of the run: network, data, recipe; has to match on resuming
model.py            the network as source that imports torch only
arch.json           its architecture, if the space has decisions
log.jsonl           one event per line
alpha.jsonl         of a search: the distribution over time
bad_videos.jsonl    videos that cannot be used, and why
checkpoints/        states that a run is resumed from
last.safetensors    weights of the newest checkpoint (the moving average, if there is one)
best.safetensors    weights of the checkpoint with the best score
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from time import time
from typing import Any, TextIO

import tsdsl
from tsdsl.diagnostics import Diagnostic, FileError, SpecError
from tsdsl.files import folder_failure, os_failure, read_lines, read_text, write_atomic
from tsdsl.training.checkpoint import Checkpoints
from tsdsl.training.fingerprint_diff import CONDITIONS, flat, short

RUN, LOG, ALPHA, BAD = "run.json", "log.jsonl", "alpha.jsonl", "bad_videos.jsonl"
FORMAT = "tsnet-run/1"
#: Bytes of the longest log or description that is read.
LONGEST = 1 << 31

#: Files of a run that would replace a user's files of the same names.
REPLACED = (
    *("checkpoints", LOG, BAD, "model.py", "arch.json", "alpha.jsonl", "distribution.json"),
    "candidates.jsonl",
    *(f"{name}.safetensors" for name in ("last", "best", "model", "supernet")),
)


class RunFolder:
    """The files of a run; opened by `open_folder`, on the first rank only."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.checkpoints = Checkpoints(self.at("checkpoints"))
        self._lines: dict[str, TextIO] = {}
        #: A warning for each log that had unreadable lines.
        self.warnings: list[Diagnostic] = []

    def at(self, name: str) -> str:
        return os.path.join(self.path, name)

    # ------------------------------------------------------------ description

    def describe(self, about: Mapping[str, Any], resume: bool) -> list[Diagnostic]:
        """Write ``run.json``. If the folder has a run with a state to lose, its identity has to be
        the same. Returns warnings for conditions that differ. Raises `SpecError`, `FileError`."""
        self._check_own()
        found = self.begun_as()
        warnings: list[Diagnostic] = []
        if found is not None:
            if not resume:
                message = "there is a run in this folder"
                hint = "--resume goes on with it; -o starts one in another folder"
                raise FileError([Diagnostic("E0808", message, file=self.path, help=hint)])
            old, new = (flat(part) for part in (found, about))
            differ = [key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)]
            changed = [
                f"{key} was {short(old.get(key))}, is {short(new.get(key))}" for key in differ
            ]
            grave = [
                text
                for key, text in zip(differ, changed, strict=True)
                if not key.startswith(CONDITIONS)
            ]
            if grave:
                message = "the run in this folder has other settings: " + "; ".join(grave[:6])
                more = f" (and {len(grave) - 6} more)" if len(grave) > 6 else ""
                hint = (
                    "resume it with its own settings, or start a new run in another folder with -o"
                )
                raise SpecError([Diagnostic("E0823", message + more, file=self.path, help=hint)])
            if changed:
                message = "this run goes on, but not bit for bit: " + "; ".join(changed)
                message = message.replace(f"{CONDITIONS}.", "")
                warnings.append(Diagnostic("W0972", message, file=self.path, severity="warning"))
        if found != about:
            write_atomic(self.at(RUN), json.dumps(about, indent=1) + "\n")
        return warnings

    def begun_as(self) -> dict[str, Any] | None:
        """The identity of the run in the folder, if the run has a state to lose. Raises
        `SpecError`, `FileError`."""
        return self._description() if self._begun() else None

    def _check_own(self) -> None:
        """Refuse a folder without a description that has files of a run's names: they are a user's,
        or belong to a run whose identity is lost."""
        if os.path.lexists(self.at(RUN)):
            return
        taken = [name for name in REPLACED if os.path.lexists(self.at(name))]
        if taken:
            message = (
                f"this folder has no {RUN}, but files that a run would replace: {', '.join(taken)}"
            )
            hint = "give another folder with -o"
            raise FileError([Diagnostic("E0808", message, file=self.path, help=hint)])

    def _begun(self) -> bool:
        """Whether the run in the folder has a state to lose: a checkpoint, or a log that is its
        state."""
        if self.checkpoints.steps():
            return True
        try:
            logged = os.path.getsize(self.at(LOG)) > 0
        except FileNotFoundError:
            return False
        except OSError as error:
            raise os_failure("E0803", "cannot be read", error, self.at(LOG)) from None
        # A description that cannot be read is an error, not a sign that nothing can be lost.
        found = self._description() if logged else None
        return found is not None and found.get("state") == LOG

    def _description(self) -> dict[str, Any] | None:
        if not os.path.exists(self.at(RUN)):
            return None
        try:
            found = json.loads(read_text(self.at(RUN), limit=LONGEST, what="run"))
            if not isinstance(found, dict) or found.get("format") != FORMAT:
                raise ValueError(f"its format is not {FORMAT}")
        except (ValueError, RecursionError) as bad:
            why = "it is nested too deep" if isinstance(bad, RecursionError) else bad
            message = f"this does not describe a run: {why}"
            raise SpecError([Diagnostic("E0823", message, file=self.at(RUN))]) from None
        return found

    def keep_network(self, space: tsdsl.Space, frozen: Mapping[str, Any] | None) -> None:
        """Write ``model.py`` and ``arch.json``."""
        write_atomic(self.at("model.py"), tsdsl.emit(space, frozen))
        if frozen:
            tsdsl.Architecture(frozen, space.name, space.hash).save(self.at("arch.json"))

    # ------------------------------------------------------------ log

    def open_log(self, step: int) -> None:
        """Open the log, to continue it after ``step``. Lines of later steps, which a killed run has
        left and which will be repeated, are removed; so are incomplete lines and the line for the
        end of a finished run."""
        self.open_lines(LOG, step)

    def open_lines(self, name: str, step: int, head: Mapping[str, Any] | None = None) -> list[Any]:
        """Open a file of JSON lines that have a ``step``, as `open_log` does. Returns the lines
        that are kept. ``head`` is the first line, which has no ``step``."""
        path = self.at(name)
        kept, found = [] if head is None else [json.dumps(head) + "\n"], []
        if os.path.exists(path):
            lines, bad = read_lines(path, limit=LONGEST, what="log")
            if bad:
                message = f"{bad} of its lines are not text, as after a power cut; they are removed"
                self.warnings.append(Diagnostic("W0985", message, file=path, severity="warning"))
            for line in lines:
                value = _parsed(line)
                if value is None:
                    continue
                ended = value.get("event") == "end" and not value.get("interrupted")
                if value["step"] <= step and not ended:
                    kept.append(line + "\n")
                    found.append(value)
        write_atomic(path, kept)
        try:
            self._lines[name] = open(path, "a", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise os_failure("E0807", "cannot write", error, path) from None
        return found

    def log(self, event: str, step: int, **values: Any) -> None:
        self.append(LOG, {"event": event, "step": step, "time": round(time(), 3), **values})

    def append(self, name: str, value: Mapping[str, Any]) -> None:
        """Append a line to a file that `open_lines` has opened."""
        try:
            self._lines[name].write(json.dumps(value) + "\n")
            self._lines[name].flush()
        except OSError as error:
            raise os_failure("E0807", "cannot write", error, self.at(name)) from None

    def sync(self) -> None:
        """Sync the logs to the disk. Called before each checkpoint, so that a checkpoint's steps
        are logged."""
        for name, file in self._lines.items():
            try:
                file.flush()
                os.fsync(file.fileno())
            except OSError as error:
                raise os_failure("E0807", "cannot write", error, self.at(name)) from None

    def close(self) -> None:
        for file in self._lines.values():
            with suppress(OSError):
                file.close()

    # ------------------------------------------------------------ weights

    def publish(self, name: str, source: str) -> None:
        """Let ``name`` be the weights in a checkpoint's file, by a hard link or a copy."""
        target, temporary = self.at(name), self.at(f".{name}.tmp")
        try:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
            try:
                os.link(source, temporary)
            except OSError:
                # The file system may have no hard links.
                with open(source, "rb") as file:
                    write_atomic(target, file.read())
                return
            os.replace(temporary, target)
            # Renaming one of two hard links of a file onto the other leaves both.
            with suppress(FileNotFoundError):
                os.unlink(temporary)
        except OSError as error:
            raise os_failure("E0807", "cannot write", error, target) from None


def _parsed(line: str) -> dict[str, Any] | None:
    """A line of a log as an object with a whole ``step``; None for a line that was cut off."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and type(value.get("step")) is int else None


@contextmanager
def open_folder(path: str) -> Iterator[RunFolder]:
    """Open the folder of a run, locked for this process. Raises `FileError`."""
    try:
        os.makedirs(path, exist_ok=True)
        lock = open(os.path.join(path, ".lock"), "a", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise folder_failure(error, path) from None
    with lock:
        _lock(lock, path)
        folder = RunFolder(path)
        try:
            yield folder
        finally:
            folder.close()


def _lock(file: TextIO, path: str) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        message = "another process is training in this folder"
        hint = "wait for it, or start another run with -o"
        raise FileError([Diagnostic("E0808", message, file=path, help=hint)]) from None
    except OSError:
        # The file system has no locks.
        return
