"""The class of the whole network, whose containers mirror the paths of the spec."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tsdsl.backends.source.chains import chains, sequential
from tsdsl.backends.source.constructor import Built, ModuleContext, access, construct
from tsdsl.backends.source.forward import Forward
from tsdsl.backends.source.initialise import own_statements
from tsdsl.backends.source.naming import variable
from tsdsl.backends.source.quoting import docstring
from tsdsl.backends.source.template import (
    BlockTemplate,
    ChainTemplate,
    OpTemplate,
    TemplateNode,
    settle,
    template,
)
from tsdsl.backends.source.text import Brackets, Doc, layout, literal
from tsdsl.backends.source.values import Constants
from tsdsl.ir.graph import Path
from tsdsl.ir.naming import module_name
from tsdsl.ir.network import BlockCall, Network
from tsdsl.ir.op import FunctionCall, ModuleCall

#: First segments of paths that name no tensor.
_NOT_STREAMS = frozenset({"fuse", "attend", "head"})

Tree = dict[str, "Tree | BlockTemplate | OpTemplate | ChainTemplate"]


def network_class(
    network: Network, name: str, context: ModuleContext, group_of: Callable[[BlockCall], int]
) -> Iterator[str]:
    """The lines of the top-level class."""
    body = settle(template(network.body, 0, (network.clip,), group_of))
    body = chains(body)
    built = _arguments(body.nodes)
    tree: Tree = {}
    for node in body.nodes:
        if not (isinstance(node, OpTemplate) and isinstance(node.call, FunctionCall)):
            _plant(tree, node.path, node)
    clip = variable(network.clip.hint or "clip")
    forward = Forward(body, [clip], built, hint=_stream, shapes=True)
    result = body.values[body.result].shapes[0]
    yield f"class {name}(nn.Module):"
    shapes = f"Clips {_show(network.clip.shape)} to {_show(result)}."
    yield from docstring(f"{network.doc}\n\n{shapes}" if network.doc else shapes, 4)
    yield ""
    constructor: list[str] = []
    for child, inside in tree.items():
        made = _make(inside, context)
        constructor += layout(f"self.{module_name(child)} = ", made, indent=8)
    for node in body.nodes:
        for inner in node.nodes if isinstance(node, ChainTemplate) else (node,):
            if isinstance(inner, OpTemplate) and isinstance(inner.call, ModuleCall):
                at = access(inner.path)
                if isinstance(node, ChainTemplate):
                    at = f"{access(node.path)}[{inner.path[-1]}]"
                constructor += (
                    f"        {s}" for s in own_statements(inner.call, at, context.rules)
                )
    if context.rules:
        constructor.append("        _initialise(self)")
    if constructor:
        yield "    def __init__(self) -> None:"
        yield "        super().__init__()"
        yield from constructor
        yield ""
    yield f"    def forward(self, {clip}: Tensor) -> Tensor:"
    yield from (f"        {line}" for line in forward.lines)


def _show(shape: tuple[int, ...]) -> str:
    return f"[N, {', '.join(map(str, shape))}]"


def _stream(node: TemplateNode) -> str:
    """Variables of a stream's tensors have the stream's name."""
    if isinstance(node, OpTemplate):
        return ""
    return "" if node.path[0] in _NOT_STREAMS or len(node.path) < 2 else node.path[0]


def _arguments(nodes: tuple[TemplateNode, ...]) -> Built:
    built = Built()
    for node in nodes:
        if isinstance(node, OpTemplate) and isinstance(node.call, FunctionCall):
            built.arguments[node.output] = {k: literal(v) for k, v in node.call.args.items()}
    return built


def _plant(tree: Tree, path: Path, node: TemplateNode) -> None:
    *containers, last = path
    for name in containers:
        inside = tree.setdefault(name, {})
        assert isinstance(inside, dict), f"{path} lies within a module"
        tree = inside
    assert last not in tree, f"two modules at {path}"
    assert isinstance(node, BlockTemplate | OpTemplate | ChainTemplate)
    tree[last] = node


def _make(node: Tree | BlockTemplate | OpTemplate | ChainTemplate, context: ModuleContext) -> Doc:
    match node:
        case dict():
            items = tuple(
                (f"{literal(module_name(name))}: ", _make(inside, context))
                for name, inside in node.items()
            )
            return Brackets("nn.ModuleDict(", (("", Brackets("{", items, "}", kind="dict")),))
        case ChainTemplate():
            return sequential(
                node,
                lambda one: construct(one, Constants(), context),
                lambda block: _values(block, context),
            )
        case _:
            return construct(node, Constants(), context)


def _values(node: BlockTemplate, context: ModuleContext) -> tuple[str, dict[str, object]]:
    """The class of a block and the arguments of its constructor."""
    group = context.groups[node.group]
    (call,) = node.calls.values()
    instance = context.instance_of[call]
    return group.name, {param: vector[instance] for param, vector in group.params.items()}
