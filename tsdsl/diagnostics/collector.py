"""The findings of a run, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tsdsl.diagnostics.diagnostic import Diagnostic


class Collector:
    """Collects findings. Of several with one code and place, the first is kept."""

    #: Most findings that a run shows.
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
        """The findings file by file, each file in source order, findings without a place first. At
        most ``LIMIT`` of them: warnings are left out before errors are."""
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
        """Whether there are far more findings than are shown, so that a search for more can end."""
        return len(self._found) > 2 * self.LIMIT

    @property
    def has_errors(self) -> bool:
        return any(d.severity == "error" for d in self._found.values())

    def has_errors_but(self, code: str) -> bool:
        """Whether there are errors with other codes than ``code``."""
        return any(d.severity == "error" and d.code != code for d in self._found.values())
