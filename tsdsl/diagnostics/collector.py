"""The findings of a run, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tsdsl.diagnostics.diagnostic import Diagnostic


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
