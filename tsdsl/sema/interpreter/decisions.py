"""Decisions: from a written domain to a variable of the space, or to the option that is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from tsdsl.diagnostics import Label, did_you_mean
from tsdsl.ir.architecture import Option
from tsdsl.ir.graph import Guard
from tsdsl.ir.space import Decision, DecisionKind
from tsdsl.ir.values import Fault, Val, Variable, constant, of_variable
from tsdsl.sema.context import POISON, Context
from tsdsl.sema.functions import is_number, show, type_name
from tsdsl.sema.interpreter.options import Choice, OptionReader, written
from tsdsl.sema.interpreter.protocols import Evaluator, Override, SpaceRecorder
from tsdsl.sema.scope import Env, OpValue, Scope
from tsdsl.syntax import ast, printer


class DecisionMaker:
    """Turns domains into decisions of the space. ``--set`` fixes a decision to one of its options;
    then it is no decision but a constant."""

    def __init__(self, context: Context, space: SpaceRecorder, evaluator: Evaluator) -> None:
        self.context = context
        self.space = space
        self.evaluator = evaluator
        self._reader = OptionReader(context, evaluator)

    def decide(self, path: str, name: ast.Ident, domain: ast.Domain, scope: Scope, env: Env) -> Val:
        """Make the decision at ``path``, and name its value in ``scope``."""
        first = self.space.reserve(path, name.span)
        if first is not None:
            return self.context.error(
                "E0202",
                f"decision '{path}' is declared twice",
                name.span,
                "give one of them another name, or decide in its own line and use the name",
                [Label(first, "declared here first")],
            )
        if isinstance(domain, ast.SetDomain) and not self._reader.are_few(domain):
            value = POISON
        elif isinstance(domain, ast.SetDomain) and _nests(domain):
            value = self._nested(path, name, domain, env)
        else:
            choices = self._reader.options(domain, env)
            value = self._plain(path, name, domain, choices, env) if choices else POISON
        scope.names[name.text] = value
        return value

    def _plain(
        self,
        path: str,
        name: ast.Ident,
        domain: ast.Domain,
        choices: Sequence[Choice],
        env: Env,
    ) -> Val:
        """A decision between options without decisions of their own."""
        default = self._reader.default(domain, choices, env)
        weights = self._reader.weights(domain, env)
        override = self.space.override_of(path)
        if override is not None:
            chosen = self._chosen(override, choices, name)
            return POISON if chosen is None else constant(choices[chosen].value)
        variable = self.context.variable(path, tuple(choice.value for choice in choices))
        self._add(path, name, variable, choices, weights, default)
        return of_variable(variable)

    def _nested(self, path: str, name: ast.Ident, domain: ast.SetDomain, env: Env) -> Val:
        """A choice between operations with decisions of their own. These are active only where
        their operation is chosen, so the variable must exist before the options are evaluated: its
        values are empty operations, which are filled in afterwards."""
        shells = [OpValue(None, "none") for _ in domain.options]
        choices = [
            Choice(shell, written(option.value), option.span)
            for shell, option in zip(shells, domain.options, strict=True)
        ]
        if not self._reader.are_alike(choices):
            return POISON
        fixed: int | None = None
        override = self.space.override_of(path)
        if override is not None:
            fixed = self._chosen(override, choices, name)
            if fixed is None:
                return POISON
        if fixed is not None:
            selector, result = constant(fixed), constant(shells[fixed])
        else:
            variable = self.context.variable(path, tuple(shells))
            weights = self._reader.weights(domain, env)
            default = self._reader.default(domain, choices, env)
            self._add(path, name, variable, choices, weights, default)
            selector = Val((variable,), tuple(range(len(shells))))
            result = of_variable(variable)
        for case, (shell, option) in enumerate(zip(shells, domain.options, strict=True)):
            if fixed not in (None, case):
                continue
            inner = Scope(
                f"{path}.{_callee_name(option.value)}", env.scope, guards=self.context.guards
            )
            with self.space.region(Guard(selector, case)):
                val = self.evaluator.plain(
                    option.value,
                    Env(env.scope, env.module, env.block, env.sites, inner, env.prefix),
                )
            if val.is_constant and isinstance(val.value, OpValue):
                shell.fill(val.value)
            elif not (val.is_constant and isinstance(val.value, Fault)):
                self.context.error("E0301", "this option is no operation", option.span)
        return result

    def _add(
        self,
        path: str,
        name: ast.Ident,
        variable: Variable,
        choices: Sequence[Choice],
        weights: tuple[float, ...] | None,
        default: int,
    ) -> None:
        kinds = {type_name(value) for value in variable.domain}
        kind = kinds.pop() if len(kinds) == 1 else "ratio"
        labels = tuple(choice.label for choice in choices)
        self.space.add_decision(
            Decision(
                path,
                cast(DecisionKind, kind),
                variable,
                labels,
                weights,
                default,
                self.context.guards,
                name.span,
                self.space.documentation(path),
            )
        )
        if len(labels) == 1:
            self.context.warn(
                "W0904",
                f"'{path}' has one option: it decides nothing",
                name.span,
                "fix it with '='",
            )

    def _chosen(self, override: Override, choices: Sequence[Choice], name: ast.Ident) -> int | None:
        """The position of the option that ``--set`` gives; None where it gives none, which is
        reported."""
        given = override.value
        for at, choice in enumerate(choices):
            if _matches(choice.label, given):
                return at
        known = [str(choice.label) for choice in choices]
        shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
        text = given if isinstance(given, str) else show(given)
        self.context.error(
            "E0508",
            f"--set {override.key}={text}: the decision has no such option",
            name.span,
            did_you_mean(str(given), known, f"the options are: {shown}"),
        )
        return None


def _matches(label: Option, given: Any) -> bool:
    """Whether a value from ``--set`` means an option. On the command line it is text; a program may
    give numbers and sizes as such."""
    if isinstance(given, str) and not isinstance(label, str):
        shown = show(label)
        return given.strip() == shown or (is_number(label) and _as_number(given) == label)
    if isinstance(given, list | tuple):
        given = "x".join(str(part) for part in cast(Sequence[Any], given))
    if isinstance(label, str) and isinstance(given, str):
        return "".join(given.split()) == "".join(label.split())
    return isinstance(given, bool) is isinstance(label, bool) and given == label


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _callee_name(node: ast.Expr) -> str:
    """The name of an operation that is an option, without its module and arguments."""
    function = node.function if isinstance(node, ast.Call) else node
    return function.name.text if isinstance(function, ast.Member) else printer.expression(function)


def _nests(domain: ast.SetDomain) -> bool:
    """Whether an option has decisions of its own."""

    def decides(node: Any) -> bool:
        if not isinstance(node, ast.Call):
            return False
        return any(
            isinstance(a.value, ast.SetDomain | ast.RangeDomain) or decides(a.value)
            for a in node.arguments
        )

    return any(decides(option.value) for option in domain.options)
