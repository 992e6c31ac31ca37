"""A diagnostic is a value: what is wrong, where, and how to mend it."""

from __future__ import annotations

from typing import Literal

from tsdsl.diagnostics.source import Span
from tsdsl.record import Record

Severity = Literal["error", "warning", "note"]


class Label(Record, eq=True):
    """A second place that explains the finding ("declared here")."""

    span: Span
    message: str


class Fix(Record, eq=True):
    """A replacement for the text of ``span`` that mends what was found."""

    span: Span
    replacement: str


class Diagnostic(Record, eq=True):
    """One finding."""

    #: A code of the catalogue.
    code: str
    #: The headline: what is wrong, in one line, without a full stop.
    message: str
    #: The narrowest text that is concerned; None where there is no text (a missing file).
    span: Span | None = None
    labels: tuple[Label, ...] = ()
    #: How to mend it, in one line.
    help: str | None = None
    severity: Severity = "error"
    #: The file that is concerned, where there is no span.
    file: str | None = None
    fix: Fix | None = None

    @property
    def file_name(self) -> str:
        """The file that is concerned, as the user named it; empty where none is."""
        return self.span.source.name if self.span else (self.file or "")
