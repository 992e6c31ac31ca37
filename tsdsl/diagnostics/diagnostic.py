"""Diagnostics are values: what is wrong, where, and what to do about it."""

from __future__ import annotations

from typing import Literal

from tsdsl.diagnostics.source import Span
from tsdsl.record import Record

Severity = Literal["error", "warning", "note"]


class Label(Record, eq=True):
    """A second place that explains the first ("declared here")."""

    span: Span
    message: str


class Fix(Record, eq=True):
    """A replacement of the text of ``span`` that repairs the finding."""

    span: Span
    replacement: str


class Diagnostic(Record, eq=True):
    """One finding. ``span`` is None only where no text is concerned (a missing file)."""

    code: str
    message: str
    span: Span | None = None
    labels: tuple[Label, ...] = ()
    help: str | None = None
    severity: Severity = "error"
    file: str | None = None
    fix: Fix | None = None

    @property
    def file_name(self) -> str:
        """The file that the finding is about, as a user wrote it."""
        return self.span.source.name if self.span else (self.file or "")
