"""TensorBoard: what a run tells, as curves and images beside its log."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsdsl.diagnostics import Diagnostic, SpecError
from tsdsl.files import os_failure


class TensorBoardWriter:
    """Writes to a folder, and takes back what an earlier part of the run wrote after ``step``.

    Raises `SpecError` where TensorBoard is not installed, `FileError` where it cannot be written.
    """

    def __init__(self, folder: str, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            message = "TensorBoard is not installed"
            hint = "pip install tensorboard"
            raise SpecError([Diagnostic("E0821", message, help=hint)]) from None
        self.folder = folder
        before = set(threading.enumerate())
        try:
            self._writer: Any = SummaryWriter(folder, purge_step=step + 1 if step else None)
        except OSError as error:
            raise os_failure("E0807", "cannot write", error, folder) from None
        # What a thread of its own cannot write, the next call raises: no traceback beside it.
        self._threads = set(threading.enumerate()) - before
        self._hook = threading.excepthook
        threading.excepthook = self._failed

    def _failed(self, told: Any) -> None:
        if told.thread not in self._threads or not isinstance(told.exc_value, OSError):
            self._hook(told)

    def scalars(self, group: str, values: Mapping[str, float | None], step: int) -> None:
        """Each value under ``group/name``; None is no point."""
        try:
            for name, value in values.items():
                if value is not None:
                    self._writer.add_scalar(f"{group}/{name}", value, step)
        except OSError as error:
            raise os_failure("E0807", "cannot write", error, self.folder) from None

    def image(self, name: str, image_HWC: NDArray[np.uint8], step: int) -> None:
        try:
            self._writer.add_image(name, image_HWC, step, dataformats="HWC")
        except OSError as error:
            raise os_failure("E0807", "cannot write", error, self.folder) from None

    def close(self) -> None:
        """What could not be written until now is not written."""
        try:
            self._writer.close()
        except OSError:
            return
        finally:
            if threading.excepthook == self._failed:
                threading.excepthook = self._hook
