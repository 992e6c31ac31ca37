"""Diagnostics are values: what is wrong, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import lru_cache
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


class DiagnosticError(Exception):
    """Findings that end an operation: what a user did cannot be carried out.

    It is the user's kind of error: a bug of the compiler is any other exception.
    """

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__()

    def __str__(self) -> str:
        from tsdsl.diagnostics.render import render_text

        return "\n".join(render_text(d) for d in self.diagnostics)


class SpecError(DiagnosticError, ValueError):
    """Something is wrong in a spec."""


class ArchitectureError(DiagnosticError, ValueError):
    """An architecture does not belong to the space, or its file cannot be read as one."""


class FileError(DiagnosticError, OSError):
    """A file could not be read or written."""


class Collector:
    """Gathers findings in the order in which they are met; each place and code once."""

    #: How many findings a run shows at most.
    LIMIT = 100

    def __init__(self) -> None:
        self._found: dict[tuple[object, ...], Diagnostic] = {}

    def add(self, diagnostic: Diagnostic) -> None:
        span = diagnostic.span
        place = (id(span.source), span.start, span.end) if span else (diagnostic.file,)
        key = (diagnostic.code, *place, diagnostic.message if not span else "")
        self._found.setdefault(key, diagnostic)

    def extend(self, diagnostics: Iterable[Diagnostic]) -> None:
        for diagnostic in diagnostics:
            self.add(diagnostic)

    def __iter__(self) -> Iterator[Diagnostic]:
        """In source order, file by file, errors of no place first; at most ``LIMIT`` of them, and
        no warning in place of an error."""
        files: dict[str, int] = {}
        for found in self._found.values():
            files.setdefault(found.file_name, len(files))
        ordered = sorted(
            self._found.values(),
            key=lambda d: (files[d.file_name], d.span.start if d.span else -1),
        )
        if len(ordered) > self.LIMIT:
            errors = [d for d in ordered if d.severity == "error"][: self.LIMIT]
            others = [d for d in ordered if d.severity != "error"][: self.LIMIT - len(errors)]
            shown = {id(d) for d in (*errors, *others)}
            ordered = [d for d in ordered if id(d) in shown]
        return iter(ordered)

    def __len__(self) -> int:
        return len(self._found)

    @property
    def is_full(self) -> bool:
        """Whether there is far more than is shown: no need to look for more."""
        return len(self._found) > 2 * self.LIMIT

    @property
    def has_errors(self) -> bool:
        return any(d.severity == "error" for d in self._found.values())

    def has_errors_but(self, code: str) -> bool:
        """Whether there are errors of other codes."""
        return any(d.severity == "error" and d.code != code for d in self._found.values())


#: Names that a mistyped one is compared with, and their characters: longer ones are no typo.
MAX_CANDIDATES, MAX_LENGTH = 500, 100


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that a mistyped name most likely meant, or None.

    The work of one call is bounded by `MAX_CANDIDATES` and `MAX_LENGTH`, and a name that is met
    again (in a block that is used a thousand times) is looked up. Whoever calls this in a loop
    bounds the number of findings, by `Collector.is_full` or `Collector.LIMIT`.
    """
    if len(name) > MAX_LENGTH:
        return None
    pool = tuple(dict.fromkeys(candidates))
    if len(pool) > MAX_CANDIDATES:
        pool = tuple(c for c in pool if c[:1] == name[:1])[:MAX_CANDIDATES]
    return _nearest(name, pool)


@lru_cache(maxsize=256)
def _nearest(name: str, pool: tuple[str, ...]) -> str | None:
    usable = [c for c in pool if len(c) <= MAX_LENGTH]
    folded = [c for c in usable if c.lower() == name.lower()]
    if folded:
        return folded[0]
    found = get_close_matches(name, usable, n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(name: str, candidates: Iterable[str], otherwise: str | None = None) -> str | None:
    """A help line with the nearest name, or ``otherwise``."""
    found = nearest(name, candidates)
    return f"did you mean '{found}'?" if found else otherwise
