"""The contract of a cost: a name, a unit, and a value for each configuration of an operation.

The cost of a network is the sum of the values of its operations:

    cost(network) = sum over operations: value(op, arguments, input shapes)

Queries of a space are exact because of that: the cost of a space is a sum of small tables
(`factors`), one for each operation.

Non-goal: measures that are not such a sum. Peak memory is the largest amount that is allocated at
any time of a run; it depends on the order of operations and on the tensors that the backend keeps.
``elements`` counts the values of all results, most of which a training step keeps; ``tsdsl bench``
measures the peak of one network.

A cost that is computed by a rule is one file in `tsdsl.analysis.costs.counted` and one line in its
tuple. A measured cost is a `CostTable`. A program can also define a subclass and add an object of
it to a space: ``space.with_costs(MyCost())``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from tsdsl.analysis.costs.configuration import Configuration
from tsdsl.diagnostics import Diagnostic, SpecError
from tsdsl.ir.op import Op, OpArgs, Shape


class Cost(ABC):
    """A cost of networks. Objects are immutable and compared by identity."""

    #: The name in queries, windows, budgets and JSON keys.
    name: str
    #: Other names of the cost, such as ``flops`` for ``macs``.
    aliases: ClassVar[tuple[str, ...]] = ()
    #: Unit of the values: "ns", "uJ"; empty for a count.
    unit: str
    #: The counted thing in words, for titles and axes; empty to use `name`.
    noun: str = ""
    #: Unit symbol after an SI prefix, for a cost that is always shown with one (1.96 GFLOPs); empty
    #: for a cost that is shown in its `unit`.
    symbol: str = ""
    #: Whether `value` may be None, so that a space has to be checked for missing values.
    is_partial: ClassVar[bool] = False
    #: Whether a summary of a space lists the cost by stage and phase.
    is_divided: ClassVar[bool] = True

    def __str__(self) -> str:
        return self.name

    @abstractmethod
    def value(self, op: type[Op], args: OpArgs, shapes: tuple[Shape, ...]) -> int | None:
        """The cost of one operation for one clip: an integer (so that sums are exact), at least 0.

        ``shapes`` are those of the inputs, without the batch axis. It is only called for shapes
        that the operation accepts. None means that the value is not known, which only a cost that
        `is_partial` may return."""

    def is_free(self, op: type[Op]) -> bool:
        """Whether the operation costs 0 for all arguments and shapes. If so, no tables are built
        for it."""
        return False

    def is_called(self, name: str) -> bool:
        """Whether ``name`` is the name or an alias of this cost."""
        return name == self.name or name in self.aliases

    def identity(self) -> Iterable[str]:
        """Lines of text that identify the values of this cost: a resumed run compares them with
        those of the interrupted run."""
        yield f"{type(self).__module__}.{type(self).__qualname__}"

    def missing(self, configurations: Iterable[Configuration], source: str) -> SpecError:
        """The error for a space or network that has operations without a value. ``source`` is its
        file."""
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
        """Help text: how to obtain missing values for the spec ``source``."""
        return "a table needs every operation that some architecture has"


class ResultCost(Cost):
    """A cost that depends only on the shape of an operation's result.

    Its tables range over the decisions that the result's shape depends on. These are often fewer
    than the decisions of the arguments and input shapes together.
    """

    @abstractmethod
    def of_result(self, shape: Shape) -> int:
        """The cost of an operation with a result of this shape, for one clip."""

    def value(self, op: type[Op], args: OpArgs, shapes: tuple[Shape, ...]) -> int:
        return self.of_result(op.infer(args, *shapes))


class MissingValues(Cost):
    """The number of operations of a network without a value in another cost. That cost covers a
    space if the maximum of this one is 0."""

    unit = ""

    def __init__(self, cost: Cost) -> None:
        self.name = f"missing values of {cost.name}"
        self._cost = cost

    def value(self, op: type[Op], args: OpArgs, shapes: tuple[Shape, ...]) -> int:
        return int(self._cost.value(op, args, shapes) is None)
