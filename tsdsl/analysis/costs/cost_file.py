"""Files of measured costs, format ``tsnet-cost/1``: a `CostTable` as JSON.

    {"format": "tsnet-cost/1", "cost": "latency", "unit": "ns",
     "provenance": {"device": "...", "torch": "2.13.0", "batch": 1},
     "entries": [{"op": "conv", "args": {"out": 40, "kernel": "1x3x3"}, "inputs": [[32, 4, 80, 80]],
                  "value": 1234567, "spread": 4021}]}

Arguments are written as in a spec; arguments that are left out have their default. Shapes have no
batch axis. Values are integers, so that sums of them are exact. Reading any file gives a table or
diagnostics with their places in the text.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt
from pydantic import ValidationError as Invalid

from tsdsl.analysis.costs.configuration import Configuration, spec_text
from tsdsl.analysis.costs.cost_table import LATENCY, CostTable
from tsdsl.analysis.costs.named import counted
from tsdsl.diagnostics import Diagnostic, Source, SpecError, did_you_mean
from tsdsl.files import PathLike, read_text, write_atomic
from tsdsl.ir.json_text import key_span, kind, read_json, value_span
from tsdsl.ir.op import Op, ShapeError
from tsdsl.ops import BY_NAME, UnusableOperation

FORMAT = "tsnet-cost/1"
#: Bytes: larger files are refused.
MAX_BYTES = 64 << 20
#: The largest value: 31 years, in nanoseconds.
MAX_VALUE = 10**18
#: Findings reported for one file at most.
MAX_FINDINGS = 100
#: The largest extent of an axis of an input.
_MAX_EXTENT = 1 << 31

Value = Annotated[StrictInt, Field(ge=0, le=MAX_VALUE)]
Argument = StrictBool | StrictInt | StrictFloat | Annotated[str, Field(strict=True, max_length=100)]
InputShape = Annotated[
    list[Annotated[StrictInt, Field(ge=1, le=_MAX_EXTENT)]], Field(min_length=1, max_length=8)
]


class EntryDocument(BaseModel):
    """The cost of one operation with its arguments, on inputs of these shapes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    op: str = Field(strict=True, description="name of the operation")
    args: dict[str, Argument] = Field(
        default_factory=dict, description="as in a spec; what is left out has its default"
    )
    inputs: list[InputShape] = Field(
        min_length=1, description="shapes of the inputs, without the batch axis"
    )
    value: Value = Field(description="what it costs, in the unit of the table")
    spread: Value | None = Field(
        default=None, description="how far repeated measurements lie apart (interquartile range)"
    )


class CostDocument(BaseModel):
    """A table of measured costs, such as latencies: one value for each configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="tsnet-cost/1")

    format: Literal["tsnet-cost/1"] = Field(description="the format of this file")
    cost: Annotated[str, Field(strict=True, pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,59}$")] = Field(
        description="name of the cost; 'latency' is in ns"
    )
    unit: Annotated[str, Field(strict=True, min_length=1, max_length=20)] = Field(
        description="what values count"
    )
    provenance: dict[str, Any] = Field(
        default_factory=dict, description="how it was made: device, versions, repeats"
    )
    entries: list[EntryDocument] = Field(description="one for each operation as it runs")


def load(path: PathLike) -> CostTable:
    """Read a file. Raises `FileError` and `SpecError`."""
    return parse(Source(str(path), read_text(path, limit=MAX_BYTES, what="cost table")))


def save(table: CostTable, path: PathLike) -> None:
    """Write a file, whole or not at all. Raises `FileError`."""
    write_atomic(path, dump(table))


def dump(table: CostTable) -> str:
    """The text of the file of a table: entries sorted by configuration, one per line."""
    head = {
        "format": FORMAT,
        "cost": table.name,
        "unit": table.unit,
        "provenance": dict(table.provenance),
    }
    lines: list[str] = []
    for found in sorted(table.values, key=_order):
        entry: dict[str, Any] = {
            "op": found.op,
            "args": {k: _option(v) for k, v in found.args if v is not None},
            "inputs": [list(shape) for shape in found.shapes],
            "value": table.values[found],
        }
        if found in table.spreads:
            entry["spread"] = table.spreads[found]
        lines.append("    " + json.dumps(entry, ensure_ascii=False, allow_nan=False))
    text = json.dumps(head, indent=2, ensure_ascii=False, allow_nan=False)
    entries = ",\n".join(lines)
    inside = f"\n{entries}\n  " if lines else ""
    return f'{text[:-2]},\n  "entries": [{inside}]\n}}\n'


def parse(source: Source) -> CostTable:
    """Parse the text of a cost file. Raises `SpecError`."""
    content = read_json(source, SpecError)
    if not isinstance(content, dict):
        raise _failure(source, f"a cost table is an object, not {kind(content)}")
    if content.get("format") != FORMAT:
        raise _wrong_format(content, source)
    try:
        document = CostDocument.model_validate(content)
    except Invalid as error:
        raise SpecError(_findings(error, source)) from None
    _check_name(document, source)
    reader = _EntryReader(source)
    for at, entry in enumerate(document.entries):
        reader.add(at, entry)
        if len(reader.found) >= MAX_FINDINGS:
            break
    if reader.found:
        raise SpecError(reader.found)
    return CostTable(
        document.cost, document.unit, reader.values, document.provenance, reader.spreads
    )


class _EntryReader:
    """Collects the entries of a file by configuration, and the findings about them."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._first: dict[Configuration, int] = {}
        self.values: dict[Configuration, int] = {}
        self.spreads: dict[Configuration, int] = {}
        self.found: list[Diagnostic] = []

    def add(self, at: int, entry: EntryDocument) -> None:
        try:
            op = BY_NAME.get(entry.op)
        except UnusableOperation as error:
            self._wrong(at, ("op",), error.message, error.help)
            return
        if op is None:
            hint = did_you_mean(entry.op, BY_NAME)
            self._wrong(at, ("op",), f"there is no operation '{entry.op[:40]}'", hint)
            return
        configuration = self._configuration(at, op, entry)
        if configuration is None:
            return
        if configuration in self._first:
            span = value_span(self._source, ("entries", self._first[configuration]))
            line = self._source.position(span.start)[0] if span else 0
            self._wrong(
                at, (), f"{configuration} has a value already, in line {line}", "keep one of them"
            )
            return
        self._first[configuration] = at
        self.values[configuration] = entry.value
        if entry.spread is not None:
            self.spreads[configuration] = entry.spread

    def _configuration(self, at: int, op: type[Op], entry: EntryDocument) -> Configuration | None:
        try:
            args = op.Args(**{name: _argument(value) for name, value in entry.args.items()})
        except Invalid as error:
            for bad in error.errors(include_url=False)[:MAX_FINDINGS]:
                self._argument_wrong(at, op, bad)
            return None
        shapes = [tuple(shape) for shape in entry.inputs]
        if op.inputs is not None and len(shapes) != op.inputs:
            noun = "input" if op.inputs == 1 else "inputs"
            message = f"'{op.name}' takes {op.inputs} {noun}, not {len(shapes)}"
            self._wrong(at, ("inputs",), message, None)
            return None
        try:
            op.infer(args, *shapes)
        except ShapeError as error:
            self._wrong(at, ("inputs",), str(error), None)
            return None
        return Configuration.of(op, args, shapes)

    def _argument_wrong(self, at: int, op: type[Op], bad: Any) -> None:
        name = str(bad["loc"][0])
        fields = op.Args.model_fields
        place: tuple[str | int, ...] = ("args", name)
        hint: str | None = None
        if bad["type"] == "extra_forbidden":
            message = f"'{op.name}' has no argument '{name[:40]}'"
            hint = did_you_mean(name, fields, f"it has: {', '.join(fields) or 'none'}")
        elif bad["type"] == "missing":
            message, place = f"'{op.name}' needs the argument '{name}'", ("args",)
        else:
            given = bad["input"]
            said = bad["msg"].removeprefix("Value error, ").replace("Input should", "it should", 1)
            said = said.replace("valid tuple", "size such as 1x3x3")
            if not isinstance(given, dict):
                said = f"{spec_text(given)[:40]}: {said}"
            message = f"'{op.name}' does not take '{name}' = {said}"
        self._wrong(at, place, message, hint)

    def _wrong(self, at: int, place: tuple[str | int, ...], message: str, hint: str | None) -> None:
        span = value_span(self._source, ("entries", at, *place))
        self.found.append(Diagnostic("E0724", message, span, help=hint, file=self._source.name))


_DIMS = re.compile(r"\d{1,9}x\d{1,9}x\d{1,9}")


def _argument(value: Any) -> Any:
    """An argument of a file as the operation's `Op.Args` takes it: sizes become tuples."""
    if isinstance(value, str) and _DIMS.fullmatch(value):
        return tuple(map(int, value.split("x")))
    return value


def _option(value: Any) -> Any:
    """An argument as JSON: sizes become strings such as "1x3x3"."""
    return spec_text(value) if isinstance(value, tuple) else value


def _order(found: Configuration) -> tuple[Any, ...]:
    return found.op, found.shapes, [(name, str(value)) for name, value in found.args]


def _wrong_format(content: dict[str, Any], source: Source) -> SpecError:
    if "format" not in content:
        message = "this is not a cost table: it has no 'format'"
        return _failure(source, message, f'a cost table begins with {{"format": "{FORMAT}", ...')
    given = content["format"]
    span = value_span(source, ("format",))
    shown = json.dumps(given)[:60]
    if isinstance(given, str) and given.startswith("tsnet-cost/"):
        message, hint = f"cost table format {shown} is not known", f"this tsdsl reads {FORMAT}"
    else:
        message, hint = f"format {shown} is not {FORMAT}", "'tsdsl measure' writes cost tables"
    return SpecError([Diagnostic("E0724", message, span, help=hint, file=source.name)])


def _check_name(document: CostDocument, source: Source) -> None:
    if counted(document.cost) is not None:
        message = f"'{document.cost}' is counted by rule, a table cannot replace it"
        raise _failure(source, message, "give the cost another name", ("cost",))
    if document.cost == LATENCY and document.unit != "ns":
        message = f"latency is in nanoseconds (unit ns), not in '{document.unit}'"
        raise _failure(source, message, "convert the values, or name the cost otherwise", ("unit",))


def _findings(error: Invalid, source: Source) -> list[Diagnostic]:
    """One finding for each place that does not fit the document."""
    found: dict[tuple[str | int, ...], Diagnostic] = {}
    for bad in error.errors(include_url=False, include_context=False):
        loc = tuple(bad["loc"])
        # An argument is one of several types, and pydantic names each: the place is the argument.
        place = loc[:4] if loc[2:3] == ("args",) else loc
        if place in found:
            continue
        given = bad["input"]
        key = next(str(part) for part in reversed(place) if isinstance(part, str))
        hint: str | None = None
        if bad["type"] == "extra_forbidden":
            model = EntryDocument if place[0] == "entries" else CostDocument
            message = f"there is no key '{key[:40]}' here"
            hint = did_you_mean(key, model.model_fields)
        elif bad["type"] == "missing":
            message = f"'{key}' is missing"
        elif loc[2:3] == ("args",) and len(place) == 4:
            message = f"'{key[:40]}' is {kind(given)}, not an argument of an operation"
            hint = 'arguments are numbers, true or false, and strings such as "1x3x3"'
        elif key in ("value", "spread"):
            message, hint = _no_value(key, given)
        else:
            said = _WORDS.get(bad["type"]) or bad["msg"].replace("Input should", "it should", 1)
            message = f"{kind(given)} in '{key}' that does not fit: {said}"
        span = value_span(source, place) if bad["type"] != "missing" or place[1:] else None
        found[place] = Diagnostic("E0724", message, span, help=hint, file=source.name)
        if len(found) >= MAX_FINDINGS:
            break
    return list(found.values())


#: Type of a pydantic error -> its message, where pydantic's own is about Python.
_WORDS = {
    "string_pattern_mismatch": "a name is made of letters, digits and _",
    "too_short": "at least one shape is needed",
    "list_type": "it should be a list, as in [[32, 4, 80, 80]]",
    "string_type": "it should be a string",
}


def _no_value(key: str, given: Any) -> tuple[str, str]:
    if isinstance(given, float):
        return (
            f"the {key} {given!r} is not a whole number",
            "values are whole numbers, so that sums are exact: take a smaller unit (ns, uJ)",
        )
    if isinstance(given, int) and not isinstance(given, bool):
        wrong = "below 0" if given < 0 else f"more than {MAX_VALUE:,}"
        return f"the {key} {str(given)[:40]} is {wrong}", "take another unit"
    return f"the {key} is {kind(given)}, not a whole number", "as in 12345"


def _failure(
    source: Source,
    message: str,
    hint: str | None = None,
    place: tuple[str | int, ...] | None = None,
) -> SpecError:
    span = None if place is None else value_span(source, place) or key_span(source, str(place[-1]))
    return SpecError([Diagnostic("E0724", message, span, help=hint, file=source.name)])
