"""The two usual alternatives to slices of weights, on the weights of a `tsdsl.Supernet`.

- `Masked`: every operation runs at its largest width; channels that the architecture lacks are
  zeroed (as in slimmable training with masks, or FBNetV2, arXiv 2004.05565). Kernels, depth and
  operations are those of the architecture. A mask is applied where channels meet (before
  convolutions, linear layers, products of matrices), and not after every operation.
- `AllCandidates`: everything is computed and weighted by probabilities that get gradients (as in
  DARTS, arXiv 1806.09055): all kernels of an operation, all candidates of a choice, a block and its
  absence. Widths would be as many networks again; they are one operation with the sum of their
  masks, as in FBNetV2. Normalisations come behind the sum, one for all kernels: that is less work
  than DARTS proper, which has one for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

import tsdsl
from tsdsl.analysis.costs.configuration import Configuration
from tsdsl.backends.configured_operation import ConfiguredOperation
from tsdsl.backends.operation_module import build_operation
from tsdsl.ir.constraints import entry_at
from tsdsl.ir.graph import CallNode, Edge, OpNode, Path, Region, Switch
from tsdsl.ir.space import Decision
from tsdsl.ir.values import Fault, Val

#: Operations on single channels: a mask can be applied after them.
BY_CHANNEL = frozenset(
    [
        *("bn", "relu", "swish", "sigmoid", "gelu", "hardswish", "tanh", "max_pool", "avg_pool"),
        *("global_avg_pool", "dropout", "add", "mul", "time_sample", "identity"),
    ]
)
#: Operations after which channels are not the first ones: their inputs are masked, so that the
#: result needs no mask.
MOVED = frozenset({"time_to_channel", "channel_shuffle", "channel_slice"})

Known = dict[Edge, tuple[Tensor, Tensor | None]]


class _Wide(nn.Module):
    def __init__(self, space: tsdsl.Space, supernet: tsdsl.Supernet) -> None:
        super().__init__()
        self.supernet = supernet
        self.space = space
        self.graph = space.graph
        structural: set[int] = set()
        for node in _nodes(self.graph.root):
            if isinstance(node, Switch) and node.kind != "if":
                structural |= self._behind(node.selector)
        self._by_variable = {d.variable.index: d for d in self.graph.decisions}
        #: Index of a variable -> its decision, for decisions about widths.
        self.widths = {
            k: d
            for k, d in self._by_variable.items()
            if d.kind in ("int", "ratio") and k not in structural
        }
        self._ready: dict[Any, Callable[..., Tensor]] = {}

    def _behind(self, val: Val) -> set[int]:
        """Indices of the decisions that a value depends on."""
        found: set[int] = set()
        for variable in val.variables:
            if variable.definition is None:
                found.add(variable.index)
            else:
                found |= self._behind(variable.definition)
        return found

    def complete(self, picks: Mapping[int, int]) -> list[int]:
        """Option indices of all variables, with defaults for those that are left out."""
        made: list[int] = []
        for variable in self.graph.variables:
            if variable.definition is not None:
                entry = entry_at(variable.definition, made)
                made.append(-1 if entry is None or isinstance(entry, Fault) else entry)
            else:
                made.append(picks.get(variable.index, self._by_variable[variable.index].default))
        return made

    def widest(self, picks: Mapping[int, int]) -> list[int]:
        return self.complete({**picks, **{k: _largest(d) for k, d in self.widths.items()}})

    def ready(self, node: OpNode, path: Path, at: Sequence[int]) -> Callable[..., Tensor]:
        key = (path, tuple(at[k] for k in self._of(node)))
        found = self._ready.get(key)
        if found is None:
            args = node.op.Args(**{name: val.at(at) for name, val in node.args.items()})
            shapes = [edge.shape.at(at) for edge in node.inputs]
            asked = Configuration.of(node.op, args, shapes)
            elastic = self.supernet._elastic.get(path)
            if elastic is None:
                found = build_operation(asked)
            else:
                found = ConfiguredOperation(asked, elastic, self.supernet._gradients)
            self._ready[key] = found
        if isinstance(found, nn.Module):
            found.train(self.training)
        return found

    def _of(self, node: OpNode) -> list[int]:
        vals = [*node.args.values(), *(edge.shape for edge in node.inputs)]
        return sorted(set().union(*([v.index for v in val.variables] for val in vals)))

    def walk(self, region: Region, path: Path, known: Known) -> tuple[Tensor, Tensor | None]:
        for node in region.nodes:
            if isinstance(node, OpNode):
                known[node.output] = self._operation(node, path + node.path, known)
            elif isinstance(node, CallNode):
                formals = zip(node.formals, node.inputs, strict=True)
                inside: Known = {formal: known[edge] for formal, edge in formals}
                known[node.output] = self.walk(node.body, path + node.path, inside)
            else:
                known[node.output] = self._switch(node, path, known)
        return known[region.result]

    def _operation(self, node: OpNode, path: Path, known: Known) -> tuple[Tensor, Tensor | None]:
        inputs = [known[edge] for edge in node.inputs]
        name = node.op.name
        by_channel = name in BY_CHANNEL or (name == "conv" and self._is_depthwise(node))
        if not by_channel:
            inputs = [(_masked(tensor, mask), None) for tensor, mask in inputs]
        result = self.compute(node, path, [tensor for tensor, _ in inputs])
        masks = [mask for _, mask in inputs if mask is not None]
        if by_channel and masks:
            return result, masks[0]
        if name in MOVED:
            return result, None
        if name == "concat":
            own = [self.mask(edge, result) for edge in node.inputs]
            if all(mask is None for mask in own):
                return result, None
            sizes = [len(known[edge][0][0]) for edge in node.inputs]
            ones = (result.new_ones(size) for size in sizes)
            whole = [o if m is None else m for m, o in zip(own, ones, strict=True)]
            return result, torch.cat(whole)
        return result, self.mask(node.output, result)

    def _is_depthwise(self, node: OpNode) -> bool:
        at = self.at()
        groups = node.args["groups"].at(at) if "groups" in node.args else 1
        return bool(groups == node.inputs[0].shape.at(at)[0])

    def at(self) -> Sequence[int]:
        """The option indices with which operations run."""
        raise NotImplementedError

    def mask(self, edge: Edge, like: Tensor) -> Tensor | None:
        """The mask of a tensor's channels in the widest network, or None if no channel is
        masked."""
        raise NotImplementedError

    def compute(self, node: OpNode, path: Path, inputs: list[Tensor]) -> Tensor:
        raise NotImplementedError

    def _switch(self, node: Switch, path: Path, known: Known) -> tuple[Tensor, Tensor | None]:
        raise NotImplementedError


class Masked(_Wide):
    """``net(clip_NCTHW, architecture) -> logits_NK``, as `Supernet`."""

    _part: list[int]
    _whole: list[int]

    def forward(self, clip_NCTHW: Tensor, architecture: Any, streams: Any = None) -> Tensor:
        self._part = self.supernet._assignment(architecture)
        self._whole = self.widest(dict(enumerate(self._part)))
        return _masked(*self.walk(self.graph.root, (), {self.graph.clip: (clip_NCTHW, None)}))

    def at(self) -> Sequence[int]:
        return self._whole

    def mask(self, edge: Edge, like: Tensor) -> Tensor | None:
        part, whole = (edge.shape.at(at)[0] for at in (self._part, self._whole))
        if part == whole:
            return None
        return (torch.arange(whole, device=like.device) < part).to(like.dtype)

    def compute(self, node: OpNode, path: Path, inputs: list[Tensor]) -> Tensor:
        return self.ready(node, path, self._whole)(*inputs)

    def _switch(self, node: Switch, path: Path, known: Known) -> tuple[Tensor, Tensor | None]:
        case = node.cases[int(node.selector.at(self._whole))]
        return self.walk(case, path, dict(known))


class AllCandidates(_Wide):
    """``net(clip_NCTHW) -> logits_NK``. ``logits``: path of a decision -> logits of its options."""

    def __init__(self, space: tsdsl.Space, supernet: tsdsl.Supernet) -> None:
        super().__init__(space, supernet)
        device = next(supernet.parameters()).device
        self.logits = nn.ParameterList(
            nn.Parameter(torch.zeros(len(d.options), device=device)) for d in self.graph.decisions
        )
        self._place = {d.variable.index: k for k, d in enumerate(self.graph.decisions)}
        self._widest = self.widest({})
        self._masks: dict[Edge, tuple[list[int], Tensor] | None] = {}
        self._mixed: dict[Path, tuple[list[int], list[Callable[..., Tensor]]]] = {}
        self._chances: list[Tensor] = []

    def forward(self, clip_NCTHW: Tensor, architecture: Any = None, streams: Any = None) -> Tensor:
        self._chances = [torch.softmax(row, 0) for row in self.logits]
        return _masked(*self.walk(self.graph.root, (), {self.graph.clip: (clip_NCTHW, None)}))

    def at(self) -> Sequence[int]:
        return self._widest

    def _combined(self, variables: Sequence[int]) -> Tensor:
        """Probabilities of all combinations of some decisions, in the order of `_all`."""
        found = self._chances[0].new_ones(1)
        for k in variables:
            found = torch.outer(found, self._chances[self._place[k]]).flatten()
        return found

    def _all(self, variables: Sequence[int]) -> Iterator[list[int]]:
        sizes = [range(len(self._by_variable[k].options)) for k in variables]
        widest = dict(enumerate(self._widest))
        for picks in product(*sizes):
            yield self.complete({**widest, **dict(zip(variables, picks, strict=True))})

    def mask(self, edge: Edge, like: Tensor) -> Tensor | None:
        if edge not in self._masks:
            self._masks[edge] = None
            variables = sorted(self._behind(edge.shape) & set(self.widths))
            counts = [edge.shape.at(at)[0] for at in self._all(variables)]
            whole = edge.shape.at(self._widest)[0]
            if set(counts) != {whole}:
                rows = torch.arange(whole) < torch.tensor(counts)[:, None]
                self._masks[edge] = variables, rows.to(like.device, like.dtype)
        known = self._masks[edge]
        return None if known is None else self._combined(known[0]) @ known[1]

    def compute(self, node: OpNode, path: Path, inputs: list[Tensor]) -> Tensor:
        if path not in self._mixed:
            vals = [*node.args.values(), *(edge.shape for edge in node.inputs)]
            behind = set().union(*(self._behind(val) for val in vals))
            variables = sorted(
                k for k in behind if k not in self.widths and self._by_variable[k].kind == "dims"
            )
            ready = [self.ready(node, path, at) for at in self._all(variables)]
            assert len(ready) == prod(len(self._by_variable[k].options) for k in variables)
            self._mixed[path] = variables, ready
        variables, ready = self._mixed[path]
        if len(ready) == 1:
            return self.ready(node, path, self._widest)(*inputs)
        chances = self._combined(variables)
        return _sum([(chance, each(*inputs)) for chance, each in zip(chances, ready, strict=True)])

    def _switch(self, node: Switch, path: Path, known: Known) -> tuple[Tensor, Tensor | None]:
        variables = sorted(self._behind(node.selector) - set(self.widths))
        cases = [int(node.selector.at(at)) for at in self._all(variables)]
        chances = self._combined(variables)
        found = []
        for case in sorted(set(cases)):
            here = torch.tensor([c == case for c in cases], device=chances.device)
            tensor, mask = self.walk(node.cases[case], path, dict(known))
            # Candidates may have different masks, which are applied before the sum.
            found.append(((chances * here).sum(), _masked(tensor, mask)))
        return found[0][1] if len(found) == 1 else _sum(found), None


def _sum(weighted: list[tuple[Tensor, Tensor]]) -> Tensor:
    (chance, tensor), *rest = weighted
    total = chance * tensor
    for chance, tensor in rest:
        total = total + chance * tensor
    return total


def _masked(tensor: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return tensor
    return tensor * mask.view(1, -1, *[1] * (tensor.dim() - 2))


def _largest(decision: Decision) -> int:
    options: Any = decision.options
    return max(range(len(options)), key=options.__getitem__)


def _nodes(region: Region) -> Iterator[Any]:
    for node in region.nodes:
        yield node
        for inner in [node.body] if isinstance(node, CallNode) else getattr(node, "cases", ()):
            yield from _nodes(inner)
