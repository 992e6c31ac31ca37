"""Decisions without effect: the network is the same graph whichever option they take.

The method is global value numbering (Alpern, Wegman and Zadeck, 1988). For a decision d, the graph
is read once for each option of d, with all other decisions left open. Every tensor gets a number
such that

    number(a) = number(b)  only if  a and b are computed in the same way:

by the same operation at the same path, with the same arguments (tables over the other decisions),
from tensors of the same numbers. d has no effect if the result has one number, and the same
operations run, for all options of d.

The answer errs on one side: requirements, and relations between conditions, are not considered. A
decision without effect may go unnoticed; a decision with an effect is never reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tsdsl.ir.graph import CallNode, Edge, OpNode, Path, Region, Switch, walk
from tsdsl.ir.space import Decision
from tsdsl.ir.values import Fault, Val, Variable, assignments, reduce
from tsdsl.record import Record

#: Operations that are read for all decisions together, at most: about a second.
MAX_READ = 200_000


def without_effect(root: Region, decisions: Sequence[Decision]) -> Iterator[Decision]:
    """The decisions with several options that do not change the network."""
    relevant = _arguments(root)
    _operations(root, relevant)
    doubtful = [d for d in decisions if d.variable.index not in relevant and len(d.options) > 1]
    size = sum(1 for _ in walk(root)) + 1 if doubtful else 0
    left = MAX_READ
    for decision in doubtful:
        left -= size * len(decision.options)
        if left < 0:
            return
        numbers: dict[Any, int] = {}
        first, *others = (
            _World(decision.variable, at, numbers) for at in range(len(decision.options))
        )
        network = first.network(root)
        if all(world.network(root) == network for world in others):
            yield decision


def _arguments(root: Region) -> set[int]:
    """Indices of the variables that arguments of operations depend on, directly or through derived
    variables."""
    relevant: set[int] = set()
    for placed in walk(root):
        for val in placed.node.args.values():
            _touch(val, relevant)
    return relevant


def _touch(val: Val, relevant: set[int]) -> None:
    """Add all variables that a table depends on."""
    for variable in val.variables:
        if variable.index not in relevant:
            relevant.add(variable.index)
            if variable.definition is not None:
                _touch(variable.definition, relevant)


def _operations(region: Region, relevant: set[int]) -> tuple[Any, ...]:
    """The operations of a region, with their fixed arguments. Adds to ``relevant`` the variables of
    each selector between cases with different operations: most decisions are settled by this, which
    is cheap."""
    found: list[Any] = []
    for node in region.nodes:
        if isinstance(node, OpNode):
            fixed = [(n, v.value) for n, v in node.args.items() if v.is_constant]
            found.append((node.op, node.path, *fixed))
        elif isinstance(node, CallNode):
            found.extend((node.path, inner) for inner in _operations(node.body, relevant))
        elif node.selector.is_constant:
            found.extend(_operations(node.cases[int(node.selector.value)], relevant))
        else:
            cases = [_operations(case, relevant) for case in node.cases]
            if any(case != cases[0] for case in cases[1:]):
                _touch(node.selector, relevant)
            found.extend(cases[0])
    return tuple(found)


class _Read(Record, eq=True):
    """A region as it was read: the number of its result, and those of the operations that run."""

    result: int
    operations: tuple[int, ...]


class _World:
    """The graph with one variable fixed. Numbers of worlds that share ``numbers`` can be
    compared."""

    def __init__(self, variable: Variable, at: int, numbers: dict[Any, int]) -> None:
        self._variable, self._at = variable, at
        self._numbers = numbers
        self._edges: dict[Edge, int] = {}
        self._values: dict[Val, int] = {}
        self._variables: dict[int, int] = {}
        #: Index of a variable -> values that it can have where the region that is read runs.
        self._allowed: dict[int, frozenset[int]] = {variable.index: frozenset([at])}

    def network(self, root: Region) -> _Read:
        return self._region(root, ())

    def _number(self, *key: Any) -> int:
        return self._numbers.setdefault(key, len(self._numbers))

    def _region(self, region: Region, path: Path) -> _Read:
        operations: list[int] = []
        for node in region.nodes:
            at = (*path, *node.path)
            if isinstance(node, OpNode):
                arguments = tuple((n, self._value(val)) for n, val in node.args.items())
                number = self._number(node.op, at, arguments, *map(self._edge, node.inputs))
                self._edges[node.output] = number
                operations.append(number)
            elif isinstance(node, CallNode):
                for formal, given in zip(node.formals, node.inputs, strict=True):
                    self._edges[formal] = self._edge(given)
                body = self._region(node.body, at)
                self._edges[node.output] = body.result
                operations.extend(body.operations)
            else:
                chosen = self._switch(node, path)
                self._edges[node.output] = chosen.result
                operations.extend(chosen.operations)
        return _Read(self._edge(region.result), tuple(operations))

    def _switch(self, node: Switch, path: Path) -> _Read:
        taken = self._taken(node.selector)
        if len(taken) == 1:
            return self._region(node.cases[taken[0]], path)
        cases = {case: self._case(node, case, path) for case in taken}
        first = cases[taken[0]]
        if all(case == first for case in cases.values()):
            return first
        result = first.result
        if any(case.result != result for case in cases.values()):
            result = self._chosen("result", node.selector, {k: c.result for k, c in cases.items()})
        operations = {k: self._number("operations", c.operations) for k, c in cases.items()}
        if any(case.operations for case in cases.values()):
            return _Read(result, (self._chosen("runs", node.selector, operations),))
        return _Read(result, ())

    def _case(self, node: Switch, case: int, path: Path) -> _Read:
        """A case of a switch. The selector has one value there, so that if it depends on a single
        variable, fewer values of that variable are possible."""
        variables = node.selector.variables
        if len(variables) != 1:
            return self._region(node.cases[case], path)
        index = variables[0].index
        before = self._allowed.get(index)
        self._allowed[index] = frozenset(
            at
            for at, entry in enumerate(node.selector.entries)
            if entry == case and (before is None or at in before)
        )
        read = self._region(node.cases[case], path)
        del self._allowed[index]
        if before is not None:
            self._allowed[index] = before
        return read

    def _chosen(self, what: str, selector: Val, numbers: dict[int, int]) -> int:
        """The number of a choice between numbers: that of the table of the chosen number over the
        selector's variables, in which the order of the cases does not matter."""
        entries = tuple(
            -1 if isinstance(entry, Fault) else numbers.get(entry, -1) for entry in selector.entries
        )
        return self._number(what, self._value(reduce(Val(selector.variables, entries))))

    def _edge(self, edge: Edge) -> int:
        """The number of a tensor. A tensor without a node here (the clip, the result of a case that
        never runs) gets a number of its own."""
        if edge not in self._edges:
            self._edges[edge] = self._number("tensor", id(edge))
        return self._edges[edge]

    # -------------------------------------------------------------- values

    def _taken(self, selector: Val) -> list[int]:
        """The cases of a selector that may run here. An entry that is a fault belongs to no
        architecture."""
        entries = selector.entries
        if any(v.index in self._allowed for v in selector.variables):
            allowed = [self._allowed.get(v.index) for v in selector.variables]
            rows = zip(assignments(selector.variables), entries, strict=True)
            entries = tuple(
                entry
                for row, entry in rows
                if all(a is None or at in a for a, at in zip(allowed, row, strict=True))
            )
        return list(dict.fromkeys(int(e) for e in entries if not isinstance(e, Fault))) or [0]

    def _value(self, val: Val) -> int:
        """The number of a table."""
        if val not in self._values:
            self._values[val] = self._table(val)
        return self._values[val]

    def _table(self, val: Val) -> int:
        variables = [v for v in val.variables if v is not self._variable]
        entries = val.entries
        if len(variables) < len(val.variables):
            at = val.variables.index(self._variable)
            rows = zip(assignments(val.variables), entries, strict=True)
            entries = tuple(entry for row, entry in rows if row[at] == self._at)
        # The type is part of the key, because 1, 1.0 and true are equal in Python. Operations are
        # compared by identity.
        typed = tuple((type(e), e) for e in entries)
        return self._number("table", tuple(map(self._variable_number, variables)), typed)

    def _variable_number(self, variable: Variable) -> int:
        """The number of a variable. Derived variables with equal definitions have one number."""
        if variable.index not in self._variables:
            definition = variable.definition
            self._variables[variable.index] = (
                self._number("decision", variable.index)
                if definition is None
                else self._number("derived", variable.domain, self._value(definition))
            )
        return self._variables[variable.index]
