"""From a mapping of decision paths to options, by a user or a file, to an architecture of a space.

All faults are reported together: unknown and missing decisions, options out of range, requirements
that are not met.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from tsdsl.diagnostics import (
    ArchitectureError,
    Collector,
    Diagnostic,
    Label,
    Source,
    Span,
    did_you_mean,
    nearest,
)
from tsdsl.ir.architecture import Architecture, Option
from tsdsl.ir.constraints import entry_at, is_active
from tsdsl.ir.space import Decision, Requirement, SpaceGraph
from tsdsl.ir.values import Fault, Val
from tsdsl.record import Record

T = TypeVar("T")

#: Number of unknown decisions for which the nearest name is looked for, which is slow.
_SUGGESTIONS = 20


class Resolution(Record):
    """An architecture that fits a space."""

    architecture: Architecture
    #: Value index of every variable: inactive decisions have their default, derived variables are
    #: computed.
    assignment: list[int]
    warnings: tuple[Diagnostic, ...]


def validate(
    space: SpaceGraph, decisions: Mapping[str, Any], warnings: Collector | None = None
) -> Architecture:
    """The architecture of a mapping from decision paths to options: earlier paths are replaced by
    today's, options are written as in the space, inactive decisions are left out.

    Raises `ArchitectureError` with all faults. If the decisions fit but were made for another
    version of the space, a diagnostic is added to ``warnings``.
    """
    found = resolve(space, decisions)
    if warnings is not None:
        warnings.extend(found.warnings)
    return found.architecture


def assignment(space: SpaceGraph, architecture: Mapping[str, Any]) -> list[int]:
    """Value index of every variable of the space. Raises `ArchitectureError`."""
    return resolve(space, architecture).assignment


def architecture_at(space: SpaceGraph, assignment: Sequence[int]) -> Architecture:
    """The architecture of an assignment: its active decisions."""
    chosen = {
        d.path: d.options[assignment[d.variable.index]]
        for d in space.decisions
        if is_active(d, assignment)
    }
    return Architecture(chosen, space.name, space.hash)


def resolve(space: SpaceGraph, decisions: Mapping[str, Any]) -> Resolution:
    """Validate decisions as `validate` does, with the assignment and the warnings as results.
    Raises `ArchitectureError`."""
    return _Resolver(space, decisions).run()


class _Resolver:
    def __init__(self, space: SpaceGraph, decisions: Mapping[str, Any]) -> None:
        self.space = space
        self.given = decisions
        self.found = Collector()
        self.source: Source | None = None
        if isinstance(decisions, Architecture):
            self.source = decisions.source
        self.file = self.source.name if self.source else None

    def run(self) -> Resolution:
        space = self.space
        options = self._named()
        of_variable = {d.variable.index: d for d in space.decisions}
        made: list[int] = []
        #: Variables whose value is a guess, because a decision that they depend on is wrong.
        guessed: set[int] = set()
        chosen: dict[str, Option] = {}
        faults: list[Fault] = []
        for variable in space.variables:
            decision = of_variable.get(variable.index)
            value, sure = 0, True
            if variable.definition is not None:
                sure = not _depends([variable.definition], guessed)
                entry = entry_at(variable.definition, made)
                if isinstance(entry, Fault) and sure:
                    faults.append(entry)
                value = -1 if entry is None or isinstance(entry, Fault) else entry
            elif decision is not None:
                value, sure = decision.default, True
                certain = not _depends((g.selector for g in decision.guards), guessed)
                if not certain or is_active(decision, made):
                    picked = self._option(decision, options, required=certain)
                    sure = picked is not None
                    if picked is not None:
                        value = picked
                        chosen[decision.path] = decision.options[picked]
            if not sure:
                guessed.add(variable.index)
            made.append(value)
        for requirement in space.requirements:
            self._check(requirement, made, guessed)
        if not self.found.has_errors:
            self.found.extend(fault.diagnostic for fault in faults)
        self._compare_hash()
        if self.found.has_errors:
            raise ArchitectureError(self.found)
        architecture = Architecture(
            {d.path: chosen[d.path] for d in space.decisions if d.path in chosen},
            space.name,
            space.hash,
            self.given.provenance if isinstance(self.given, Architecture) else None,
        )
        return Resolution(architecture, made, tuple(self.found))

    def _named(self) -> dict[str, tuple[str, Any]]:
        """The given decisions by today's path, as (path as given, option). Reports unknown
        paths."""
        today = dict.fromkeys(d.path for d in self.space.decisions)
        named: dict[str, tuple[str, Any]] = {}
        unknown = 0
        for path, option in self.given.items():
            if self.found.is_full:
                break
            now = path if path in today else moved(path, self.space.moved)
            if now not in today:
                unknown += 1
                suggest = unknown <= _SUGGESTIONS
                self._report(
                    "E0711",
                    f"space {self.space.name} has no decision '{_short(path)}'",
                    path,
                    help_line=did_you_mean(path, today) if suggest else None,
                )
            elif now in named:
                self._report(
                    "E0714",
                    f"'{path}' and '{named[now][0]}' are both given for '{now}'",
                    path,
                )
            else:
                named[now] = (path, option)
        return named

    def _option(
        self, decision: Decision, options: Mapping[str, tuple[str, Any]], *, required: bool
    ) -> int | None:
        if decision.path not in options:
            if required:
                self._report(
                    "E0712",
                    f"no option for decision '{decision.path}'",
                    None,
                    help_line=f"one of {_listed(decision)}",
                )
            return None
        path, option = options[decision.path]
        index = option_index(decision, option)
        if index is None:
            meant = nearest(option, map(str, decision.options)) if type(option) is str else None
            self._report(
                "E0713",
                f"{_show(option)} is not an option of '{decision.path}'",
                path,
                help_line=f"did you mean '{meant}'?" if meant else f"one of {_listed(decision)}",
                labels=(Label(decision.span, "decided here"),),
            )
        return index

    def _check(self, requirement: Requirement, made: list[int], guessed: set[int]) -> None:
        if _depends([requirement.condition, *(g.selector for g in requirement.guards)], guessed):
            return
        if not all(entry_at(g.selector, made) == g.case for g in requirement.guards):
            return
        if entry_at(requirement.condition, made) is not False:
            return
        text = f": {requirement.message}" if requirement.message else ""
        values = describe(self.space, requirement.condition, made)
        self._report(
            "E0715",
            f"requirement not met{text}",
            None,
            help_line=f"'{requirement.text}' is false for {values}" if values else None,
            labels=(Label(requirement.span, "required here"),),
        )

    def _compare_hash(self) -> None:
        if not isinstance(self.given, Architecture):
            return
        theirs, ours = self.given.space_hash, self.space.hash
        if not theirs or not ours or theirs == ours:
            return
        name = self.given.space
        of = f"space {name}" if name and name != self.space.name else "another version of the space"
        fits = not self.found.has_errors
        self._report(
            "W0970",
            f"this architecture was made for {of}"
            + (": its decisions fit, what they build may differ" if fits else ""),
            None,
            help_line=f"it has hash {_short(theirs)}, {self.space.name} has {ours}",
            severity_is_error=False,
        )

    def _report(
        self,
        code: str,
        message: str,
        path: str | None,
        *,
        help_line: str | None = None,
        labels: tuple[Label, ...] = (),
        severity_is_error: bool = True,
    ) -> None:
        self.found.add(
            Diagnostic(
                code,
                message,
                key_span(self.source, path) if path is not None else None,
                labels=labels,
                help=help_line,
                severity="error" if severity_is_error else "warning",
                file=self.file,
            )
        )


def option_index(decision: Decision, option: Any) -> int | None:
    """Index of an option of a decision; None if it has no such option. Numbers are compared by
    value (3 equals 3.0), a boolean equals no number, and spaces in an operation are ignored."""
    if type(option) is bool or decision.kind == "bool":
        same = [k for k, o in enumerate(decision.options) if type(o) is bool and o is option]
    elif isinstance(option, int | float):
        same = [k for k, o in enumerate(decision.options) if not isinstance(o, str) and o == option]
    elif isinstance(option, str):
        same = [k for k, o in enumerate(decision.options) if o == option]
        if not same and decision.kind == "op":
            plain = "".join(option.split())
            options = ("".join(str(o).split()) for o in decision.options)
            same = [k for k, o in enumerate(options) if o == plain]
    else:
        same = []
    return same[0] if same else None


def moved(path: str, moves: Mapping[str, str]) -> str:
    """Today's name of a path. ``moves`` are applied to the path or a leading part of it, repeatedly
    and at most once each."""
    for _ in range(len(moves)):
        for old, new in moves.items():
            if path == old or path.startswith((f"{old}.", f"{old}[")):
                path = new + path[len(old) :]
                break
        else:
            break
    return path


def by_todays_paths(space: SpaceGraph, given: Mapping[str, T]) -> dict[str, T]:
    """What is given by decision paths, with those that have moved under their path of today.
    Unknown ones stay. Raises `ValueError` where one decision is given under two paths."""
    today = {d.path for d in space.decisions}
    found: dict[str, T] = {}
    for path, value in given.items():
        now = path if path in today else moved(path, space.moved)
        if now in found:
            raise ValueError(f"'{now}' is given twice: '{path}' is an earlier path of it")
        found[now] = value
    return found


def describe(space: SpaceGraph, val: Val, assignment: Sequence[int], limit: int = 8) -> str:
    """The active decisions that a value depends on, as text: "a.width = 40, a.depth = 2". At most
    ``limit`` of them are listed."""
    waiting = list(val.variables)
    found: set[int] = set()
    while waiting:
        variable = waiting.pop()
        if variable.index not in found:
            found.add(variable.index)
            waiting.extend(variable.definition.variables if variable.definition else ())
    of_variable = {d.variable.index: d for d in space.decisions}
    shown = [
        f"{d.path} = {d.options[assignment[index]]}"
        for index in sorted(found)
        if (d := of_variable.get(index)) is not None and is_active(d, assignment)
    ]
    more = len(shown) - limit
    return ", ".join(shown[:limit]) + (f" and {more} more" if more > 0 else "")


def key_span(source: Source | None, key: str) -> Span | None:
    """The place of a decision in the text of an architecture file, if it is found."""
    if source is None:
        return None
    import json

    for written in (json.dumps(key, ensure_ascii=False), json.dumps(key)):
        at = source.text.find(written, max(source.text.find('"decisions"'), 0))
        if at >= 0:
            return Span(source, at, at + len(written))
    return None


def _depends(vals: Iterable[Val], guessed: set[int]) -> bool:
    return bool(guessed) and any(v.index in guessed for val in vals for v in val.variables)


def _listed(decision: Decision, limit: int = 8) -> str:
    shown = ", ".join(map(_show, decision.options[:limit]))
    more = len(decision.options) - limit
    return shown + (f" and {more} more" if more > 0 else "")


def _show(option: Any) -> str:
    if type(option) is bool:
        return "true" if option else "false"
    return _short(f"'{option}'" if isinstance(option, str) else f"{option}")


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
