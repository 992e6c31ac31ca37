"""TensorBoard curves and images of a run."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsdsl.diagnostics import Diagnostic, SpecError
from tsdsl.files import os_failure


class TensorBoardWriter:
    """Writes to a TensorBoard folder. Points that an earlier part of the run wrote after ``step``
    are hidden.

    Raises `SpecError` if TensorBoard is not installed, and `FileError` if the folder cannot be
    written.
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
        # If the writer's thread fails, the next call raises its error. A traceback beside it is
        # suppressed.
        self._threads = set(threading.enumerate()) - before
        self._hook = threading.excepthook
        threading.excepthook = self._failed

    def _failed(self, told: Any) -> None:
        if told.thread not in self._threads or not isinstance(told.exc_value, OSError):
            self._hook(told)

    def scalars(self, group: str, values: Mapping[str, float | None], step: int) -> None:
        """Add each value as ``group/name``. None adds no point."""
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
        """Close the writer. An error in writing its last points is ignored."""
        try:
            self._writer.close()
        except OSError:
            return
        finally:
            if threading.excepthook == self._failed:
                threading.excepthook = self._hook
