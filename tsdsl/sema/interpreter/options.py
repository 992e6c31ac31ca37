"""Options: what a written domain, ``{8, 16}`` or ``8..32 step 8``, lets a decision choose from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

from tsdsl.diagnostics import Label, Span
from tsdsl.ir.architecture import Option
from tsdsl.ir.values import Fault
from tsdsl.record import Record, replace
from tsdsl.sema.context import Context
from tsdsl.sema.functions import is_number, show, type_name
from tsdsl.sema.interpreter.protocols import Evaluator
from tsdsl.sema.scope import Env, OpValue
from tsdsl.syntax import ast, printer

#: A decision with more options than this is taken for a mistake.
MAX_OPTIONS = 4096
#: Smallest relative weight of an option, and the inverse of the largest: sums of weights in this
#: range are finite.
LEAST_WEIGHT = 1e-100


class Choice(Record):
    """One option of a decision."""

    #: The value that the decision has when this option is chosen.
    value: Any
    #: How ``arch.json`` writes the option.
    label: Option
    span: Span


class OptionReader:
    """Evaluates the options, weights and default of a domain, and reports what is wrong there."""

    def __init__(self, context: Context, evaluator: Evaluator) -> None:
        self.context = context
        self.evaluator = evaluator

    def options(self, domain: ast.Domain, env: Env) -> list[Choice] | None:
        """The options of a domain; None where something is wrong with them."""
        if isinstance(domain, ast.RangeDomain):
            return self._range(domain, env)
        choices: list[Choice] = []
        bad = False
        for option in domain.options:
            val = self.evaluator.plain(option.value, env, "an option")
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
                choices.append(Choice(val.value, _label(val.value, option.value), option.span))
        return None if bad or not self.are_alike(choices) else choices

    def are_few(self, domain: ast.SetDomain) -> bool:
        """Whether a set has at most `MAX_OPTIONS` options."""
        if len(domain.options) <= MAX_OPTIONS:
            return True
        self.context.error(
            "E0511",
            f"{len(domain.options):,} options in one decision; at most {MAX_OPTIONS:,} are meant",
            domain.options[MAX_OPTIONS].span,
            "a range (8..512 step 8) is short to write",
        )
        return False

    def are_alike(self, choices: Sequence[Choice]) -> bool:
        """Whether all options are of one type and no option stands twice."""
        kinds = {_kind(choice.value) for choice in choices}
        if len(kinds) > 1:
            first, second = sorted(kinds)[:2]
            odd = next(c for c in choices if _kind(c.value) != _kind(choices[0].value))
            self.context.error(
                "E0303", f"options are of one type, not of {first} and {second}", odd.span
            )
            return False
        distinct = True
        seen: dict[tuple[str, Option], Span] = {}
        for choice in choices:
            key = (_kind(choice.value), choice.label)
            if key in seen:
                self.context.error(
                    "E0502",
                    f"option {choice.label} is given twice",
                    choice.span,
                    "remove one; weights ({a: 0.7, b: 0.3}) make an option more likely",
                    [Label(seen[key], "first here")],
                )
                distinct = False
            seen.setdefault(key, choice.span)
        return distinct

    def _range(self, domain: ast.RangeDomain, env: Env) -> list[Choice] | None:
        low = self._number(domain.low, env)
        high = self._number(domain.high, env)
        step = self._number(domain.step, env) if domain.step else 1
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
        # 0.1 is not exact in binary: an end that rounding missed by less than 1e-9 steps counts.
        count = int(steps if whole else math.floor(steps + 1e-9)) + 1
        if whole and (high - low) % step:
            last = low + (count - 1) * step
            self._warn_unreached(domain, high, f"{low}..{last} step {step}", last)
        values = [low + at * step if whole else round(low + at * step, 12) for at in range(count)]
        if not whole and high - values[-1] > 1e-6 * step:
            self._warn_unreached(domain, high, f"{low}..{values[-1]} step {step}", values[-1])
        choices = [Choice(value, value, domain.span) for value in values]
        return choices if self.are_alike(choices) else None

    def _warn_unreached(self, domain: ast.Domain, high: Any, exact: str, last: Any) -> None:
        self.context.warn(
            "W0903",
            f"{high} is not reached: the last option is {last}",
            domain.span,
            f"write {exact}",
        )

    def _number(self, node: ast.Expr, env: Env) -> Any:
        """The value of a fixed number; None for anything else, which is reported."""
        val = self.evaluator.plain(node, env, "a number")
        if val.is_constant and isinstance(val.value, Fault):
            return None
        if not val.is_constant or not is_number(val.value):
            given = "a value that depends on a decision"
            if val.is_constant:
                given = f"the {type_name(val.value)} {show(val.value)}"
            self.context.error("E0503", f"a fixed number is expected here, not {given}", node.span)
            return None
        return val.value

    # -------------------------------------------------------------- default and weights

    def default(self, domain: ast.Domain, choices: Sequence[Choice], env: Env) -> int:
        """The position of the default among the options; 0 where none is written."""
        if domain.default is None:
            return 0
        text = written(domain.default)
        for at, choice in enumerate(choices):
            if isinstance(choice.value, OpValue) and choice.label == text:
                return at
        # A default is one of the options, and decides nothing itself.
        fixed = Env(env.scope, env.module, env.block, env.sites, None, env.prefix)
        val = self.evaluator.plain(domain.default, fixed, "an option")
        if val.is_constant and isinstance(val.value, Fault):
            return 0
        if val.is_constant:
            label = _label(val.value, domain.default)
            for at, choice in enumerate(choices):
                known = choice.label
                if known == label and isinstance(known, bool) is isinstance(label, bool):
                    return at
        self.context.error(
            "E0506",
            f"the default {text} is none of the options",
            domain.default.span,
            "the options are: " + ", ".join(str(choice.label) for choice in choices[:12]),
        )
        return 0

    def weights(self, domain: ast.Domain, env: Env) -> tuple[float, ...] | None:
        """The relative weight of each option; None where none is written, or one is wrong."""
        if isinstance(domain, ast.RangeDomain) or all(o.weight is None for o in domain.options):
            return None
        weights: list[float] = []
        for option in domain.options:
            if option.weight is None:
                self.context.error("E0507", "give every option a weight, or none", option.span)
                return None
            weight = self._number(option.weight, env)
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


def _kind(value: Any) -> str:
    """The type of an option. An int is a ratio here: ``{1, 1.5}`` is a set of ratios."""
    return "ratio" if is_number(value) else type_name(value)


def _label(value: Any, expression: ast.Expr) -> Option:
    """How ``arch.json`` writes an option."""
    if isinstance(value, OpValue):
        return written(expression)
    if isinstance(value, tuple):
        return show(value)
    return cast(Option, value)


def written(option: ast.Expr) -> str:
    """The name of an operation that is an option: its text without the decisions in it. These have
    paths of their own, so that giving them other options renames nothing."""
    return printer.expression(_without_decisions(option))


def _without_decisions(node: Any) -> Any:
    if isinstance(node, ast.Call):
        return replace(
            node,
            arguments=tuple(
                replace(a, value=_without_decisions(a.value))
                for a in node.arguments
                if not isinstance(a.value, ast.SetDomain | ast.RangeDomain)
            ),
        )
    return node
