"""The common structure of several calls of a block, with the values of each call.

The calls of a block may differ in numbers and in the cases of their ``if``. `merge` combines two
bodies; if they differ in anything else it returns None, and the block becomes two classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tsdsl.ir.graph import Path
from tsdsl.ir.network import BlockCall, Body, OpCall, Tensor
from tsdsl.ir.op import FunctionCall, ModuleCall, Shape

#: Origin of a tensor within a body. Corresponding tensors of two calls have equal keys.
Key = tuple[int | str, ...]
#: Index of a call of the block.
Instance = int


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of the template: its name in the spec, and its shape in each call."""

    hint: str
    shapes: Mapping[Instance, Shape]


@dataclass(frozen=True, slots=True)
class OpTemplate:
    path: Path
    call: ModuleCall | FunctionCall
    inputs: tuple[Key, ...]
    output: Key
    calls: Mapping[Instance, OpCall]
    modules: Mapping[Instance, ModuleCall | FunctionCall]


@dataclass(frozen=True, slots=True)
class BlockTemplate:
    path: Path
    #: Index of the nested block's class.
    group: int
    inputs: tuple[Key, ...]
    output: Key
    calls: Mapping[Instance, BlockCall]


@dataclass(frozen=True, slots=True)
class IfTemplate:
    path: Path
    output: Key
    cases: Mapping[int, Template]
    taken: Mapping[Instance, int]


@dataclass(frozen=True, slots=True)
class ChainTemplate:
    """Calls that run one after another as a ``Sequential``, at the top of a network only."""

    path: Path
    nodes: tuple[BlockTemplate | OpTemplate, ...]
    inputs: tuple[Key, ...]
    output: Key


TemplateNode = OpTemplate | BlockTemplate | IfTemplate | ChainTemplate


@dataclass(frozen=True, slots=True)
class Template:
    nodes: tuple[TemplateNode, ...]
    result: Key
    values: Mapping[Key, Value]


def template(
    body: Body,
    instance: Instance,
    formals: tuple[Tensor, ...],
    group_of: Callable[[BlockCall], int],
) -> Template:
    """The template of the body of a single call."""
    keys: dict[Tensor, Key] = {tensor: ("in", i) for i, tensor in enumerate(formals)}
    return _TemplateReader(instance, keys, group_of).read(body, (), formals)


class _TemplateReader:
    def __init__(
        self, instance: Instance, keys: dict[Tensor, Key], group_of: Callable[[BlockCall], int]
    ) -> None:
        self._instance = instance
        self._keys = keys
        self._group_of = group_of
        self._values: dict[Key, Value] = {}

    def read(self, body: Body, at: Key, formals: tuple[Tensor, ...] = ()) -> Template:
        for tensor in formals:
            self._note(tensor, self._keys[tensor])
        nodes: list[TemplateNode] = []
        self._nodes(body, at, nodes)
        return Template(tuple(nodes), self._keys[body.result], self._values)

    def _note(self, tensor: Tensor, key: Key) -> Key:
        self._keys[tensor] = key
        self._values[key] = Value(tensor.hint, {self._instance: tensor.shape})
        return key

    def _nodes(self, body: Body, at: Key, nodes: list[TemplateNode]) -> None:
        for i, call in enumerate(body.calls):
            here: Key = (*at, i)
            if isinstance(call, OpCall):
                inputs = tuple(self._keys[t] for t in call.inputs)
                module = call.module
                output = self._note(call.output, here)
                one = self._instance
                nodes.append(
                    OpTemplate(call.path, module, inputs, output, {one: call}, {one: module})
                )
            elif isinstance(call, BlockCall):
                inputs = tuple(self._keys[t] for t in call.inputs)
                group = self._group_of(call)
                output = self._note(call.output, here)
                calls = {self._instance: call}
                nodes.append(BlockTemplate(call.path, group, inputs, output, calls))
            elif call.kind == "if" and call.cases == 2:
                case = self.read(call.body, (*here, call.case))
                output = self._note(call.output, here)
                taken = {self._instance: call.case}
                nodes.append(IfTemplate(call.path, output, {call.case: case}, taken))
            else:
                self._nodes(call.body, (*here, call.case), nodes)
                self._keys[call.output] = self._keys[call.body.result]


def merge(a: Template, b: Template) -> Template | None:
    """The combination of both, or None if their structures differ."""
    if len(a.nodes) != len(b.nodes) or a.result != b.result:
        return None
    nodes: list[TemplateNode] = []
    for left, right in zip(a.nodes, b.nodes, strict=True):
        merged = _merge_node(left, right)
        if merged is None:
            return None
        nodes.append(merged)
    return Template(tuple(nodes), a.result, _merge_values(a.values, b.values))


def _merge_node(left: TemplateNode, right: TemplateNode) -> TemplateNode | None:
    if left.path != right.path or left.output != right.output:
        return None
    match left, right:
        case OpTemplate(), OpTemplate():
            if left.inputs != right.inputs or not _alike(left.call, right.call):
                return None
            return replace(
                left,
                calls={**left.calls, **right.calls},
                modules={**left.modules, **right.modules},
            )
        case BlockTemplate(), BlockTemplate():
            if left.inputs != right.inputs or left.group != right.group:
                return None
            return replace(left, calls={**left.calls, **right.calls})
        case IfTemplate(), IfTemplate():
            cases = dict(left.cases)
            for case, theirs in right.cases.items():
                mine = cases.get(case)
                both = theirs if mine is None else merge(mine, theirs)
                if both is None:
                    return None
                cases[case] = both
            taken = {**left.taken, **right.taken}
            return replace(left, cases=dict(sorted(cases.items())), taken=taken)
        case _:
            return None


def _alike(left: ModuleCall | FunctionCall, right: ModuleCall | FunctionCall) -> bool:
    """Whether two calls differ in values only."""
    match left, right:
        case ModuleCall(), ModuleCall():
            return (
                left.target == right.target
                and len(left.args) == len(right.args)
                and left.kwargs.keys() == right.kwargs.keys()
                and left.init == right.init
                and left.apply == right.apply
            )
        case FunctionCall(), FunctionCall():
            return left.expression == right.expression and left.args.keys() == right.args.keys()
        case _:
            return False


def _merge_values(a: Mapping[Key, Value], b: Mapping[Key, Value]) -> dict[Key, Value]:
    merged = dict(a)
    for key, value in b.items():
        mine = merged.get(key)
        merged[key] = value if mine is None else Value(mine.hint, {**mine.shapes, **value.shapes})
    return merged


def settle(body: Template) -> Template:
    """Replace each ``if`` whose case is the same in all calls by that case."""
    return _settle(body, {})


def _settle(body: Template, renamed: dict[Key, Key]) -> Template:
    nodes: list[TemplateNode] = []
    for node in body.nodes:
        if isinstance(node, IfTemplate):
            if len(node.cases) == 1:
                (inner,) = node.cases.values()
                settled = _settle(inner, renamed)
                nodes += settled.nodes
                renamed[node.output] = settled.result
            else:
                cases = {c: _settle(inner, dict(renamed)) for c, inner in node.cases.items()}
                nodes.append(replace(node, cases=cases))
        else:
            inputs = tuple(renamed.get(key, key) for key in node.inputs)
            nodes.append(replace(node, inputs=inputs))
    values = dict(body.values)
    for outside, inside in renamed.items():
        hint = values[outside].hint if outside in values else ""
        if hint and inside in values and not values[inside].hint and inside[0] != "in":
            values[inside] = replace(values[inside], hint=hint)
    return Template(tuple(nodes), renamed.get(body.result, body.result), values)
