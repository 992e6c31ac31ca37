"""A space as one network: the weights of all of its architectures, and a forward pass for any of
them.

The graph of the space is executed with the options of an architecture. Each operation computes the
expression that it has in an emitted network, with its slices of the shared weights
(`tsdsl.backends.elastic`). The architecture is an argument of ``forward``; the supernet keeps
nothing of it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from operator import itemgetter
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from tsdsl.analysis.costs.configuration import Configuration
from tsdsl.backends.channel_layouts import ChannelLayouts, Places
from tsdsl.backends.configured_operation import ConfiguredOperation
from tsdsl.backends.elastic import Elastic
from tsdsl.backends.network_module import build
from tsdsl.backends.operation_module import build_operation
from tsdsl.backends.slice_gradients import SliceGradients
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.graph import CallNode, Edge, Node, OpNode, Path, Region
from tsdsl.ir.naming import module_path, state_key
from tsdsl.ir.network import Network
from tsdsl.ir.resolve import assignment
from tsdsl.ir.space import SpaceGraph
from tsdsl.ir.stream_subset import StreamFilter, fusion_targets
from tsdsl.ir.values import union_variables

#: Largest number of architectures whose assignment is cached.
_KNOWN = 256

#: Results of the nodes so far; None for those of absent streams.
Known = dict[Edge, Tensor | None]


class Supernet(nn.Module):
    """``supernet(clip_NCTHW, architecture) -> logits_NK``.

    Its `state_dict` has the keys of the frozen networks; each tensor is as large as the largest of
    theirs.

        >>> supernet = tsdsl.compile(space)
        >>> supernet(torch.rand(2, *space.input_shape), arch).shape
        torch.Size([2, 4])
    """

    def __init__(self, graph: SpaceGraph) -> None:
        super().__init__()
        self._graph = graph
        self._layouts = ChannelLayouts(graph)
        self._elastic: dict[Path, Elastic] = {}
        for path, configurations in self._layouts.configurations.items():
            if (made := Elastic(configurations, self._layouts.channel_counts(path))).whole:
                self._elastic[path] = made
                _place(self, module_path(path), made)
        self._plan()

    def _plan(self) -> None:
        self._gradients = SliceGradients(self._tensors)
        context = _Context(self._elastic, self._layouts, lambda: self.training, self._gradients)
        self._root = _Root(self._graph, context)
        self._assignments: OrderedDict[Any, list[int]] = OrderedDict()

    def _tensors(self) -> Iterator[Tensor]:
        for elastic in self._elastic.values():
            for tensor in (*elastic._parameters.values(), *elastic._buffers.values()):
                assert tensor is not None
                yield tensor

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Supernet:
        # Cached views would stay on the old device.
        self._gradients.forget()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def __getstate__(self) -> dict[str, Any]:
        """The state without the execution plan, which is rebuilt on loading."""
        plan = ("_root", "_assignments", "_gradients")
        return {k: v for k, v in self.__dict__.items() if k not in plan}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._plan()

    def forward(
        self,
        clip_NCTHW: Tensor,
        architecture: Mapping[str, Any],
        streams: Collection[str] | None = None,
    ) -> Tensor:
        """Logits of a clip in one architecture.

        ``streams``: names of the streams that exist, as in a phase of a search; None for all. A
        fusion from or to an absent stream and attention on it are skipped; where the head or a
        wider stream concatenates its features, they are zero.

        Raises `ArchitectureError` for an architecture of another space, and `ValueError` if no
        present stream reaches the head.
        """
        chosen = self._assignment(architecture)
        known: Known = {self._graph.clip: clip_NCTHW}
        present = None if streams is None else StreamFilter(self._graph, streams)
        return self._root.run_present(known, chosen, present)

    def _assignment(self, architecture: Mapping[str, Any]) -> list[int]:
        if not isinstance(architecture, Architecture):
            # A dict is mutable, so that its assignment is not cached.
            return assignment(self._graph, architecture)
        found = self._assignments.get(architecture)
        if found is None:
            found = self._assignments[architecture] = assignment(self._graph, architecture)
            if len(self._assignments) > _KNOWN:
                self._assignments.popitem(last=False)
        return found


def frozen(supernet: Supernet, network: Network, architecture: Mapping[str, Any]) -> nn.Module:
    """The frozen network with copies of its weights in the supernet, on the same device, with the
    same dtypes and in the same mode."""
    with torch.device("meta"):
        made = build(network)
    weights = {
        name: tensor.detach().clone() for name, tensor in inherited(supernet, architecture).items()
    }
    made.load_state_dict(weights, assign=True)
    for parameter in made.parameters():
        parameter.requires_grad_(True)
    return made.train(supernet.training)


def inherited(supernet: Supernet, architecture: Mapping[str, Any]) -> dict[str, Tensor]:
    """The `state_dict` of an architecture's frozen network: views of the supernet's tensors, and
    copies where a part consists of several pieces (`tsdsl.ir.layout`).

    It is a function rather than a method because a method's name could not be the name of a stream.
    """
    chosen = supernet._assignment(architecture)
    return {
        state_key(path, name): tensor
        for path, plan in supernet._root.operations(chosen)
        if plan.elastic is not None
        for name, tensor in plan.elastic.part(
            plan.configuration(chosen), plan.places(chosen)
        ).items()
    }


@contextmanager
def placing(net: nn.Module) -> Iterator[Callable[[], None]]:
    """Accumulate the gradients of all supernets in ``net`` in place: see
    `tsdsl.backends.slice_gradients`. The block is given a function to be called after each backward
    pass."""
    # A supernet contains no other, and iterating over all of its modules takes long.
    modules = [net] if isinstance(net, Supernet) else net.modules()
    found = [module._gradients for module in modules if isinstance(module, Supernet)]
    with ExitStack() as stack:
        for gradients in found:
            stack.enter_context(gradients.placing())

        def place() -> None:
            for gradients in found:
                gradients.place()

        yield place


def _place(root: nn.Module, path: Path, made: Elastic) -> None:
    """Register a module under its path. Modules on the way that do not exist are created empty."""
    for name in path[:-1]:
        if name not in root._modules:
            root.add_module(name, nn.Module())
        root = cast(nn.Module, root._modules[name])
    root.add_module(path[-1], made)


class _Context(NamedTuple):
    elastic: Mapping[Path, Elastic]
    layouts: ChannelLayouts
    #: Whether the supernet is in training mode.
    training: Callable[[], bool]
    gradients: SliceGradients


class _RegionPlan:
    """The nodes of a region in execution order, and the tensors that can be released after each."""

    def __init__(self, region: Region, path: Path, context: _Context) -> None:
        self._steps = [_step(node, path, context) for node in region.nodes]
        self._result = region.result
        last: dict[Edge, int] = {}
        for at, node in enumerate(region.nodes):
            last.update(dict.fromkeys(read_by(node), at))
        own = {node.output for node in region.nodes}
        self._over: list[list[Edge]] = [[] for _ in region.nodes]
        for edge, at in last.items():
            if edge in own and edge is not region.result:
                self._over[at].append(edge)

    def run(self, known: Known, chosen: Sequence[int]) -> Tensor | None:
        for step, over in zip(self._steps, self._over, strict=True):
            step.run(known, chosen)
            for edge in over:
                del known[edge]
        return known[self._result]

    def operations(self, chosen: Sequence[int]) -> list[tuple[Path, _OpPlan]]:
        """The operations that run."""
        return [found for step in self._steps for found in step.operations(chosen)]


class _Root(_RegionPlan):
    """The whole network, streams of which can be absent."""

    def __init__(self, graph: SpaceGraph, context: _Context) -> None:
        super().__init__(graph.root, (), context)
        self._nodes = graph.root.nodes
        self._targets = fusion_targets(graph)

    def run_present(
        self, known: Known, chosen: Sequence[int], present: StreamFilter | None
    ) -> Tensor:
        """Run the nodes of the streams that exist. ``present`` is None if all do."""
        if present is None:
            whole = self.run(known, chosen)
            assert whole is not None
            return whole
        for node, step, over in zip(self._nodes, self._steps, self._over, strict=True):
            if present(node.path):
                step.run(known, chosen)
            elif not present.is_bypassed(node.path):
                known[node.output] = None
            else:
                target = self._targets[node.output]
                if node.output.shape.at(chosen) == target.shape.at(chosen):
                    known[node.output] = known[target]
                else:
                    step.run(known, chosen)
            for edge in over:
                del known[edge]
        result = known[self._result]
        if result is None:
            raise ValueError("nothing reaches the head of the network without its other streams")
        return result


def read_by(node: Node) -> tuple[Edge, ...]:
    """The tensors from outside of a node that it reads, each once, in order of their first use. The
    order makes emitted source deterministic."""
    if isinstance(node, OpNode | CallNode):
        return tuple(dict.fromkeys(node.inputs))
    found: dict[Edge, None] = {}
    for case in node.cases:
        own = {inner.output for inner in case.nodes}
        read = [edge for inner in case.nodes for edge in read_by(inner)]
        found.update((edge, None) for edge in [*read, case.result] if edge not in own)
    return tuple(found)


def _picker(places: Sequence[int]) -> Callable[[Sequence[int]], Any]:
    """A function that picks the entries at some indices, as a hashable key."""
    return itemgetter(*places) if places else lambda chosen: None


class _OpPlan:
    def __init__(self, node: OpNode, path: Path, context: _Context) -> None:
        self.elastic = context.elastic.get(path)
        self._training = context.training
        self._gradients = context.gradients
        self.path = path
        self._node = node
        self._places = context.layouts.of(node)
        vals = [*node.args.values(), *(edge.shape for edge in node.inputs)]
        if self._places is not None:
            vals.append(self._places)
        self._key = _picker([v.index for v in union_variables(vals)])
        self._first = node.inputs[0]
        self._only = len(node.inputs) == 1
        self._ready: dict[Any, Callable[..., Tensor]] = {}

    def configuration(self, chosen: Sequence[int]) -> Configuration:
        node = self._node
        args = node.op.Args(**{name: val.at(chosen) for name, val in node.args.items()})
        return Configuration.of(node.op, args, [edge.shape.at(chosen) for edge in node.inputs])

    def places(self, chosen: Sequence[int]) -> Places | None:
        """Layouts of the channels that it reads and writes; None if both are ranked."""
        found: Places | None = None if self._places is None else self._places.at(chosen)
        return found

    def run(self, known: Known, chosen: Sequence[int]) -> None:
        key = self._key(chosen)
        ready = self._ready.get(key)
        if ready is None:
            made = self._made(self.configuration(chosen), self.places(chosen))
            ready = self._ready[key] = made
        if self._only:
            there = known[self._first]
            known[self._node.output] = None if there is None else ready(there)
            return
        inputs = [known[edge] for edge in self._node.inputs]
        # Compared by identity, since `None in inputs` would compare tensors.
        for tensor in inputs:
            if tensor is None:
                known[self._node.output] = self._of_some(ready, inputs, chosen)
                return
        known[self._node.output] = ready(*inputs)

    def operations(self, chosen: Sequence[int]) -> list[tuple[Path, _OpPlan]]:
        return [(self.path, self)]

    def _of_some(
        self, ready: Callable[..., Tensor], inputs: list[Tensor | None], chosen: Sequence[int]
    ) -> Tensor | None:
        """The result if inputs of absent streams are None: with zeros in their place if the
        operation concatenates them with others, else None."""
        there = [tensor for tensor in inputs if tensor is not None]
        if not there or not self._node.op.joins:
            return None
        shapes = [edge.shape.at(chosen) for edge in self._node.inputs]
        return ready(
            *(
                there[0].new_zeros(len(there[0]), shape[0], *there[0].shape[2:])
                if tensor is None
                else tensor
                for tensor, shape in zip(inputs, shapes, strict=True)
            )
        )

    def _made(self, configuration: Configuration, places: Places | None) -> Callable[..., Tensor]:
        elastic = self.elastic
        if elastic is None:
            module = build_operation(configuration)
            if "layer" not in module._modules:
                return cast(Callable[..., Tensor], module.forward)
            training = self._training

            def plain(*inputs: Tensor) -> Tensor:
                module.train(training())
                result: Tensor = module(*inputs)
                return result

            return plain
        return ConfiguredOperation(configuration, elastic, self._gradients, places)


class _CallPlan:
    def __init__(self, node: CallNode, path: Path, context: _Context) -> None:
        self._node = node
        self._body = _RegionPlan(node.body, path, context)

    def run(self, known: Known, chosen: Sequence[int]) -> None:
        node = self._node
        inside: Known = {
            formal: known[edge] for formal, edge in zip(node.formals, node.inputs, strict=True)
        }
        known[node.output] = self._body.run(inside, chosen)

    def operations(self, chosen: Sequence[int]) -> list[tuple[Path, _OpPlan]]:
        return self._body.operations(chosen)


class _SwitchPlan:
    def __init__(self, node: Any, path: Path, context: _Context) -> None:
        self._node = node
        self._cases = [_RegionPlan(case, path, context) for case in node.cases]

    def run(self, known: Known, chosen: Sequence[int]) -> None:
        case = self._cases[int(self._node.selector.at(chosen))]
        # A case adds its own results, and may not release what nodes after it read.
        known[self._node.output] = case.run(dict(known), chosen)

    def operations(self, chosen: Sequence[int]) -> list[tuple[Path, _OpPlan]]:
        return self._cases[int(self._node.selector.at(chosen))].operations(chosen)


def _step(node: Node, path: Path, context: _Context) -> Any:
    if isinstance(node, OpNode):
        full = path + node.path
        return _OpPlan(node, full, context)
    if isinstance(node, CallNode):
        return _CallPlan(node, path + node.path, context)
    return _SwitchPlan(node, path, context)
