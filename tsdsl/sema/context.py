"""The state of one elaboration: variables, decisions, guards, nodes and findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

from tsdsl.diagnostics import Collector, Diagnostic, Label, Span
from tsdsl.ir.graph import Guard, Node
from tsdsl.ir.space import Decision, Requirement
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

#: A space with more operations than this is taken for a mistake (``repeat 1000000000``).
MAX_NODES = 40_000
#: What the elaboration of a space may come to, in entries of tables (a second or two). The largest
#: real space is ten times smaller.
MAX_WORK = 2_000_000
#: What an expression, a statement and one round of a repeat come to.
EXPRESSION, STATEMENT, ROUND = 5, 5, 30
#: A table over several variables with more entries than this becomes a variable of its own.
DERIVE_ABOVE = 2048

#: Stands for a value that cannot be had, for a reason that was reported where it arose.
SILENT = Fault(Diagnostic("", "reported already"))
POISON = constant(SILENT)


def is_broken(value: object) -> bool:
    """Whether a value cannot be had whatever is decided (which was reported, or will be)."""
    return isinstance(value, Val) and not value.variables and type(value.entries[0]) is Fault


class TooManyFindings(Exception):
    """There is no use in going on: the space is too large (which has been recorded), or more is
    wrong with it than is shown."""


class Suspect(Record, eq=True):
    """A table with faults: each is a finding if some architecture reaches it."""

    value: Val
    guards: tuple[Guard, ...]


class Context:
    def __init__(self, findings: Collector, loader: Loader) -> None:
        self.findings = findings
        self.loader = loader
        self.variables: list[Variable] = []
        self.decisions: list[Decision] = []
        self.requirements: list[Requirement] = []
        self.suspects: list[Suspect] = []
        self.guards: tuple[Guard, ...] = ()
        self.nodes: list[Node] = []
        #: Where the calls that are being elaborated were written, outermost first.
        self.uses: list[Span] = []
        #: Whether something was taken for right because the base of the space has it.
        self.relies_on_base = False
        self._count = 0
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
        """Record a finding; the poison that stands for the value."""
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
        """A finding; inside blocks with the place in the space from which they are used."""
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
            except ValueFault as wrong:
                return Fault(self.diagnostic(wrong.code, wrong.message, span, wrong.hint))

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
            return self.too_wide(error, span)
        self.suspect(result, vals)
        return self.derive(result, span.text[:40]) if self._wide(result) else result

    def select(self, selector: Val, cases: Sequence[Val], span: Span) -> Val:
        try:
            return select(selector, cases)
        except TableTooLarge as error:
            return self.too_wide(error, span)

    def suspect(self, result: Val, inputs: Sequence[Val]) -> None:
        """Remember the faults that arose in ``result``."""
        faults = result.faults()
        if not faults:
            return
        known = {fault for val in inputs for fault in val.faults()}
        if any(fault not in known for fault in faults):
            self.suspects.append(Suspect(result, self.guards))

    def too_wide(self, error: TableTooLarge, span: Span) -> Val:
        if self.findings.has_errors_but("E0512"):
            # Tables of what was given up on are larger than those of the space will be.
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

    def _wide(self, val: Val) -> bool:
        return len(val.variables) > 1 and len(val.entries) > DERIVE_ABOVE

    def derive(self, val: Val, name: str) -> Val:
        """The same value as a function of one new variable, where that is smaller."""
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
        variable = Variable(len(self.variables), name, domain, definition)
        self.variables.append(variable)
        return variable

    # -------------------------------------------------------------- graph

    def spend(self, amount: int, span: Span) -> None:
        """Count work, and give up on a space that is far larger than any real one."""
        self._work += amount
        if self._work > MAX_WORK:
            self._too_large("this space takes too long to work out", span)

    def _too_large(self, message: str, span: Span) -> None:
        hint = "repeat fewer blocks, or let fewer decisions meet in one value"
        self.error("E0511", message, self.uses[0] if self.uses else span, hint)
        raise TooManyFindings

    def emit(self, node: Node, span: Span) -> None:
        self._count += 1
        if self._count > MAX_NODES:
            self._too_large(f"this space has more than {MAX_NODES:,} operations", span)
        self.nodes.append(node)

    @contextmanager
    def region(self, guard: Guard | None = None) -> Iterator[list[Node]]:
        """Collect the nodes that are emitted inside, under one more guard."""
        nodes, guards = self.nodes, self.guards
        inside: list[Node] = []
        self.nodes = inside
        if guard is not None and not guard.selector.is_constant:
            self.guards = (*guards, guard)
        try:
            yield inside
        finally:
            self.nodes, self.guards = nodes, guards

    @contextmanager
    def use(self, span: Span) -> Iterator[None]:
        self.uses.append(span)
        try:
            yield
        finally:
            self.uses.pop()
