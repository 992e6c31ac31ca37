"""Checkpoints of a run on disk.

A checkpoint is a folder that exists whole or not at all: it is written under a temporary name,
synced to the disk, and then renamed. It contains

    weights.safetensors    the network's `state_dict`
    average.safetensors    its moving average, if the recipe has one
    training.pt            everything else, readable by `torch.load(weights_only=True)`
    contents.json          a digest of each of these files

The newest ``KEPT`` checkpoints are kept. If the disk damages one, the run can resume from the
other.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from tsdsl.diagnostics import Diagnostic, FileError, SpecError
from tsdsl.files import os_failure, read_text, sync_folder
from tsdsl.record import Record, factory
from tsdsl.training.torch_errors import first_line, out_of_memory
from tsdsl.weights.weight_files import WeightsError
from tsdsl.weights.weight_files import load as load_weights
from tsdsl.weights.weight_files import save as save_weights

KEPT = 2
WEIGHTS, AVERAGE, TRAINING, CONTENTS = (
    "weights.safetensors",
    "average.safetensors",
    "training.pt",
    "contents.json",
)
_FILES = frozenset((WEIGHTS, AVERAGE, TRAINING))
_NAME = re.compile(r"step-(\d{8,})")


class State(Record):
    """The state that a run is resumed from. ``average`` is None if the recipe has no moving
    average."""

    step: int
    weights: Mapping[str, Tensor]
    average: Mapping[str, Tensor] | None
    #: Plain values and tensors, in dicts and lists.
    training: dict[str, Any]
    #: Metadata of the weights' file.
    about: Mapping[str, str] = factory(default_factory=dict[str, str])

    def entry(self, name: str) -> Any:
        """The value of ``name`` in ``training``. Raises `StateMismatch` if there is none."""
        if name not in self.training:
            raise StateMismatch(f"it has no entry '{name}'")
        return self.training[name]


class StateMismatch(Exception):
    """A checkpoint's state belongs to another network or recipe than the run that reads it."""


class SpoiledCheckpoint(Exception):
    """A checkpoint's files are not what was written."""


@contextmanager
def restoring(state: State) -> Iterator[None]:
    """Turn a `StateMismatch` of the block, which restores a run from ``state``, into a `SpecError`.

    Nothing else is caught. Any other exception of the block is a fault of this package, and must
    not read as advice to begin anew.
    """
    try:
        yield
    except StateMismatch as bad:
        message = f"the checkpoint of step {state.step} is not one of this network, or recipe"
        hint = f"start a new run in another folder with -o; {bad}"
        raise SpecError([Diagnostic("E0823", message, help=hint)]) from None


def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load a module's `state_dict`. Raises `StateMismatch` before anything is changed, if names or
    shapes are not the module's."""
    own = module.state_dict()
    for name in dict.fromkeys([*own, *tensors]):
        if name not in tensors:
            raise StateMismatch(f"it has no tensor '{name}'")
        if name not in own:
            raise StateMismatch(f"it has a tensor '{name}', the network has none")
        if own[name].shape != tensors[name].shape:
            shapes = f"{tuple(tensors[name].shape)}, the network's is {tuple(own[name].shape)}"
            raise StateMismatch(f"its '{name}' is {shapes}")
    module.load_state_dict(dict(tensors))


def load_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Load an optimizer's `state_dict`. Raises `StateMismatch` before anything is changed, if its
    groups have other numbers of parameters."""
    own = [len(group["params"]) for group in optimizer.param_groups]
    given = [len(group["params"]) for group in saved["param_groups"]]
    if own != given:
        raise StateMismatch(f"its optimizer has groups of {given} parameters, this one of {own}")
    optimizer.load_state_dict(dict(saved))


class Checkpoints:
    """The checkpoints in ``folder``, which is created when the first one is written."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def path(self, step: int) -> str:
        return os.path.join(self.folder, f"step-{step:08d}")

    def steps(self) -> list[int]:
        """Step numbers of all checkpoints, ascending."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise os_failure("E0803", "cannot be read", error, self.folder) from None
        return sorted(int(match[1]) for name in names if (match := _NAME.fullmatch(name)))

    def save(self, state: State, about: Mapping[str, str]) -> str:
        """Write a checkpoint and return its path; all but the newest ``KEPT`` are removed.
        ``about`` is metadata for the file of weights. Raises `FileError`, after which the earlier
        checkpoints are intact."""
        final = self.path(state.step)
        temporary = os.path.join(self.folder, f".step-{state.step}-{os.getpid()}.tmp")
        try:
            os.makedirs(self.folder, exist_ok=True)
            self._clear()
            os.mkdir(temporary)
            _write(temporary, state, about)
            if os.path.isdir(final):
                # An unreadable checkpoint of the same step, which `newest` has passed over.
                self._remove(state.step)
            os.rename(temporary, final)
            sync_folder(self.folder)
            for old in self.steps()[:-KEPT]:
                self._remove(old)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            if isinstance(error, FileError):
                raise
            raise os_failure("E0807", "cannot write this checkpoint", error, final) from None
        self._clear()
        return final

    def newest(self) -> tuple[State | None, list[Diagnostic]]:
        """The newest checkpoint that can be read, or None if there is none, with a warning for each
        newer one. Raises `FileError` if there are checkpoints and none can be read."""
        spoiled: list[Diagnostic] = []
        for step in reversed(self.steps()):
            try:
                return _read(self.path(step), step), spoiled
            except (SpoiledCheckpoint, FileError, WeightsError) as error:
                message = f"this checkpoint cannot be read: {first_line(error)}"
                spoiled.append(
                    Diagnostic("W0971", message, file=self.path(step), severity="warning")
                )
        if spoiled:
            message = f"none of {len(spoiled)} checkpoints can be read"
            hint = "start a new run in another folder"
            raise FileError([*spoiled, Diagnostic("E0823", message, file=self.folder, help=hint)])
        return None, []

    def _remove(self, step: int) -> None:
        """Take a checkpoint's name from it before it is deleted, so that an incomplete one never
        has a valid name."""
        os.rename(self.path(step), os.path.join(self.folder, f".step-{step}-{os.getpid()}.old.tmp"))

    def _clear(self) -> None:
        """Delete checkpoints without a valid name: removed ones, and those of a process that was
        killed."""
        with suppress(OSError):
            for name in os.listdir(self.folder):
                if name.startswith(".step-") and name.endswith(".tmp"):
                    shutil.rmtree(os.path.join(self.folder, name), ignore_errors=True)


def _write(folder: str, state: State, about: Mapping[str, str]) -> None:
    about = {**about, **state.about}
    save_weights(os.path.join(folder, WEIGHTS), state.weights, about)
    names = [WEIGHTS, TRAINING]
    if state.average is not None:
        save_weights(os.path.join(folder, AVERAGE), state.average, about)
        names.append(AVERAGE)
    with open(os.path.join(folder, TRAINING), "wb") as file:
        try:
            torch.save(state.training, file)
        except RuntimeError as bad:
            # torch.save reports a failed write by a RuntimeError, raised while it handles the
            # OSError.
            if isinstance(bad.__context__, OSError):
                raise bad.__context__ from None
            raise
        file.flush()
        os.fsync(file.fileno())
    digests = {name: _digest(os.path.join(folder, name)) for name in names}
    with open(os.path.join(folder, CONTENTS), "w", encoding="utf-8") as file_:
        json.dump({"format": "tsnet-checkpoint/1", "step": state.step, "blake2b": digests}, file_)
        file_.flush()
        os.fsync(file_.fileno())
    sync_folder(folder)


def _read(folder: str, step: int) -> State:
    """The state in a checkpoint's folder. Raises `SpoiledCheckpoint`, `FileError`, `WeightsError`
    for files that are missing, damaged or cannot be read; see `Checkpoints.newest`."""
    digests = _digests(os.path.join(folder, CONTENTS))
    for name, digest in digests.items():
        file = os.path.join(folder, name)
        # A pipe is no regular file either: reading it would wait for a writer.
        if not os.path.isfile(file) or _digest(file) != digest:
            raise SpoiledCheckpoint(f"{name} is not what was written")
    training = _load_training(os.path.join(folder, TRAINING))
    average = None
    if AVERAGE in digests:
        average = load_weights(os.path.join(folder, AVERAGE)).tensors
    weights = load_weights(os.path.join(folder, WEIGHTS))
    return State(step, weights.tensors, average, training, weights.about)


def _digests(path: str) -> dict[str, str]:
    """File name -> digest, from a table of contents."""
    text = read_text(path, what="table of contents")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    digests = found.get("blake2b") if isinstance(found, dict) else None
    if not isinstance(digests, dict) or not {WEIGHTS, TRAINING} <= digests.keys() <= _FILES:
        raise SpoiledCheckpoint(f"{CONTENTS} is not what was written")
    return digests


def _load_training(path: str) -> dict[str, Any]:
    try:
        training = torch.load(path, map_location="cpu", weights_only=True)
    except (
        *(OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError),
        *(RuntimeError, UnpicklingError),
    ) as error:
        # torch documents no error for a damaged file: its unpickler raises any of these. A lack of
        # memory says nothing about the file, which must not be passed over for it.
        if out_of_memory(error):
            raise
        raise SpoiledCheckpoint(first_line(error)) from None
    if not isinstance(training, dict):
        raise SpoiledCheckpoint(f"{TRAINING} has no state of a training")
    return training


def _digest(path: str) -> str:
    """The BLAKE2b digest of a file, as hexadecimal digits."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise os_failure("E0803", "cannot be read", error, path) from None
