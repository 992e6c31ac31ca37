"""Source texts, spans, diagnostics and how they are shown. Everything else builds on it."""

from tsdsl.diagnostics.diagnostic import (
    ArchitectureError,
    Collector,
    Diagnostic,
    DiagnosticError,
    FileError,
    Fix,
    Label,
    Severity,
    SpecError,
    did_you_mean,
    nearest,
)
from tsdsl.diagnostics.source import Source, Span

__all__ = [
    "ArchitectureError",
    "Collector",
    "Diagnostic",
    "DiagnosticError",
    "FileError",
    "Fix",
    "Label",
    "Severity",
    "Source",
    "Span",
    "SpecError",
    "did_you_mean",
    "nearest",
]
