"""``--set``: other values for params, fixed names and decisions.

Settings of sections are `tsdsl.sema.setting_overrides`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from tsdsl.diagnostics import Collector, Source, Span
from tsdsl.ir.values import Val, constant
from tsdsl.sema.context import POISON, Context
from tsdsl.sema.interpreter.interpreter import Interpreter
from tsdsl.sema.interpreter.protocols import Override
from tsdsl.sema.modules import LoadedModule
from tsdsl.sema.scope import Env, Scope
from tsdsl.syntax import ast
from tsdsl.syntax.parser import parse


class Overrides:
    """The values of ``--set`` by their keys, and which of them the space has used."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = dict(values)
        self.used: set[str] = set()
        #: Today's path of a decision -> the earlier path under which a value is given.
        self.earlier: dict[str, str] = {}

    def take(self, path: str) -> Override | None:
        """The value for a path, which counts as used from then on. It may be given under an earlier
        path, unless a decision of today has that one."""
        key: str | None = path
        if path not in self.values:
            key = self.earlier.get(path)
        if key is None or (key != path and key in self.used):
            return None
        self.used.add(key)
        return Override(key, self.values[key])


def override_value(
    override: Override, span: Span, interpreter: Interpreter, context: Context
) -> Val:
    """The value of a param or of a fixed name. Text, as from a command line, is read as an
    expression."""
    given = override.value
    if isinstance(given, str):
        return _parsed(override.key, given, span, interpreter, context)
    if isinstance(given, list | tuple):
        extents: list[Any] = list(cast(Sequence[Any], given))
        if len(extents) == 3 and all(type(e) is int for e in extents):
            return constant(tuple(extents))
    if type(given) in (int, float, bool):
        return constant(given)
    return context.error(
        "E0508", f"--set {override.key}: {given!r} is no value of the language", span
    )


def _parsed(key: str, given: str, span: Span, interpreter: Interpreter, context: Context) -> Val:
    source = Source(f"--set {key}", f"tsnet 1\nspace set {{ param value = {given}\n}}")
    findings = Collector()
    tree = parse(source, findings).module
    if not len(findings) and tree.spaces and len(tree.spaces[0].body) == 1:
        statement = tree.spaces[0].body[0]
        assert isinstance(statement, ast.Param)
        before = len(context.findings)
        value = interpreter.evaluate(statement.value, Env(Scope(""), LoadedModule(tree)))
        if isinstance(value, Val) and value.is_constant and len(context.findings) == before:
            return value
        return POISON
    return context.error("E0508", f"--set {key}={given}: this is no value of the language", span)
