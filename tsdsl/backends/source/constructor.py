"""The body of ``__init__``: the submodules of a class, and the values that its forward reads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tsdsl.backends.source.expression import alias
from tsdsl.backends.source.groups import BlockGroup
from tsdsl.backends.source.initialise import Rules, own_statements
from tsdsl.backends.source.naming import attribute
from tsdsl.backends.source.quoting import WIDTH
from tsdsl.backends.source.template import (
    BlockTemplate,
    IfTemplate,
    Instance,
    Key,
    OpTemplate,
    Template,
)
from tsdsl.backends.source.text import Doc, call, layout, literal
from tsdsl.backends.source.values import ConstructorScope, Names, Vector
from tsdsl.ir.graph import Path
from tsdsl.ir.naming import module_path
from tsdsl.ir.network import BlockCall
from tsdsl.ir.op import FunctionCall, ModuleCall

#: A size that is equal on all three axes.
_EVEN = re.compile(r"^\((\d+), \1, \1\)$")


@dataclass(frozen=True, slots=True)
class ModuleContext:
    """The classes of a module, the class of each call, and the rules of initialisation."""

    groups: Sequence[BlockGroup]
    instance_of: Mapping[BlockCall, Instance]
    rules: Rules


@dataclass(slots=True)
class Built:
    """The lines of a constructor, and how the forward refers to what they define."""

    #: ``self.name = name`` and containers, which come before the submodules.
    attributes: list[str] = field(default_factory=list[str])
    lines: list[str] = field(default_factory=list[str])
    #: Key of an ``if`` -> its condition, and the case for which the condition is true.
    conditions: dict[Key, tuple[str, int]] = field(default_factory=dict[Key, tuple[str, int]])
    #: Key of an operation without weights -> the expressions of its arguments.
    arguments: dict[Key, dict[str, str]] = field(default_factory=dict[Key, dict[str, str]])


def access(path: Path) -> str:
    """The expression for the submodule at a path, in the module that contains it."""
    first, *rest = module_path(path)
    return f"self.{first}" + "".join(f"[{literal(name)}]" for name in rest)


def construct(node: OpTemplate | BlockTemplate, names: Names, context: ModuleContext) -> Doc:
    """The expression that makes a submodule."""
    if isinstance(node, BlockTemplate):
        group = context.groups[node.group]
        values = {
            param: names.expression(
                {i: vector[context.instance_of[c]] for i, c in node.calls.items()},
                wish=param,
                fallback=f"{'_'.join(node.path)}_{param}",
            )
            for param, vector in group.params.items()
        }
        return call(group.name, **values)
    module = node.call
    assert isinstance(module, ModuleCall)
    modules = {i: m for i, m in node.modules.items() if isinstance(m, ModuleCall)}
    args = [
        _argument(node, {i: m.args[at] for i, m in modules.items()}, names, at == 0)
        for at in range(len(module.args))
    ]
    kwargs = {
        key: _argument(node, vector, names, False, key)
        for key in module.kwargs
        if not _is_default(vector := {i: m.kwargs[key] for i, m in modules.items()}, modules, key)
    }
    return call(alias(module.target), *args, **kwargs)


def _is_default(vector: Vector, modules: Mapping[Instance, ModuleCall], key: str) -> bool:
    return all(
        key in m.defaults
        and (type(vector[i]), vector[i]) == (type(m.defaults[key]), m.defaults[key])
        for i, m in modules.items()
    )


def _argument(node: OpTemplate, vector: Vector, names: Names, first: bool, key: str = "") -> str:
    """The expression of an argument of a torch module. A size that is equal on all axes is written
    as one number."""
    field_name = key or _field_of(node, vector)
    formal = node.inputs[0] if node.inputs else ()
    wish = field_name
    if first and formal and formal[0] == "in" and names.channels:
        wish = names.channels[int(formal[1])]
    text = names.expression(vector, wish, f"{'_'.join(node.path)}_{field_name or 'in'}")
    return _EVEN.sub(r"\1", text)


def _field_of(node: OpTemplate, vector: Vector) -> str:
    """Name of the argument in the spec whose value equals an argument of the torch module; empty if
    there is none."""
    for name in next(iter(node.calls.values())).op.Args.model_fields:
        known = {i: getattr(c.args, name) for i, c in node.calls.items()}
        if all((type(known[i]), known[i]) == (type(v), v) for i, v in vector.items()):
            return name
    return ""


class Constructor:
    """Writes the constructor of one class."""

    def __init__(self, group: BlockGroup, context: ModuleContext) -> None:
        self._context = context
        self.scope = ConstructorScope(group)
        self.built = Built()
        paths = _paths(group.body)
        assert len(set(paths)) == len(paths), f"{group.name}: two submodules of one name"
        self._modules = {module_path(path)[0] for path in paths}
        self._stored: dict[str, str] = {}
        self._containers: set[Path] = set()
        self._indent = 8
        self.built.lines = self._nodes(group.body)
        group.params = self.scope.params

    def _nodes(self, body: Template) -> list[str]:
        lines: list[str] = []
        for node in body.nodes:
            match node:
                case OpTemplate() if isinstance(node.call, FunctionCall):
                    self._arguments(node, node.call)
                case OpTemplate() | BlockTemplate():
                    lines += self._submodule(node)
                case IfTemplate():
                    lines += self._if(node)
                case _:
                    raise AssertionError("a chain in a block")
        return lines

    def _submodule(self, node: OpTemplate | BlockTemplate) -> list[str]:
        for depth in range(1, len(node.path)):
            container = node.path[:depth]
            if container not in self._containers:
                self._containers.add(container)
                self.built.attributes.append(f"{access(container)} = nn.ModuleDict()")
        target = access(node.path)
        made = construct(node, self.scope, self._context)
        lines = list(layout(f"{target} = ", made, width=WIDTH - self._indent))
        if isinstance(node, OpTemplate) and isinstance(node.call, ModuleCall):
            lines += own_statements(node.call, target, self._context.rules)
        return lines

    def _if(self, node: IfTemplate) -> list[str]:
        on = max(node.cases, key=lambda case: (len(node.cases[case].nodes), case))
        (off,) = (case for case in node.cases if case != on)
        vector = {i: case == on for i, case in node.taken.items()}
        expression = self.scope.flag(vector, _flag_name(node, on, off))
        stored = self._store(expression.removeprefix("not "))
        negated = expression.startswith("not ")
        self.built.conditions[node.output] = (stored, off if negated else on)
        self._indent += 4
        first = (expression, self._nodes(node.cases[on]))
        opposite = expression.removeprefix("not ") if negated else f"not {expression}"
        second = (opposite, self._nodes(node.cases[off]))
        self._indent -= 4
        if not first[1]:
            first, second = second, first
        lines: list[str] = []
        if first[1]:
            lines += [f"if {first[0]}:", *_indented(first[1])]
            if second[1]:
                lines += ["else:", *_indented(second[1])]
        return lines

    def _store(self, name: str) -> str:
        """The attribute that keeps a parameter of the constructor for the forward."""
        if name not in self._stored:
            wanted = f"use_{name}" if name in self._modules else name
            chosen = attribute(wanted, {*self._modules, *self._stored.values()})
            self._stored[name] = chosen
            self.built.attributes.append(f"self.{chosen} = {name}")
        return f"self.{self._stored[name]}"

    def _arguments(self, node: OpTemplate, function: FunctionCall) -> None:
        found: dict[str, str] = {}
        for key in function.args:
            vector: dict[int, Any] = {i: m.args[key] for i, m in _functions(node).items()}
            text = self.scope.expression(vector, key, f"{'_'.join(node.path)}_{key}")
            constant = text == literal(next(iter(vector.values())))
            if constant:
                found[key] = text
            elif text.isidentifier():
                found[key] = self._store(text)
            else:
                name = attribute(f"{'_'.join(node.path)}_{key}", self._modules)
                self.built.attributes.append(f"self.{name} = {text}")
                found[key] = f"self.{name}"
        self.built.arguments[node.output] = found


def _functions(node: OpTemplate) -> dict[Instance, FunctionCall]:
    return {i: m for i, m in node.modules.items() if isinstance(m, FunctionCall)}


def _flag_name(node: IfTemplate, on: int, off: int) -> str:
    """A name for a condition that is no parameter of the block."""
    body, other = node.cases[on], node.cases[off]
    if not other.nodes and other.result[0] == "in":
        return "project"
    return f"with_{body.nodes[0].path[-1]}" if body.nodes and body.nodes[0].path else "choice"


def _paths(body: Template) -> list[Path]:
    """The paths of all submodules."""
    found: list[Path] = []
    for node in body.nodes:
        if isinstance(node, IfTemplate):
            for case in node.cases.values():
                found += _paths(case)
        elif isinstance(node, BlockTemplate) or (
            isinstance(node, OpTemplate) and isinstance(node.call, ModuleCall)
        ):
            found.append(node.path)
    return found


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]
