"""Literals: numbers, times, sizes and texts, from tokens to values.

What is wrong with a literal is reported, and a value that does no harm takes its place.
"""

from __future__ import annotations

import re

from tsdsl.diagnostics import Collector, Diagnostic, Source, Span
from tsdsl.syntax.lexer import Token
from tsdsl.units import AMOUNTS, TIMES

#: Largest whole number: beyond it not every whole number is exact as a float.
MAX_INT = 1 << 53
#: Most digits of a number.
MAX_DIGITS = 30

_ESCAPES = {"\\": "\\", '"': '"', "n": "\n", "t": "\t"}


class LiteralReader:
    """Reads the literals of one source."""

    def __init__(self, source: Source, findings: Collector) -> None:
        self.source = source
        self.findings = findings

    def _error(
        self, code: str, message: str, start: int, end: int, hint: str | None = None
    ) -> None:
        span = Span(self.source, start, end)
        self.findings.add(Diagnostic(code, message, span, help=hint))

    def time(self, token: Token) -> int:
        """A number with a unit of time, in nanoseconds."""
        from fractions import Fraction

        digits = token.text.replace("_", "").rstrip("nums")
        unit = TIMES[token.text[len(token.text.rstrip("nums")) :]]
        if len(digits) > MAX_DIGITS or not _is_exact(digits):
            self._error("E0103", "this time has too many digits", token.start, token.end)
            return 0
        nanoseconds = Fraction(digits) * unit
        if nanoseconds > MAX_INT:
            message = "this time is above 2^53 ns (104 days)"
            self._error("E0103", message, token.start, token.end)
            return 0
        if nanoseconds.denominator != 1:
            message = f"'{token.text}' is no whole number of nanoseconds"
            self._error("E0103", message, token.start, token.end)
            return 0
        return int(nanoseconds)

    def number(self, token: Token) -> int | float:
        """A number, perhaps with a suffix: ``24``, ``0.25``, ``25%``, ``1.4G``. It is an int where
        it is a whole number without ``%``."""
        text = token.text.replace("_", "")
        scale = AMOUNTS.get(text[-1], 1)
        percent = text.endswith("%")
        digits = text[:-1] if scale > 1 or percent else text
        if len(digits) > MAX_DIGITS:
            self._error(
                "E0103", f"this number has more than {MAX_DIGITS} digits", token.start, token.end
            )
            return 0
        if digits.isdecimal():
            whole = int(digits) * scale
            if whole > MAX_INT:
                self._error("E0103", "this number is above 2^53", token.start, token.end)
                return 0
            return whole / 100 if percent else whole
        # Imported here: most specs have few such numbers, and fractions take long to load.
        from fractions import Fraction

        exact = Fraction(digits) * scale / (100 if percent else 1) if _is_exact(digits) else None
        if exact is not None and scale > 1 and exact.denominator == 1:
            return int(exact)
        value = float(exact) if exact is not None else float(digits) * scale
        if value in (float("inf"), float("-inf")):
            self._error("E0103", "this number is too large", token.start, token.end)
            return 0
        return value

    def dims(self, token: Token) -> tuple[int, int, int]:
        """A size: time x height x width."""
        parts = token.text.split("x")
        if any(len(part) > 18 for part in parts):
            self._error("E0103", "this size is too large", token.start, token.end)
            return 1, 1, 1
        t, h, w = (int(part) for part in parts)
        return t, h, w

    def string(self, token: Token) -> str:
        """The text between quotes, with its escapes replaced."""

        def meant(escape: re.Match[str]) -> str:
            sign = escape.group()[1]
            if sign not in _ESCAPES:
                start = token.start + 1
                self._error(
                    "E0104",
                    f"there is no escape '{escape.group()}'",
                    start + escape.start(),
                    start + escape.end(),
                    r"write \\ for a backslash, \" for a quote, \n for a line end",
                )
            return _ESCAPES.get(sign, sign)

        return re.sub(r"\\.", meant, token.text[1:-1])


def _is_exact(digits: str) -> bool:
    """Whether the exponent of a number is small enough for exact arithmetic."""
    _, _, exponent = digits.lower().partition("e")
    return not exponent or abs(int(exponent)) <= 250
