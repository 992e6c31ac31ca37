"""Limits of what is decoded."""

from __future__ import annotations

import os

from tsdsl.diagnostics import Diagnostic, DiagnosticError

#: Pixels of the largest frame that is decoded: 8192 x 8192, twice those of an 8K video. Larger ones
#: take gigabytes, which a file of a few kilobytes can ask for.
MAX_PIXELS = 1 << 26
#: The environment variable that sets another limit, in all processes of a run.
MAX_PIXELS_VARIABLE = "TSDSL_MAX_PIXELS"


class LimitError(DiagnosticError, ValueError):
    """A limit in the environment is no number."""


def max_pixels() -> int:
    """Pixels of the largest frame that is decoded. Raises `LimitError`."""
    text = os.environ.get(MAX_PIXELS_VARIABLE, "").strip()
    if not text:
        return MAX_PIXELS
    # FFmpeg holds the number of pixels in 31 bits.
    if text.isascii() and text.isdigit() and len(text) <= 10 and 0 < int(text) < 1 << 31:
        return int(text)
    message = f"{MAX_PIXELS_VARIABLE} is {text[:40]!r}: it has to be a whole number below 2^31"
    hint = f"leave it out for {MAX_PIXELS}"
    raise LimitError([Diagnostic("E0813", message, help=hint)])
