"""Decisions: from a written domain to a variable with options."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, cast

from tsdsl.diagnostics import Collector, Label, Source, Span, did_you_mean
from tsdsl.ir.architecture import Option
from tsdsl.ir.graph import Guard
from tsdsl.ir.space import Decision, DecisionKind
from tsdsl.ir.values import Fault, Val, constant, of_variable
from tsdsl.record import replace
from tsdsl.sema.context import POISON, Context
from tsdsl.sema.evaluate import Evaluator
from tsdsl.sema.functions import is_number, show, type_name
from tsdsl.sema.modules import LoadedModule
from tsdsl.sema.scope import BlockRef, Env, OpValue, Scope, Value
from tsdsl.syntax import ast, printer

#: A decision with more options is taken for a mistake.
MAX_OPTIONS = 4096
#: Weights are relative: more than this range is not needed, and they can be added up.
LEAST_WEIGHT = 1e-100


class Decider(Evaluator):
    """`decide` makes decisions; ``overrides`` (``--set``) fix params and decisions."""

    def __init__(self, context: Context, overrides: Mapping[str, Any]) -> None:
        super().__init__(context)
        self.overrides = dict(overrides)
        self.used: set[str] = set()
        #: Today's path of what is given under an earlier one (``moved``) -> that one.
        self.earlier: dict[str, str] = {}
        self.declared: dict[str, Span] = {}
        self.docs: dict[str, str] = {}

    def given(self, path: str) -> str | None:
        """The ``--set`` that is about a path: the path itself, or an earlier one of it, which
        nothing has today."""
        if path in self.overrides:
            return path
        earlier = self.earlier.get(path)
        return None if earlier in self.used else earlier

    def decide(self, path: str, name: ast.Ident, domain: ast.Domain, scope: Scope, env: Env) -> Val:
        if path in self.declared:
            return self.context.error(
                "E0202",
                f"decision '{path}' is declared twice",
                name.span,
                "give one of them another name, or decide in its own line and use the name",
                [Label(self.declared[path], "declared here first")],
            )
        self.declared[path] = name.span
        if isinstance(domain, ast.SetDomain) and not self._few(domain):
            value = POISON
        elif isinstance(domain, ast.SetDomain) and _nests(domain):
            value = self._nested(path, name, domain, env)
        else:
            options = self._options(domain, env)
            value = self._settle(path, name, domain, options, env) if options else POISON
        scope.names[name.text] = value
        return value

    # -------------------------------------------------------------- options

    def _options(self, domain: ast.Domain, env: Env) -> list[tuple[Any, Option, Span]] | None:
        """(meaning, label, span) of each option; None where something is wrong with them."""
        if isinstance(domain, ast.RangeDomain):
            return self._range(domain, env)
        options: list[tuple[Any, Option, Span]] = []
        bad = False
        for option in domain.options:
            val = self.plain(option.value, env, "an option")
            if not val.is_constant:
                self.context.error(
                    "E0504",
                    "an option must not depend on another decision",
                    option.value.span,
                    "options are fixed values, or operations (whose arguments may be decided)",
                )
                bad = True
            elif isinstance(val.value, Fault):
                bad = True
            else:
                options.append((val.value, _label(val.value, option.value), option.span))
        return None if bad or not self._uniform(options) else options

    def _few(self, domain: ast.SetDomain) -> bool:
        if len(domain.options) <= MAX_OPTIONS:
            return True
        self.context.error(
            "E0511",
            f"{len(domain.options):,} options in one decision; at most {MAX_OPTIONS:,} are meant",
            domain.options[MAX_OPTIONS].span,
            "a range (8..512 step 8) is short to write",
        )
        return False

    def _uniform(self, options: Sequence[tuple[Any, Option, Span]]) -> bool:
        """Whether all options are of one type and none is there twice."""
        seen: dict[tuple[str, Option], Span] = {}
        kinds = {"ratio" if is_number(v) else type_name(v) for v, _, _ in options}
        if len(kinds) > 1:
            first, second = sorted(kinds)[:2]
            odd = next(o for o in options if _kind(o[0]) != _kind(options[0][0]))
            self.context.error(
                "E0303", f"options are of one type, not of {first} and {second}", odd[2]
            )
            return False
        fine = True
        for value, label, span in options:
            key = ("number" if is_number(value) else type_name(value), label)
            if key in seen:
                self.context.error(
                    "E0502",
                    f"option {label} is there twice",
                    span,
                    "remove one; weights ({a: 0.7, b: 0.3}) make an option more likely",
                    [Label(seen[key], "first here")],
                )
                fine = False
            seen.setdefault(key, span)
        return fine

    def _range(self, domain: ast.RangeDomain, env: Env) -> list[tuple[Any, Option, Span]] | None:
        low = self.number(domain.low, env)
        high = self.number(domain.high, env)
        step = self.number(domain.step, env) if domain.step else 1
        if low is None or high is None or step is None:
            return None
        if step <= 0:
            assert domain.step is not None
            self.context.error("E0503", f"a step is above 0, not {step}", domain.step.span)
            return None
        if low > high:
            self.context.error(
                "E0503",
                f"the range {low}..{high} is empty: {low} is more than {high}",
                domain.span,
                f"write {high}..{low}" + (f" step {step}" if domain.step else ""),
            )
            return None
        whole = all(type(v) is int for v in (low, high, step))
        if not whole and domain.step is None:
            self.context.error(
                "E0503", "a range of ratios needs a step", domain.span, "as in 1.5..3.0 step 0.75"
            )
            return None
        steps = (high - low) // step if whole else (high - low) / step
        if steps >= MAX_OPTIONS:
            shown = f"{steps + 1:,}" if whole and steps < 10**15 else "far too many"
            self.context.error(
                "E0503",
                f"this range has {shown} options; at most {MAX_OPTIONS:,} are meant",
                domain.span,
                "give it a larger step",
            )
            return None
        count = int(steps if whole else math.floor(steps + 1e-9)) + 1
        if whole and (high - low) % step:
            last = low + (count - 1) * step
            self.context.warn(
                "W0903",
                f"{high} is not reached: the last option is {last}",
                domain.span,
                f"write {low}..{last} step {step}",
            )
        values = [low + at * step if whole else round(low + at * step, 12) for at in range(count)]
        if not whole and high - values[-1] > 1e-6 * step:
            self.context.warn(
                "W0903",
                f"{high} is not reached: the last option is {values[-1]}",
                domain.span,
                f"write {low}..{values[-1]} step {step}",
            )
        options = [(value, value, domain.span) for value in values]
        return options if self._uniform(options) else None

    def number(self, node: ast.Expr, env: Env) -> Any:
        """A fixed number; None where it is none (reported)."""
        val = self.plain(node, env, "a number")
        if val.is_constant and isinstance(val.value, Fault):
            return None
        if not val.is_constant or not is_number(val.value):
            given = f"the {type_name(val.value)} {show(val.value)}" if val.is_constant else None
            self.context.error(
                "E0503",
                f"a fixed number is expected here, not {given or 'what a decision changes'}",
                node.span,
            )
            return None
        return val.value

    # -------------------------------------------------------------- the variable

    def _settle(
        self,
        path: str,
        name: ast.Ident,
        domain: ast.Domain,
        options: list[tuple[Any, Option, Span]],
        env: Env,
    ) -> Val:
        default = self._default(domain, options, env)
        weights = self._weights(domain, len(options), env)
        given = self.given(path)
        if given is not None:
            chosen = self._override(given, options, name.span)
            return POISON if chosen is None else constant(options[chosen][0])
        domain_values = tuple(value for value, _, _ in options)
        variable = self.context.variable(path, domain_values)
        labels = tuple(label for _, label, _ in options)
        self._record(path, name, variable, labels, weights, default)
        return of_variable(variable)

    def _record(
        self,
        path: str,
        name: ast.Ident,
        variable: Any,
        labels: tuple[Option, ...],
        weights: tuple[float, ...] | None,
        default: int,
    ) -> None:
        kinds = {type_name(value) for value in variable.domain}
        kind = kinds.pop() if len(kinds) == 1 else "ratio"
        self.context.decisions.append(
            Decision(
                path,
                cast(DecisionKind, kind),
                variable,
                labels,
                weights,
                default,
                self.context.guards,
                name.span,
                self.docs.get(path, ""),
            )
        )
        if len(labels) == 1:
            self.context.warn(
                "W0904",
                f"'{path}' has one option: it decides nothing",
                name.span,
                "fix it with '='",
            )

    def _nested(self, path: str, name: ast.Ident, domain: ast.SetDomain, env: Env) -> Val:
        """A choice between operations with decisions of their own, which are active where the
        operation is chosen: the variable comes before what it chooses."""
        shells = [OpValue(None, "none") for _ in domain.options]
        labels = tuple(_written(option.value) for option in domain.options)
        triples = [(s, x, o.span) for s, x, o in zip(shells, labels, domain.options, strict=True)]
        if not self._uniform(triples):
            return POISON
        given = self.given(path)
        fixed = self._override(given, triples, name.span) if given is not None else None
        if given is not None and fixed is None:
            return POISON
        selector = constant(fixed)
        result = constant(shells[fixed or 0])
        if fixed is None:
            variable = self.context.variable(path, tuple(shells))
            weights = self._weights(domain, len(shells), env)
            default = self._default(domain, triples, env)
            self._record(path, name, variable, labels, weights, default)
            selector = Val((variable,), tuple(range(len(shells))))
            result = of_variable(variable)
        for case, (shell, option) in enumerate(zip(shells, domain.options, strict=True)):
            if fixed not in (None, case):
                continue
            inner = Scope(f"{path}.{_callee(option.value)}", env.scope, guards=self.context.guards)
            with self.context.region(Guard(selector, case)):
                val = self.plain(
                    option.value,
                    Env(env.scope, env.module, env.block, env.sites, inner, env.prefix),
                )
            if val.is_constant and isinstance(val.value, OpValue):
                shell.fill(val.value)
            elif not (val.is_constant and isinstance(val.value, Fault)):
                self.context.error("E0301", "this option is no operation", option.span)
        return result

    def _default(
        self, domain: ast.Domain, options: Sequence[tuple[Any, Option, Span]], env: Env
    ) -> int:
        if domain.default is None:
            return 0
        text = _written(domain.default)
        for at, (value, known, _) in enumerate(options):
            if isinstance(value, OpValue) and known == text:
                return at
        # A default is one of the options, and decides nothing itself.
        fixed = Env(env.scope, env.module, env.block, env.sites, None, env.prefix)
        val = self.plain(domain.default, fixed, "an option")
        if val.is_constant and isinstance(val.value, Fault):
            return 0
        if val.is_constant:
            label = _label(val.value, domain.default)
            for at, (_, known, _) in enumerate(options):
                if known == label and isinstance(known, bool) is isinstance(label, bool):
                    return at
        self.context.error(
            "E0506",
            f"the default {text} is none of the options",
            domain.default.span,
            "the options are: " + ", ".join(str(label) for _, label, _ in options[:12]),
        )
        return 0

    def _weights(self, domain: ast.Domain, count: int, env: Env) -> tuple[float, ...] | None:
        if isinstance(domain, ast.RangeDomain) or all(o.weight is None for o in domain.options):
            return None
        weights: list[float] = []
        for option in domain.options:
            if option.weight is None:
                self.context.error("E0507", "give every option a weight, or none", option.span)
                return None
            weight = self.number(option.weight, env)
            if weight is None:
                return None
            if not LEAST_WEIGHT <= weight <= 1 / LEAST_WEIGHT:
                self.context.error(
                    "E0507",
                    f"a weight is above 0, not {weight}"
                    if weight <= 0
                    else f"a weight is from {LEAST_WEIGHT:g} to {1 / LEAST_WEIGHT:g}, not {weight}",
                    option.weight.span,
                )
                return None
            weights.append(float(weight))
        return tuple(weights)

    # -------------------------------------------------------------- --set

    def _override(
        self, path: str, options: Sequence[tuple[Any, Option, Span]], span: Span
    ) -> int | None:
        self.used.add(path)
        given = self.overrides[path]
        for at, (_, label, _) in enumerate(options):
            if _matches(label, given):
                return at
        known = [str(label) for _, label, _ in options]
        shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
        self.context.error(
            "E0508",
            f"--set {path}={_show_given(given)}: this is none of its options",
            span,
            did_you_mean(str(given), known, f"the options are: {shown}"),
        )
        return None

    def override_value(self, key: str, span: Span) -> Val:
        """The value that ``--set`` gives a param or a fixed name."""
        self.used.add(key)
        given = self.overrides[key]
        if isinstance(given, str):
            return self._parse_override(key, given, span)
        if isinstance(given, list | tuple):
            extents: list[Any] = list(cast(Sequence[Any], given))
            if len(extents) == 3 and all(type(e) is int for e in extents):
                return constant(tuple(extents))
        if type(given) in (int, float, bool):
            return constant(given)
        return self.context.error(
            "E0508", f"--set {key}: {given!r} is no value of the language", span
        )

    def _parse_override(self, key: str, given: str, span: Span) -> Val:
        from tsdsl.syntax.parser import parse

        source = Source(f"--set {key}", f"tsnet 1\nspace set {{ param value = {given}\n}}")
        findings = Collector()
        tree = parse(source, findings).module
        if not len(findings) and tree.spaces and len(tree.spaces[0].body) == 1:
            statement = tree.spaces[0].body[0]
            assert isinstance(statement, ast.Param)
            before = len(self.context.findings)
            val = self.evaluate(statement.value, Env(Scope(""), LoadedModule(tree)))
            if isinstance(val, Val) and val.is_constant and len(self.context.findings) == before:
                return val
            return POISON
        return self.context.error(
            "E0508", f"--set {key}={given}: this is no value of the language", span
        )

    @abstractmethod
    def block(self, tree: ast.Block, module: LoadedModule) -> BlockRef: ...

    @abstractmethod
    def require(self, statement: ast.Require, env: Env) -> None: ...


def _kind(value: Value | Any) -> str:
    return "ratio" if is_number(value) else type_name(value)


def _label(value: Any, expression: ast.Expr) -> Option:
    """How an option is written in ``arch.json``."""
    if isinstance(value, OpValue):
        return _written(expression)
    if isinstance(value, tuple):
        return show(value)
    return cast(Option, value)


def _written(option: ast.Expr) -> str:
    """An operation as an option is named: without the decisions in it, which have paths of their
    own, so that giving them other options renames nothing."""
    return printer.expression(_stripped(option))


def _stripped(value: Any) -> Any:
    if isinstance(value, ast.Call):
        return replace(
            value,
            arguments=tuple(
                replace(a, value=_stripped(a.value))
                for a in value.arguments
                if not isinstance(a.value, ast.SetDomain | ast.RangeDomain)
            ),
        )
    return value


def _matches(label: Option, given: Any) -> bool:
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


def _show_given(given: Any) -> str:
    return given if isinstance(given, str) else show(given)


def _callee(node: ast.Expr) -> str:
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
