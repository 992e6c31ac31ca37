"""The limit of the size of a decoded frame."""

from __future__ import annotations

import os

from tsdsl.diagnostics import Diagnostic, DiagnosticError

#: Pixels of the largest frame that is decoded: 8192 x 8192, twice the size of an 8K frame. A file
#: of a few kilobytes can demand larger frames, which take gigabytes.
MAX_PIXELS = 1 << 26
#: Name of the environment variable that sets another limit, for all processes of a run.
MAX_PIXELS_VARIABLE = "TSDSL_MAX_PIXELS"


class LimitError(DiagnosticError, ValueError):
    """The limit in the environment is not a valid number."""


def max_pixels() -> int:
    """Pixels of the largest frame that is decoded. Raises `LimitError`."""
    text = os.environ.get(MAX_PIXELS_VARIABLE, "").strip()
    if not text:
        return MAX_PIXELS
    # FFmpeg stores the number of pixels in 31 bits.
    if text.isascii() and text.isdigit() and len(text) <= 10 and 0 < int(text) < 1 << 31:
        return int(text)
    message = f"{MAX_PIXELS_VARIABLE} is {text[:40]!r}: it has to be a whole number below 2^31"
    hint = f"leave it out for {MAX_PIXELS}"
    raise LimitError([Diagnostic("E0813", message, help=hint)])
