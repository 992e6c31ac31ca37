"""A measured cost: a value for each configuration of an operation, such as a latency.

Values are integers in the unit of the table (nanoseconds for a latency), so that every exact query
works on them as on multiply-accumulates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tsdsl.analysis.costs.configuration import Configuration
from tsdsl.analysis.costs.cost import Cost
from tsdsl.diagnostics import Source
from tsdsl.files import PathLike
from tsdsl.ir.op import Op, OpArgs, Shape

#: Name of the cost that ``tsdsl measure`` times. Its unit is always the nanosecond.
LATENCY = "latency"


@dataclass(frozen=True, eq=False, repr=False)
class CostTable(Cost):
    """A measured cost: an integer for each operation with its arguments and input shapes.

    The cost of a network is the sum over its operations, so that every exact query of a `Space`
    works on it. `tsdsl.measure` makes a table of latencies. Tables are compared by identity.

        >>> table = tsdsl.CostTable("energy", "nJ", {})
        >>> table
        <CostTable energy: 0 operations, in nJ>
    """

    #: Name of the cost in budgets and queries.
    name: str
    #: Unit of the values: "ns" for latency.
    unit: str
    #: The cost of each operation.
    values: Mapping[Configuration, int]
    #: Origin of the values: device, library versions, repeats.
    provenance: Mapping[str, Any] = field(default_factory=dict)
    #: Interquartile range of the repeated measurements of an operation, where it is known.
    spreads: Mapping[Configuration, int] = field(default_factory=dict)

    #: A table may have no value for an operation.
    is_partial: ClassVar[bool] = True

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

    def value(self, op: type[Op], args: OpArgs, shapes: tuple[Shape, ...]) -> int | None:
        """The value of an operation with its arguments and input shapes; None if the table has no
        such entry."""
        return self.values.get(Configuration.of(op, args, shapes))

    def identity(self) -> Iterable[str]:
        """A line for each configuration, with its value."""
        return (f"{configuration}\0{value}" for configuration, value in self.values.items())

    def missing_help(self, source: str) -> str:
        """Help text: how to obtain missing values for the spec ``source``."""
        if self.name == LATENCY:
            return f"'tsdsl measure {source}' times what the space has"
        return super().missing_help(source)
