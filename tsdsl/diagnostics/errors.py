"""Exceptions that carry diagnostics. They end an operation that cannot be carried out.

An exception that is not a `DiagnosticError` is a bug of the compiler.
"""

from __future__ import annotations

from collections.abc import Iterable

from tsdsl.diagnostics.diagnostic import Diagnostic


class DiagnosticError(Exception):
    """An operation was refused because of what the user gave it; ``diagnostics`` say why."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__()

    def __str__(self) -> str:
        # Imported here: most programs that import the exceptions never render one.
        from tsdsl.diagnostics.render import render_text

        return "\n".join(render_text(d) for d in self.diagnostics)


class SpecError(DiagnosticError, ValueError):
    """A spec has errors."""


class ArchitectureError(DiagnosticError, ValueError):
    """An architecture does not belong to the space, or its file cannot be read as one."""


class FileError(DiagnosticError, OSError):
    """A file cannot be read or written."""
