"""Source texts, and places in them."""

from __future__ import annotations

from bisect import bisect_right

from tsdsl.record import Record, factory


class Source(Record):
    """A text that was read.

    Equality is identity, so that a span leads to the one module that was parsed from its source.
    """

    #: The file as messages name it.
    name: str
    text: str
    _line_starts: list[int] = factory(default_factory=list)

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset in characters. Both start at 1."""
        starts = self._line_starts
        if not starts:
            starts.append(0)
            at = self.text.find("\n")
            while at >= 0:
                starts.append(at + 1)
                at = self.text.find("\n", at + 1)
        line = bisect_right(starts, offset)
        return line, offset - starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of a line (numbered from 1), without its line end."""
        self.position(0)
        start = self._line_starts[number - 1]
        end = self._line_starts[number] if number < len(self._line_starts) else len(self.text)
        return self.text[start:end].rstrip("\r\n")


class Span(Record, eq=True):
    """The half-open range ``[start, end)`` of characters of one source."""

    source: Source
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    def to(self, other: Span) -> Span:
        """From the start of this span to the end of the other."""
        return Span(self.source, self.start, other.end)

    def __str__(self) -> str:
        line, column = self.source.position(self.start)
        return f"{self.source.name}:{line}:{column}"
