"""Values that depend on decisions: finite tables over variables.

A space is one graph for all of its architectures. Anything that differs between architectures (a
width, a kernel, a shape) is a `Val`: a table with one entry for each combination of the few
variables that it depends on. A variable is a decision, or is *derived*: a deterministic function of
earlier variables with few distinct values ("the shape after this point"). Derived variables keep
tables small along a chain in which depth gates widths.

An entry can be a `Fault`: the combination has no value. The reason is reported to the user if some
architecture of the space reaches it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import product, repeat
from math import prod
from operator import is_
from typing import Any

from tsdsl.diagnostics import Diagnostic, DiagnosticError
from tsdsl.record import Record

#: Entries: a `Val` with more raises `TableTooLarge`, which becomes a diagnostic.
MAX_ENTRIES = 1 << 18


class Variable(Record):
    """A finite-domain variable. ``definition`` is None for a decision; for a derived variable it
    is the table, over earlier variables, of indices into ``domain``."""

    index: int
    name: str
    domain: tuple[Any, ...]
    definition: Val | None = None

    def __len__(self) -> int:
        return len(self.domain)


class Fault(Record, eq=True):
    """The reason why a combination has no value. Equal faults are one finding."""

    diagnostic: Diagnostic

    def __hash__(self) -> int:
        # Tables hold thousands of references to one fault: its spans are not hashed each time.
        return hash((self.diagnostic.code, self.diagnostic.message))


class Val(Record):
    """A table over variables: ``entries`` is row-major over the domains of ``variables``, which are
    sorted by index."""

    variables: tuple[Variable, ...]
    entries: tuple[Any, ...]

    @property
    def is_constant(self) -> bool:
        return not self.variables

    @property
    def value(self) -> Any:
        """The one value of a constant."""
        assert not self.variables, "not a constant"
        return self.entries[0]

    def at(self, assignment: Sequence[int]) -> Any:
        """The entry under an assignment: a value index for each variable of the space, by the
        variable's index."""
        offset = 0
        for variable in self.variables:
            offset = offset * len(variable.domain) + assignment[variable.index]
        return self.entries[offset]

    def distinct(self) -> tuple[Any, ...]:
        """Distinct entries in order of first appearance, faults left out."""
        return tuple(dict.fromkeys(e for e in self.entries if not isinstance(e, Fault)))

    def faults(self) -> tuple[Fault, ...]:
        """Distinct faults in order of first appearance."""
        return tuple(dict.fromkeys(e for e in self.entries if isinstance(e, Fault)))


def constant(value: Any) -> Val:
    return Val((), (value,))


def of_variable(variable: Variable) -> Val:
    return Val((variable,), variable.domain)


class TableTooLarge(DiagnosticError):
    """A value depends on so many decisions that its table would exceed `MAX_ENTRIES`."""

    def __init__(self, variables: Sequence[Variable]) -> None:
        self.variables = tuple(variables)
        self.size = prod(len(v) for v in variables)
        super().__init__([])


def union_variables(vals: Sequence[Val]) -> tuple[Variable, ...]:
    """All variables of ``vals``, sorted by index."""
    first = vals[0].variables if vals else ()
    if all(val.variables == first or not val.variables for val in vals[1:]):
        return first
    found = {variable.index: variable for val in vals for variable in val.variables}
    return tuple(found[index] for index in sorted(found))


def broadcast(val: Val, variables: tuple[Variable, ...]) -> Sequence[Any]:
    """The entries of ``val`` as a row-major table over ``variables``, which include its own."""
    if val.variables == variables:
        return val.entries
    mine = {v.index for v in val.variables}
    sizes = tuple(len(v) for v in variables)
    steps = _gather(sizes, tuple(v.index in mine for v in variables))
    if not mine:
        return val.entries * len(steps)
    entries = val.entries
    return [entries[i] for i in steps]


@lru_cache(maxsize=1024)
def _gather(sizes: tuple[int, ...], kept: tuple[bool, ...]) -> tuple[int, ...]:
    """For each combination over ``sizes``, row-major: its offset in a table over the axes that are
    ``kept``."""
    offsets = [0]
    for size, keep in zip(sizes, kept, strict=True):
        if keep:
            offsets = [o * size + i for o in offsets for i in range(size)]
        else:
            offsets = [o for o in offsets for _ in range(size)]
    return tuple(offsets)


def lift(function: Callable[..., Any], *vals: Val) -> Val:
    """Apply a function of plain values to tables: the result has an entry for each combination of
    all variables of ``vals``, reduced to those that it depends on.

    The function is called once for each distinct combination of argument values, so it must be
    deterministic. Where an argument is a fault, the entry is the first such fault, and the function
    is not called. Raises `TableTooLarge`.
    """
    variables = union_variables(vals)
    if not variables:
        return constant(_apply(function, tuple(val.entries[0] for val in vals)))
    if prod(len(v) for v in variables) > MAX_ENTRIES:
        raise TableTooLarge(variables)
    known: dict[Any, Any] = {}
    entries: list[Any] = []
    tables = [broadcast(val, variables) for val in vals]
    if any(_mixes(val) for val in vals):
        for key in zip(*tables, strict=True):
            tagged = tuple(map(_exact, key))
            if tagged not in known:
                known[tagged] = _apply(function, key)
            entries.append(known[tagged])
    else:
        for key in zip(*tables, strict=True):
            if key not in known:
                known[key] = _apply(function, key)
            entries.append(known[key])
    return reduce(Val(variables, tuple(entries)))


def _mixes(val: Val) -> bool:
    """Whether entries of different types could be taken for each other as dictionary keys."""
    return len({type(e) for e in val.entries} & {bool, int, float}) > 1


def _exact(value: Any) -> Any:
    """A dictionary key that tells 1, 1.0 and True apart."""
    kind = type(value)
    return (kind, value) if kind is bool or kind is float else value


def _apply(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    for argument in arguments:
        if type(argument) is Fault:
            return argument
    return function(*arguments)


def reduce(val: Val) -> Val:
    """The same value without the variables that it does not depend on. Entries are equal only if
    their types are, too: 1, 1.0 and True are different values."""
    variables, entries = list(val.variables), val.entries
    if not variables:
        return val
    first = entries[0]
    if all(map(is_, entries, repeat(first))):
        return Val((), (first,))
    axis = len(variables) - 1
    inner = 1
    while axis >= 0:
        size = len(variables[axis])
        if size > 1:
            block = size * inner
            same = all(
                _same(entries[start : start + inner] * size, entries[start : start + block])
                for start in range(0, len(entries), block)
            )
        else:
            same = True
        if same:
            if size > 1:
                entries = tuple(
                    e
                    for start in range(0, len(entries), size * inner)
                    for e in entries[start : start + inner]
                )
            del variables[axis]
        else:
            inner *= size
        axis -= 1
    return Val(tuple(variables), entries)


def _same(left: tuple[Any, ...], right: tuple[Any, ...]) -> bool:
    return left == right and all(map(is_, map(type, left), map(type, right)))


def select(selector: Val, cases: Sequence[Val]) -> Val:
    """The table of ``cases[selector]``, entry by entry: each combination of variables takes its
    entry from the case whose index ``selector`` has there, or the fault that it has. Raises
    `TableTooLarge`."""
    if selector.is_constant:
        chosen = selector.value
        return constant(chosen) if isinstance(chosen, Fault) else cases[int(chosen)]
    variables = union_variables([selector, *cases])
    if prod(len(v) for v in variables) > MAX_ENTRIES:
        raise TableTooLarge(variables)
    tables = [broadcast(case, variables) for case in cases]
    entries = tuple(
        chosen if type(chosen) is Fault else tables[chosen][at]
        for at, chosen in enumerate(broadcast(selector, variables))
    )
    return reduce(Val(variables, entries))


def assignments(variables: Sequence[Variable]) -> product[tuple[int, ...]]:
    """Every combination of value indices, row-major."""
    return product(*(range(len(v)) for v in variables))
