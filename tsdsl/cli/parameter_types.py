"""Types of values on the command line: amounts, windows of costs, settings, devices, files."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import click

from tsdsl.diagnostics.render import visible
from tsdsl.units import AMOUNTS, TIMES

#: What each suffix of an amount multiplies it by.
_SUFFIX = {"": 1, **AMOUNTS}
#: A decimal number and its suffix.
_AMOUNT = re.compile(r"([0-9]+)(?:\.([0-9]+))?([a-zA-Z]*)")
#: Most characters of a number.
_LONGEST = 40


class _Malformed(Exception):
    """A text that is no value of a type; the message says why."""


class Amount(click.ParamType):  # type: ignore[type-arg]
    """A number of operations: ``1.37G``, ``250M``, ``1370000000``; exactly that integer."""

    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return _whole(str(value), _SUFFIX, "an amount such as 1.37G, 250M or 1370000000")
        except _Malformed as bad:
            self.fail(str(bad), param, ctx)


def _whole(text: str, units: Mapping[str, int], what: str) -> int:
    """A decimal number with a unit, exactly. Raises `_Malformed`."""
    match = _AMOUNT.fullmatch(text)
    if not match or len(text) > _LONGEST or match[3] not in units:
        raise _Malformed(f"'{text[:_LONGEST]}' is not {what}")
    fraction = match[2] or ""
    parts: int = 10 ** len(fraction)
    amount, rest = divmod(int(match[1] + fraction) * units[match[3]], parts)
    if rest:
        raise _Malformed(f"'{text}' is not a whole number" + _of_nanoseconds(match[3]))
    return amount


def _of_nanoseconds(unit: str) -> str:
    return " of nanoseconds" if unit in TIMES else ""


class Ends(NamedTuple):
    """The closed interval of a cost; an open end is infinite."""

    low: float
    high: float
    #: Whether the ends were given in a unit of time, and are nanoseconds.
    timed: bool = False


class Window(click.ParamType):  # type: ignore[type-arg]
    """``A..B``, ``A..`` or ``..B``. The ends are exact integers: amounts as `Amount` reads them;
    with ``times``, also times such as ``8ms``, in nanoseconds."""

    name = "A..B"

    def __init__(self, times: bool = False) -> None:
        self._units = {**_SUFFIX, **TIMES} if times else _SUFFIX
        self._what = "an amount such as 2.4G, 250M or 1370000000"
        if times:
            self._what += ", or a time such as 8ms, 250us or 0.01s"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Ends:
        if isinstance(value, Ends):
            return value
        try:
            return self.read(str(value))
        except _Malformed as bad:
            self.fail(str(bad), param, ctx)

    def read(self, text: str) -> Ends:
        """Raises `_Malformed`."""
        low, dots, high = (part.strip() for part in text.partition(".."))
        shown = text[: 2 * _LONGEST]
        if not dots:
            raise _Malformed(f"'{shown}' is not a window: write A..B, A.. or ..B, as 2.4G..2.5G")
        if not low and not high:
            raise _Malformed(f"'{shown}' has no end: write A..B, A.. or ..B, as 2.4G..2.5G")
        if high.startswith("."):
            raise _Malformed(f"'{shown}' is not a window: it takes two dots, as 2.4G..2.5G")
        ends = [_whole(end, self._units, self._what) if end else None for end in (low, high)]
        timed = [end.endswith("s") for end in (low, high)]
        for end, number, own, other in zip((low, high), ends, timed, timed[::-1], strict=True):
            if number and other and not own:
                raise _Malformed(f"'{shown}': '{end}' needs a unit of time too")
        window = Ends(
            float("-inf") if ends[0] is None else ends[0],
            float("inf") if ends[1] is None else ends[1],
            any(timed),
        )
        if window.low > window.high:
            raise _Malformed(f"'{shown}' is reversed: write {high}..{low}")
        return window


class CostWindow(click.ParamType):  # type: ignore[type-arg]
    """``COST:A..B``: a window of a cost by its name."""

    name = "COST:A..B"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Ends]:
        if isinstance(value, tuple):
            return value
        cost, colon, window = str(value).rpartition(":")
        if not (colon and cost.strip()):
            self.fail(f"'{value}' is not COST:A..B, as in latency:8ms..10ms", param, ctx)
        return cost.strip(), Window(times=True).convert(window, param, ctx)


class AnyWindow(CostWindow):
    """``A..B`` of multiply-adds, or ``COST:A..B``."""

    name = "[COST:]A..B"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Ends]:
        if isinstance(value, str) and ":" not in value:
            return "macs", Window().convert(value, param, ctx)
        return super().convert(value, param, ctx)


class Setting(click.ParamType):  # type: ignore[type-arg]
    """``name=value``: a param or a decision of the spec, and its value as the spec writes it."""

    name = "name=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not (equals and name.strip() and text.strip()):
            self.fail(f"'{value}' is not name=value, as in crop=182", param, ctx)
        return name.strip(), plain_value(text.strip())


def plain_value(text: str) -> int | float | bool | str:
    """A number or a boolean if the text is one; otherwise the text, which the compiler parses."""
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"-?\d{1,30}", text):
        return int(text)
    if re.fullmatch(r"-?\d+\.\d+([eE][+-]?\d+)?", text) and len(text) < 40:
        return float(text)
    return text


class Device(click.ParamType):  # type: ignore[type-arg]
    """``cpu``, ``cuda`` or ``cuda:1``."""

    name = "device"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        kind, colon, index = str(value).partition(":")
        plain = index.isascii() and index.isdigit() and len(index) < 4
        if kind not in ("cpu", "cuda") or (colon and not (kind == "cuda" and plain)):
            self.fail(f"'{value}' is not cpu, cuda or cuda:1", param, ctx)
        return str(value)


#: The formats of `tsdsl.plots`, which is not imported until a figure is drawn.
FORMATS = (".svg", ".png", ".pdf")


class FigureFile(click.ParamType):  # type: ignore[type-arg]
    """A file whose suffix is a format of figures."""

    name = "figure"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        path = str(value)
        if os.path.splitext(path)[1].lower() not in FORMATS:
            known = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
            self.fail(f"'{visible(path)}' is no figure: its name ends with {known}", param, ctx)
        return path
