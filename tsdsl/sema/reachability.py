"""Reachability: which faults of elaboration does some architecture of the space have?

A table may have a fault for a combination of decisions that no architecture makes: another branch
runs there, or a requirement excludes it. A fault is reported only if some architecture reaches it,
once for each place, together with a smallest set of decisions that causes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from math import comb
from typing import Any

from tsdsl.diagnostics import Diagnostic, Label
from tsdsl.ir.graph import Guard
from tsdsl.ir.ordering import TooCoupled
from tsdsl.ir.solve import Solver
from tsdsl.ir.space import Decision
from tsdsl.ir.values import Fault, Val, Variable, assignments
from tsdsl.record import replace
from tsdsl.sema.builder.space_builder import ElaboratedSpace
from tsdsl.sema.context import SILENT, Context, Suspect
from tsdsl.sema.ineffective_decisions import without_effect

#: Faults of one place that are tried, at most, before the place counts as unreachable.
MAX_TRIES = 64
#: Table cells for all queries together, at most: two seconds. Past it the check is incomplete,
#: which is reported (W0906).
MAX_CELLS = 20_000_000
#: The same for a space that has errors already, where an incomplete check is not reported.
MAX_CELLS_BROKEN = 2_000_000
#: Table rows that the search for a smallest cause may look at.
MAX_ROWS = 100_000


class Reachability:
    """Queries about the architectures of one space."""

    def __init__(self, space: ElaboratedSpace) -> None:
        self.space = space
        self.context: Context = space.context
        limit = MAX_CELLS_BROKEN if self.context.findings.has_errors else MAX_CELLS
        self.solver = Solver(
            self.context.variables, self.space.decisions, self.space.requirements, limit
        )
        self.by_variable = {d.variable.index: d for d in self.space.decisions}

    def run(self) -> None:
        """Report the faults that are reached, the options that requirements exclude, and the
        decisions without effect."""
        try:
            self._faults()
            if not self.context.findings.has_errors and self.space.requirements:
                self._constraints()
        except TooCoupled as error:
            if self.context.findings.has_errors:
                # Parts that could not be elaborated are missing, and often a table is large only
                # because of that.
                return
            paths = {d.path for d in self.space.decisions}
            names = ", ".join([n for n in error.names if n in paths][:6] or ["many decisions"])
            self.context.findings.add(
                Diagnostic(
                    "W0906",
                    f"decisions are too coupled for a complete check: {names}",
                    self.space.decisions[0].span,
                    help="an option that nothing can use, or a combination that fails, may go "
                    "unnoticed; 'tsdsl compile' still checks the architecture that it is given",
                    severity="warning",
                )
            )
        if not self.context.findings.has_errors:
            self._effects()

    # -------------------------------------------------------------- faults

    def _faults(self) -> None:
        tried: dict[tuple[Any, ...], int] = {}
        for suspect in self.context.suspects:
            for fault in suspect.value.faults():
                if fault is SILENT:
                    continue
                span = fault.diagnostic.span
                assert span is not None
                place = (fault.diagnostic.code, id(span.source), span.start, span.end)
                if tried.get(place, 0) >= MAX_TRIES:
                    continue
                tried[place] = tried.get(place, 0) + 1
                if self._reaches(suspect, fault):
                    tried[place] = MAX_TRIES

    def _reaches(self, suspect: Suspect, fault: Fault) -> bool:
        if suspect.value.is_constant and not suspect.guards:
            self.context.findings.add(fault.diagnostic)
            return True
        evidence = [(suspect.value, lambda e: e == fault), *map(_holds, suspect.guards)]
        witness = self.solver.find(evidence)
        if witness is None:
            return False
        chosen = self._cause(suspect, fault, witness)
        diagnostic = fault.diagnostic
        if chosen:
            diagnostic = replace(diagnostic, message=f"{diagnostic.message}; {_when(chosen)}")
        self.context.findings.add(diagnostic)
        return True

    def _cause(
        self, suspect: Suspect, fault: Fault, witness: Sequence[int]
    ) -> list[tuple[Decision, int]]:
        """A smallest set of decisions that causes the fault, with the options that the witness
        chooses."""
        variables = _smallest(suspect.value, fault, witness)
        for guard in suspect.guards:
            variables.extend(_smallest_case(guard, witness))
        indices = sorted(_decisions_of(variables))
        return [(self.by_variable[index], witness[index]) for index in indices]

    # -------------------------------------------------------------- constraints

    def _constraints(self) -> None:
        requirements = self.space.requirements
        if self.solver.base() is None:
            self._empty()
            return
        used: set[int] = {v.index for r in requirements for v in r.condition.variables}
        for decision in self.space.decisions:
            if decision.variable.index not in used:
                continue
            usable = set(self.solver.options(decision.variable))
            left = [label for at, label in enumerate(decision.options) if at not in usable]
            if left:
                names = ", ".join(str(label) for label in left[:8])
                self.context.warn(
                    "W0901",
                    f"no architecture uses {names} of '{decision.path}': "
                    "the requirements rule it out",
                    decision.span,
                    "drop the option, or relax a requirement",
                )

    def _empty(self) -> None:
        requirements = self.space.requirements
        for size in (1, 2):
            for some in combinations(requirements, size):
                solver = Solver(self.context.variables, self.space.decisions, some, MAX_CELLS)
                if solver.base() is None:
                    texts = " and ".join(f"'{r.text}'" for r in some)
                    self.context.error(
                        "E0505",
                        f"no architecture satisfies {texts}",
                        some[0].span,
                        "relax it, or give the decisions more options",
                        [Label(r.span, "and this") for r in some[1:]],
                    )
                    return
        self.context.error(
            "E0505",
            f"no architecture satisfies all {len(requirements)} requirements together",
            requirements[0].span,
            "relax one of them",
        )

    # -------------------------------------------------------------- effects

    def _effects(self) -> None:
        for decision in without_effect(self.space.root, self.space.decisions):
            self.context.warn(
                "W0902",
                f"'{decision.path}' changes nothing: the network is the same with each option",
                decision.span,
                "use it, or remove it",
            )


def _holds(guard: Guard) -> tuple[Val, Any]:
    return guard.selector, lambda entry: type(entry) is int and entry == guard.case


def _smallest(val: Val, fault: Fault, witness: Sequence[int]) -> list[Variable]:
    """The fewest variables of a table whose values in the witness imply a fault of this code,
    whatever values the other variables have."""
    code = fault.diagnostic.code

    def faulty(entry: Any) -> bool:
        return isinstance(entry, Fault) and entry.diagnostic.code == code

    return _fewest(val, witness, faulty)


def _smallest_case(guard: Guard, witness: Sequence[int]) -> list[Variable]:
    return _fewest(guard.selector, witness, lambda entry: entry == guard.case)


def _fewest(val: Val, witness: Sequence[int], holds: Callable[[Any], bool]) -> list[Variable]:
    """A smallest set of a table's variables whose values in the witness imply that the entry
    ``holds``. Where there are too many sets to try, a set of which no variable can be left out."""
    variables = val.variables
    rows = [
        [row[at] == witness[v.index] for at, v in enumerate(variables)]
        for row, entry in zip(assignments(variables), val.entries, strict=True)
        if not holds(entry)
    ]
    for size in range(min(len(variables), 3)):
        if comb(len(variables), size) * len(rows) > MAX_ROWS:
            break
        for some in combinations(range(len(variables)), size):
            # Every combination that does not hold differs from the witness in one of them.
            if all(not all(row[at] for at in some) for row in rows):
                return [variables[at] for at in some]
    kept = list(range(len(variables)))
    for at in range(len(variables)):
        fewer = [k for k in kept if k != at]
        if all(not all(row[k] for k in fewer) for row in rows):
            kept = fewer
    return [variables[at] for at in kept]


def _decisions_of(variables: Sequence[Variable]) -> set[int]:
    """Indices of the decisions that variables depend on, directly or through derived ones."""
    seen: set[int] = set()
    found: set[int] = set()
    pending = list(variables)
    while pending:
        variable = pending.pop()
        if variable.index in seen:
            continue
        seen.add(variable.index)
        if variable.definition is None:
            found.add(variable.index)
        else:
            pending.extend(variable.definition.variables)
    return found


def _when(chosen: Sequence[tuple[Decision, int]]) -> str:
    parts = [f"{decision.path} = {decision.options[at]}" for decision, at in chosen[:6]]
    more = f" and {len(chosen) - 6} more" if len(chosen) > 6 else ""
    return "when " + ", ".join(parts) + more
