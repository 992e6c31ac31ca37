"""What a cost is: a name, a unit, and a value for each operation as it runs.

The cost of a network is the sum of the values of its operations. That makes every query of the
analysis exact: the cost of a space is a sum of small tables (`factors`), one for each operation.

A measure that is no such sum cannot be a `Cost`. Peak memory is one: it is the largest amount that
is alive at any time of a run, so it depends on the order of operations and on what the backend
keeps. ``elements`` counts the values of all results, most of which a training step keeps;
``tsdsl bench`` measures the peak of one network.

A cost that is computed by a rule is one file in `tsdsl.analysis.costs.counted` and one line in its
tuple. A cost that is measured is a `CostTable`. A program can also add a cost of its own, an object
of a subclass, to a space: ``space.with_costs(MyCost())``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from tsdsl.analysis.costs.configuration import Configuration
from tsdsl.diagnostics import Diagnostic, SpecError
from tsdsl.ir.op import Op, OpArgs, Shape


class Cost(ABC):
    """A cost of networks. Stateless, or immutable; compared by identity."""

    #: What queries, windows, budgets and JSON keys call it.
    name: str
    #: Other names that mean it, such as ``flops`` for ``macs``.
    aliases: ClassVar[tuple[str, ...]] = ()
    #: Unit of the values: "ns", "uJ"; empty for a number of things.
    unit: str
    #: What it counts, in words, for titles and axes; empty for its name.
    noun: str = ""
    #: What stands behind an SI prefix where values are always shown with one (1.96 GFLOPs); empty
    #: for a cost that is shown in its unit.
    symbol: str = ""
    #: Whether `value` may be None, so that a space has to be checked for missing values.
    is_partial: ClassVar[bool] = False
    #: Whether a summary of a space divides it among stages and phases.
    is_divided: ClassVar[bool] = True

    def __str__(self) -> str:
        return self.name

    @abstractmethod
    def value(self, op: type[Op], args: OpArgs, shapes: tuple[Shape, ...]) -> int | None:
        """The cost of one operation for one clip: an integer, so that sums are exact, and at least
        0. ``shapes`` are those of the inputs, without the batch axis. The operation is defined for
        them. None only for a cost that `is_partial`, where the value is not known."""

    def is_free(self, op: type[Op]) -> bool:
        """Whether the operation costs 0 whatever its arguments and shapes are. True spares a table
        of zeros for each place where it stands."""
        return False

    def is_called(self, name: str) -> bool:
        """Whether a user who writes ``name`` means this cost."""
        return name == self.name or name in self.aliases

    def identity(self) -> Iterable[str]:
        """Lines that are equal for costs that give the same values: a run that is resumed compares
        them."""
        yield f"{type(self).__module__}.{type(self).__qualname__}"

    def missing(self, configurations: Iterable[Configuration], source: str) -> SpecError:
        """The error for a space, or a network, some operations of which have no value."""
        missed = list(configurations)
        shown = "; ".join(map(str, missed[:3])) + ("; ..." if len(missed) > 3 else "")
        noun = "configuration" if len(missed) == 1 else "configurations"
        return SpecError(
            [
                Diagnostic(
                    "E0722",
                    f"the {self.name} table has no value for {len(missed)} {noun} of operations:"
                    f" {shown}",
                    file=source,
                    help=self.missing_help(source),
                )
            ]
        )

    def missing_help(self, source: str) -> str:
        """How to obtain missing values for the spec ``source``."""
        return "a table needs every operation that some architecture has"


class ResultCost(Cost):
    """A cost that depends on the shape of an operation's result alone.

    It is tabulated over the decisions that the result's shape depends on, which are often fewer
    than those of the arguments and the input shapes together.
    """

    @abstractmethod
    def of_result(self, shape: Shape) -> int:
        """The cost of an operation with a result of this shape, for one clip."""

    def value(self, op: type[Op], args: OpArgs, shapes: tuple[Shape, ...]) -> int:
        return self.of_result(op.infer(args, *shapes))


class MissingValues(Cost):
    """How many operations of a network have no value in another cost. A space is covered by that
    cost if the maximum of this one is 0."""

    unit = ""

    def __init__(self, cost: Cost) -> None:
        self.name = f"missing values of {cost.name}"
        self._cost = cost

    def value(self, op: type[Op], args: OpArgs, shapes: tuple[Shape, ...]) -> int:
        return int(self._cost.value(op, args, shapes) is None)
