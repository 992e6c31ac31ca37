"""The body of ``forward`` as a person would write it: nested calls, one convolution per line, names
of the spec.

A tensor that is used once and has no name in the spec is written where it is used, unless the line
would contain two layers or become long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tsdsl.backends.source.constructor import Built, access
from tsdsl.backends.source.expression import fill, names, places
from tsdsl.backends.source.naming import unique, variable
from tsdsl.backends.source.quoting import WIDTH
from tsdsl.backends.source.template import (
    BlockTemplate,
    ChainTemplate,
    IfTemplate,
    Key,
    OpTemplate,
    Template,
    TemplateNode,
    Value,
)
from tsdsl.ir.op import FunctionCall, ModuleCall, Shape

#: Longest expression that is written where it is used; a longer one is assigned to a variable.
LONGEST = 72
#: Variables for tensors that have no name in the spec and continue no other variable.
_FRESH = ("x", "y", "z", "u", "v", "w")


@dataclass(frozen=True, slots=True)
class Pending:
    """An expression that has not been written to a line yet.

    ``layers`` is the number of layers in it. ``joined`` tensors combine streams. ``runs``: it is
    written even if nothing uses it, because it has a state or counted multiply-adds. ``new``: its
    result may be overwritten in place.
    """

    text: str
    layers: int = 0
    joined: bool = False
    runs: bool = False
    new: bool = False


class Forward:
    """Writes the body of a ``forward``."""

    def __init__(
        self,
        body: Template,
        inputs: Sequence[str],
        built: Built,
        taken: Iterable[str] = (),
        hint: Callable[[TemplateNode], str] | None = None,
        shapes: bool = False,
    ) -> None:
        self._values: Mapping[Key, Value] = body.values
        self._built = built
        self._hint = hint
        self._shapes = shapes
        self._globals = frozenset(taken)
        self._uses: Counter[Key] = Counter()
        self._results: set[Key] = set()
        self._count(body)
        self._pending: dict[Key, Pending] = {}
        self._variables: dict[Key, str] = {("in", i): name for i, name in enumerate(inputs)}
        self.lines: list[str] = []
        self._indent = 0
        result = self._body(body)
        self._line("return ", result, body.result)

    def _count(self, body: Template) -> None:
        for node in body.nodes:
            if isinstance(node, IfTemplate):
                for case in node.cases.values():
                    self._count(case)
            else:
                self._uses.update(_reads(node))
        self._uses[body.result] += 1
        self._results.add(body.result)

    def _body(self, body: Template) -> str:
        """Write the statements of a body; returns the expression of its result."""
        for node in body.nodes:
            if isinstance(node, IfTemplate):
                self._if(node)
            else:
                self._call(node)
        return self._take(body.result).text

    # ------------------------------------------------------------------ one node

    def _call(self, node: OpTemplate | BlockTemplate | ChainTemplate) -> None:
        layer = _is_layer(node)
        if layer:
            for key in node.inputs:
                if key in self._pending and self._pending[key].layers:
                    self._bind(key)
        while True:
            template, values = self._template(node)
            parts = {str(i): self._peek(key).text for i, key in enumerate(node.inputs)}
            text = fill(template, {**values, **parts})
            waiting = [key for key in node.inputs if key in self._pending]
            if len(text) <= LONGEST or not waiting:
                break
            self._bind(max(waiting, key=lambda key: len(self._pending[key].text)))
        layers = layer + sum(self._peek(key).layers for key in set(node.inputs))
        runs = _runs(node) or any(self._peek(key).runs for key in node.inputs)
        for key in _reads(node):
            self._release(key)
        joined = isinstance(node, OpTemplate) and len(set(node.inputs)) > 1
        self._pending[node.output] = Pending(text, layers, joined, runs, _is_new(node))
        if not self._uses[node.output]:
            del self._pending[node.output]
            if runs:
                self.lines.append(f"{' ' * self._indent}{text}")
        elif self._uses[node.output] > 1 or self._name_of(node):
            self._bind(node.output, self._name_of(node))

    def _template(
        self, node: OpTemplate | BlockTemplate | ChainTemplate
    ) -> tuple[str, dict[str, str]]:
        if isinstance(node, OpTemplate):
            if isinstance(node.call, FunctionCall):
                values = self._built.arguments.get(node.output, {})
                return self._expression(node.call, node.inputs), values
            return node.call.apply or "{module}({0})", {"module": access(node.path)}
        inputs = ", ".join(f"{{{i}}}" for i in range(len(node.inputs)))
        return f"{{module}}({inputs})", {"module": access(node.path)}

    def _expression(self, call: FunctionCall, inputs: Sequence[Key]) -> str:
        """The expression of a function call. It is in place if its input is a new tensor that
        nothing else uses."""
        over = call.in_place if self._peek(inputs[0]).new else None
        return over or call.expression

    def _name_of(self, node: TemplateNode) -> str:
        """The name of a tensor in the spec or in the network. A returned tensor has none."""
        if node.output in self._results and self._uses[node.output] == 1:
            return ""
        hint = self._values[node.output].hint if node.output in self._values else ""
        return hint or (self._hint(node) if self._hint else "")

    # ------------------------------------------------------------------ a choice

    def _if(self, node: IfTemplate) -> None:
        condition, on = self._built.conditions[node.output]
        (off,) = (case for case in node.cases if case != on)
        for key in dict.fromkeys(key for case in node.cases.values() for key in _outer(case)):
            if key in self._pending:
                self._bind(key)
        first, first_lines = self._case(node.cases[on])
        second, second_lines = self._case(node.cases[off])
        for case in node.cases.values():
            self._release(case.result)
        choice = f"{first} if {condition} else {second}"
        if not first_lines and not second_lines and len(choice) + self._indent <= LONGEST:
            self._pending[node.output] = Pending(choice, 1, runs=True)
            self._bind(node.output, self._name_of(node) or self._default_name(node))
            return
        name = self._choose(node.output, self._name_of(node) or self._default_name(node), (second,))
        pad = " " * self._indent
        first_lines += [f"{pad}    {name} = {first}"] if first != name else []
        second_lines += [f"{pad}    {name} = {second}"] if second != name else []
        if first_lines:
            self.lines += [f"{pad}if {condition}:", *first_lines]
            self.lines += [f"{pad}else:", *second_lines] if second_lines else []
        else:
            self.lines += [f"{pad}if not {condition}:", *second_lines]
        self._variables[node.output] = name

    def _case(self, body: Template) -> tuple[str, list[str]]:
        """The statements of a case, and the expression of its result, which stays in use."""
        before, self.lines = self.lines, []
        self._indent += 4
        for node in body.nodes:
            if isinstance(node, IfTemplate):
                self._if(node)
            else:
                self._call(node)
        text = self._peek(body.result).text
        lines, self.lines = self.lines, before
        self._indent -= 4
        return text, lines

    def _default_name(self, node: IfTemplate) -> str:
        """``shortcut`` for a choice between an input and something computed from it."""
        results = [case.result for case in node.cases.values() if not case.nodes]
        return "shortcut" if results and results[0][0] == "in" else ""

    # ------------------------------------------------------------------ names

    def _peek(self, key: Key) -> Pending:
        return self._pending[key] if key in self._pending else Pending(self._variables[key])

    def _take(self, key: Key) -> Pending:
        found = self._peek(key)
        self._release(key)
        return found

    def _release(self, key: Key) -> None:
        self._uses[key] -= 1
        if self._uses[key] <= 0:
            self._pending.pop(key, None)

    def _bind(self, key: Key, hint: str = "") -> None:
        """Write a pending expression as an assignment."""
        pending = self._pending.pop(key)
        continued = () if pending.joined and self._hint else names(pending.text)
        name = self._choose(key, hint, continued)
        self._variables[key] = name
        self._line(f"{name} = ", pending.text, key)

    def _choose(self, key: Key, hint: str, sources: Iterable[str]) -> str:
        """A variable for a result: its hint, or a source whose value is not used any more, or a new
        name."""
        live = {self._variables[k] for k in self._variables if self._uses[k] > 0 and k != key}
        for pending in self._pending.values():
            live.update(names(pending.text))
        if hint:
            return unique(variable(hint), live | self._globals)
        mine = [name for name in sources if name in set(self._variables.values())]
        for name in mine:
            if name not in live:
                return name
        for name in _FRESH:
            if name not in live and name not in self._globals:
                return name
        return unique("x", live | self._globals)

    def _line(self, prefix: str, text: str, key: Key) -> None:
        line = f"{' ' * self._indent}{prefix}{text}"
        shapes = set(self._values[key].shapes.values()) if key in self._values else set[Shape]()
        if self._shapes and len(shapes) == 1:
            (shape,) = shapes
            comment = f"  # [{', '.join(map(str, shape))}]"
            if len(line) + len(comment) + 8 <= WIDTH:
                line += comment
        self.lines.append(line)


def _reads(node: OpTemplate | BlockTemplate | ChainTemplate) -> list[Key]:
    """The tensors that a node's expression reads, each as often as it does."""
    if not isinstance(node, OpTemplate):
        return list(node.inputs)
    call = node.call
    text = call.expression if isinstance(call, FunctionCall) else call.apply or "{module}({0})"
    return [node.inputs[int(place)] for place in places(text) if place.isdigit()]


def _is_layer(node: TemplateNode) -> bool:
    """Whether a node starts a new line: a block, or an operation with a weight matrix."""
    if not isinstance(node, OpTemplate):
        return True
    call = next(iter(node.calls.values()))
    return any(len(param.shape) > 1 for param in call.params)


def _is_new(node: TemplateNode) -> bool:
    """Whether the result is a new tensor that the backward pass does not read."""
    return isinstance(node, OpTemplate) and all(
        call.op.overwritable for call in node.calls.values()
    )


def _runs(node: TemplateNode) -> bool:
    if not isinstance(node, OpTemplate):
        return True
    return isinstance(node.call, ModuleCall) or any(call.macs for call in node.calls.values())


def _outer(body: Template) -> list[Key]:
    """The tensors from outside that a case reads."""
    made: set[Key] = set()
    found: list[Key] = []
    for node in body.nodes:
        if isinstance(node, IfTemplate):
            found += [key for case in node.cases.values() for key in _outer(case)]
        else:
            found += _reads(node)
        made.add(node.output)
    return [key for key in dict.fromkeys([*found, body.result]) if key not in made]
