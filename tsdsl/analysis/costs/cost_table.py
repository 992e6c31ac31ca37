"""A cost that is not computed but looked up: a value for each operation with its arguments and
input shapes, such as a latency that was measured.

Values are integers in ``unit`` (nanoseconds, for latency), so that every exact query works on them
as it does on multiply-accumulates. The cost of a network is the sum over its operations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from tsdsl.diagnostics import Diagnostic, Source, SpecError
from tsdsl.files import PathLike
from tsdsl.ir.op import Op, OpArgs, Shape


class Configuration(NamedTuple):
    """An operation as it runs: what its cost can depend on. ``shapes`` are the inputs', without
    the batch axis; ``args`` are name and value in order, as the operation's own model holds
    them."""

    op: str
    args: tuple[tuple[str, Any], ...]
    shapes: tuple[Shape, ...]

    @classmethod
    def of(cls, op: type[Op], args: OpArgs, shapes: Iterable[Shape]) -> Configuration:
        held = tuple((name, getattr(args, name)) for name in type(args).model_fields)
        return cls(op.name, held, tuple(shapes))

    def __str__(self) -> str:
        given = [(name, value) for name, value in self.args if value is not None]
        args = ", ".join(f"{name}={written(value)}" for name, value in given)
        inputs = ", ".join("x".join(map(str, shape)) for shape in self.shapes)
        return f"{self.op}({args}) on {inputs}"


@dataclass(frozen=True, eq=False, repr=False)
class CostTable:
    """A cost that is looked up: an integer for each operation with its arguments and input shapes.

    The cost of a network is the sum over its operations, so every exact query of a `Space` works on
    it. `tsdsl.measure` makes one of latencies. Tables are compared by identity.

        >>> table = tsdsl.CostTable("energy", "nJ", {})
        >>> table
        <CostTable energy: 0 operations, in nJ>
    """

    #: The name that budgets and queries have for the cost.
    name: str
    #: Unit of the values: "ns" for latency.
    unit: str
    #: The cost of each operation.
    values: Mapping[Configuration, int]
    #: Where the values come from: device, library versions, repeats.
    provenance: Mapping[str, Any] = field(default_factory=dict)
    #: Interquartile range of the repeated measurements of an operation, where it is known.
    spreads: Mapping[Configuration, int] = field(default_factory=dict)

    @classmethod
    def load(cls, path: PathLike) -> CostTable:
        """Read a table, as `save` writes it. Raises `FileError` and `SpecError`."""
        from tsdsl.analysis.costs.cost_file import load

        return load(path)

    @classmethod
    def parse(cls, text: str, name: str = "cost table") -> CostTable:
        """The table in the text of a file; ``name`` stands for the file in findings. Raises
        `SpecError`."""
        from tsdsl.analysis.costs.cost_file import parse

        return parse(Source(name, text))

    def save(self, path: PathLike) -> None:
        """Write the table as JSON, whole or not at all. Raises `FileError`."""
        from tsdsl.analysis.costs.cost_file import save

        save(self, path)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        from tsdsl.notebook import shortened

        name, unit = shortened(self.name, 60), shortened(self.unit, 20)
        return f"<CostTable {name}: {len(self.values)} operations, in {unit}>"

    def _repr_html_(self) -> str:
        from tsdsl.notebook import html_table

        largest = sorted(self.values.items(), key=lambda item: -item[1])
        rows = ((operation, f"{value:,}") for operation, value in largest)
        device = self.provenance.get("device")
        caption = f"Cost table {self.name}" + (f", on {device}" if device else "")
        return html_table(caption, ["operation", self.unit], rows, len(largest))

    def value(self, op: type[Op], args: OpArgs, shapes: Iterable[Shape]) -> int | None:
        """The value of an operation with its arguments and input shapes; None if there is none."""
        return self.values.get(Configuration.of(op, args, shapes))

    def missing(self, found: Iterable[Configuration], source: str) -> SpecError:
        """The error for a space of which the table lacks some operations; ``source`` is the spec's
        file."""
        missed = list(found)
        shown = "; ".join(map(str, missed[:3])) + ("; ..." if len(missed) > 3 else "")
        noun = "configuration" if len(missed) == 1 else "configurations"
        hint = "a table needs every operation that some architecture has"
        if self.name == "latency":
            hint = f"'tsdsl measure {source}' times what the space has"
        return SpecError(
            [
                Diagnostic(
                    "E0722",
                    f"the {self.name} table has no value for {len(missed)} {noun} of operations:"
                    f" {shown}",
                    file=source,
                    help=hint,
                )
            ]
        )


class Absent(CostTable):
    """1 for each operation whose configuration a table lacks."""

    def value(self, op: type[Op], args: OpArgs, shapes: Iterable[Shape]) -> int:
        return Configuration.of(op, args, shapes) not in self.values


#: What is counted by rule (elements are values of all results), or looked up.
Counted = Literal["macs", "params", "elements"]
Cost = Counted | CostTable
COUNTED: tuple[Counted, ...] = ("macs", "params", "elements")


def written(value: Any) -> str:
    """An argument as a spec has it."""
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
