"""The shared state of one elaboration: findings, variables, guards, and the work that is left.

The interpreter of expressions and the builder of the space both write here. The graph itself is the
builder's (`tsdsl.sema.builder.draft`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any, NoReturn

from tsdsl.diagnostics import Collector, Diagnostic, Label, Span
from tsdsl.ir.graph import Guard
from tsdsl.ir.values import (
    MAX_ENTRIES,
    Fault,
    TableTooLarge,
    Val,
    Variable,
    constant,
    lift,
    of_variable,
    select,
    union_variables,
)
from tsdsl.record import Record
from tsdsl.sema.functions import ValueFault
from tsdsl.sema.modules import Loader

#: Largest work of elaborating one space, in table entries: one or two seconds. The largest real
#: space needs a tenth of it.
MAX_WORK = 2_000_000
#: Work of an expression, of a statement, and of one iteration of a repeat, in table entries.
EXPRESSION, STATEMENT, ROUND = 5, 5, 30
#: A table over several variables with more entries than this becomes a variable of its own.
DERIVE_ABOVE = 2048

#: A fault that has been reported where it arose, and must not be reported again.
SILENT = Fault(Diagnostic("", "reported already"))
#: A value whose only entry is `SILENT`: it stands for an expression that could not be evaluated.
POISON = constant(SILENT)


def is_broken(value: object) -> bool:
    """Whether a value is a fault for every architecture, which has been or will be reported."""
    return isinstance(value, Val) and not value.variables and type(value.entries[0]) is Fault


class TooManyFindings(Exception):
    """Elaboration stops early: the space is too large, which has been reported, or it has more
    findings than are shown."""


class Suspect(Record, eq=True):
    """A table with faults. Each fault is a finding if some architecture that satisfies ``guards``
    reaches it (`tsdsl.sema.reachability`)."""

    value: Val
    guards: tuple[Guard, ...]


class Context:
    """The findings, variables and guards of one elaboration."""

    def __init__(self, findings: Collector, loader: Loader) -> None:
        self.findings = findings
        self.loader = loader
        self.variables: list[Variable] = []
        self.suspects: list[Suspect] = []
        #: The conditions under which the part that is being elaborated runs.
        self.guards: tuple[Guard, ...] = ()
        #: The statements and calls that are being elaborated, outermost first.
        self.uses: list[Span] = []
        #: Whether something could be judged only by trusting the base of the space, so that the
        #: base needs a check of its own.
        self.relies_on_base = False
        self._work = 0

    # -------------------------------------------------------------- findings

    def error(
        self,
        code: str,
        message: str,
        span: Span,
        hint: str | None = None,
        labels: Sequence[Label] = (),
    ) -> Val:
        """Report an error. Returns `POISON`, which takes the place of the value.

        Raises `TooManyFindings` where far more errors have been found than are shown.
        """
        self.findings.add(self.diagnostic(code, message, span, hint, labels))
        if self.findings.is_full:
            raise TooManyFindings
        return POISON

    def warn(self, code: str, message: str, span: Span, hint: str | None = None) -> None:
        self.findings.add(Diagnostic(code, message, span, help=hint, severity="warning"))

    def diagnostic(
        self,
        code: str,
        message: str,
        span: Span,
        hint: str | None = None,
        labels: Sequence[Label] = (),
    ) -> Diagnostic:
        """An error that is not reported yet. Inside a block it has a label at the statement of the
        space that uses the block."""
        extra: tuple[Label, ...] = ()
        use = self.uses[0] if self.uses else span
        if use.source is not span.source or not use.start <= span.start <= span.end <= use.end:
            extra = (Label(self.uses[0], "used here"),)
        return Diagnostic(code, message, span, (*labels, *extra), hint)

    # -------------------------------------------------------------- values

    def lift(self, function: Callable[..., Any], span: Span, *vals: Val) -> Val:
        """Apply a function of plain values to tables, entry by entry (`tsdsl.ir.values.lift`).

        Where ``function`` raises `ValueFault`, the entry is a fault. A large table is replaced by a
        derived variable.
        """

        def guarded(*arguments: Any) -> Any:
            try:
                return function(*arguments)
            except ValueFault as fault:
                return Fault(self.diagnostic(fault.code, fault.message, span, fault.hint))

        if all(not val.variables for val in vals):
            # Most values are constant, and a network without decisions has no others.
            entries = [val.entries[0] for val in vals]
            for val in vals:
                if type(val.entries[0]) is Fault:
                    return val
            result = constant(guarded(*entries))
            if type(result.entries[0]) is Fault:
                self.suspects.append(Suspect(result, self.guards))
            return result
        self.spend(min(prod(map(len, union_variables(vals))), MAX_ENTRIES), span)
        try:
            result = lift(guarded, *vals)
        except TableTooLarge as error:
            return self._too_wide(error, span)
        self._suspect(result, vals)
        return self.derive(result, span.text[:40]) if self._is_wide(result) else result

    def select(self, selector: Val, cases: Sequence[Val], span: Span) -> Val:
        """The value of the case that ``selector`` names, entry by entry."""
        try:
            return select(selector, cases)
        except TableTooLarge as error:
            return self._too_wide(error, span)

    def _suspect(self, result: Val, inputs: Sequence[Val]) -> None:
        """Remember the faults of ``result`` that none of its inputs has."""
        faults = result.faults()
        if not faults:
            return
        known = {fault for val in inputs for fault in val.faults()}
        if any(fault not in known for fault in faults):
            self.suspects.append(Suspect(result, self.guards))

    def _too_wide(self, error: TableTooLarge, span: Span) -> Val:
        if self.findings.has_errors_but("E0512"):
            # Parts that could not be elaborated are missing, and often a table is large only
            # because of that.
            return POISON
        names = ", ".join(v.name for v in error.variables[:6])
        more = f" and {len(error.variables) - 6} more" if len(error.variables) > 6 else ""
        return self.error(
            "E0512",
            f"this value depends on too many decisions at once: {names}{more} "
            f"({error.size:,} combinations)",
            span,
            "fix some of them with '=', or give the decisions fewer options",
        )

    def _is_wide(self, val: Val) -> bool:
        return len(val.variables) > 1 and len(val.entries) > DERIVE_ABOVE

    def derive(self, val: Val, name: str) -> Val:
        """The same value as a function of one new variable, if its table is less than half as large
        then."""
        if len(val.variables) < 2:
            return val
        domain = tuple(dict.fromkeys(val.entries))
        if len(domain) * 2 > prod(len(v) for v in val.variables):
            return val
        number = {entry: at for at, entry in enumerate(domain)}
        definition = Val(val.variables, tuple(number[entry] for entry in val.entries))
        return of_variable(self.variable(name, domain, definition))

    def variable(
        self, name: str, domain: tuple[Any, ...], definition: Val | None = None
    ) -> Variable:
        """A new variable: of a decision, or derived from others by ``definition``."""
        variable = Variable(len(self.variables), name, domain, definition)
        self.variables.append(variable)
        return variable

    # -------------------------------------------------------------- limits

    def spend(self, amount: int, span: Span) -> None:
        """Count work, in table entries. Raises `TooManyFindings`, after an error, past
        `MAX_WORK`."""
        self._work += amount
        if self._work > MAX_WORK:
            self.too_large("this space takes too long to elaborate", span)

    def too_large(self, message: str, span: Span) -> NoReturn:
        """Report that the space is too large, and stop."""
        hint = "repeat fewer blocks, or let fewer decisions meet in one value"
        self.error("E0511", message, self.uses[0] if self.uses else span, hint)
        raise TooManyFindings

    @contextmanager
    def use(self, span: Span) -> Iterator[None]:
        """Findings inside concern the statement or call at ``span``."""
        self.uses.append(span)
        try:
            yield
        finally:
            self.uses.pop()
