"""Small random spaces, built by hand, and brute force over all of their architectures.

A space is a chain of stages of gated blocks with decisions of every kind, options with decisions of
their own, requirements with and without guards, derived variables and faults that nothing reaches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from itertools import count, product
from math import prod
from random import Random
from typing import Any

import numpy as np

from tsdsl.analysis.distribution import Distribution
from tsdsl.diagnostics import Diagnostic, Source, Span
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.freeze import freeze
from tsdsl.ir.graph import (
    BlockInfo,
    CallNode,
    Edge,
    Guard,
    Node,
    OpNode,
    Region,
    Switch,
    walk,
)
from tsdsl.ir.network import BlockCall, Body, Network, OpCall
from tsdsl.ir.op import Op, ShapeError
from tsdsl.ir.space import Decision, DecisionKind, Requirement, SpaceGraph
from tsdsl.ir.values import Fault, Val, Variable, constant, lift, of_variable, select
from tsdsl.ops import BY_NAME

SPAN = Span(Source("made.tsnet", "made"), 0, 4)


def _called(op: type[Op], names: tuple[str, ...], what: str) -> Callable[..., Any]:
    def call(*values: Any) -> Any:
        args = op.Args(**dict(zip(names, values, strict=False)))
        try:
            return getattr(op, what)(args, *values[len(names) :])
        except ShapeError as bad:
            return Fault(Diagnostic("E0401", str(bad), SPAN))

    return call


@dataclass
class Maker:
    """Builds the graph of a space as the elaborator does."""

    variables: list[Variable] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    requirements: list[Requirement] = field(default_factory=list)
    guards: tuple[Guard, ...] = ()

    def decide(
        self,
        path: str,
        kind: DecisionKind,
        domain: Sequence[Any],
        options: Sequence[Any] | None = None,
        default: int = 0,
        weights: tuple[float, ...] | None = None,
    ) -> Val:
        variable = Variable(len(self.variables), path, tuple(domain))
        self.variables.append(variable)
        written = tuple(options if options is not None else domain)
        self.decisions.append(
            Decision(path, kind, variable, written, weights, default, self.guards, SPAN)
        )
        return of_variable(variable)

    def derive(self, name: str, val: Val) -> Val:
        """The same value as a derived variable."""
        domain = val.distinct()
        if val.is_constant or not domain:
            return val
        at = {entry: k for k, entry in enumerate(domain)}
        definition = lift(at.__getitem__, val)
        variable = Variable(len(self.variables), name, domain, definition)
        self.variables.append(variable)
        return of_variable(variable)

    def require(self, condition: Val, text: str, guards: tuple[Guard, ...] = ()) -> None:
        self.requirements.append(Requirement(condition, guards, f"need {text}", text, SPAN))

    def op(self, name: str, path: str, *inputs: Edge, **args: Any) -> OpNode:
        op = BY_NAME[name]
        vals = {k: v if isinstance(v, Val) else constant(v) for k, v in args.items()}
        for key, info in op.Args.model_fields.items():
            vals.setdefault(key, constant(info.default))
        infer = _called(op, tuple(vals), "infer")
        shape = lift(infer, *vals.values(), *(edge.shape for edge in inputs))
        return OpNode((path,), op, vals, inputs, Edge(shape), SPAN)

    def switch(
        self, path: str, kind: Any, selector: Val, labels: Sequence[str], cases: Sequence[Region]
    ) -> Switch:
        shape = select(selector, [case.result.shape for case in cases])
        return Switch((path,), kind, selector, tuple(labels), tuple(cases), Edge(shape), SPAN)

    def under(self, selector: Val, case: int) -> Maker:
        """The same maker for what runs only in one case."""
        guards = (*self.guards, Guard(selector, case))
        return Maker(self.variables, self.decisions, self.requirements, guards)

    def space(self, clip: Edge, nodes: Sequence[Node], result: Edge, **more: Any) -> SpaceGraph:
        return SpaceGraph(
            name="Made",
            doc="",
            source="made.tsnet",
            clip=clip,
            interval=1,
            decisions=tuple(self.decisions),
            variables=tuple(self.variables),
            requirements=tuple(self.requirements),
            root=Region(tuple(nodes), result),
            streams={},
            **{"stated_hash": "made-hash", **more},
        )


def block(maker: Maker, path: str, x: Edge, width: Val, kernel: Val, expand: Val) -> CallNode:
    """An inverted bottleneck with a shortcut where the channels allow one."""
    inner = lift(lambda w, e: int(w * e), width, expand)
    formal = Edge(x.shape, "x")
    a = maker.op("conv", "conv1", formal, out=inner, kernel=(1, 1, 1))
    b = maker.op("bn", "bn1", a.output)
    c = maker.op("conv", "conv2", b.output, out=inner, kernel=kernel, groups=inner)
    d = maker.op("conv", "conv3", c.output, out=width, kernel=(1, 1, 1), bias=True)
    same = lift(lambda s, w: s[0] == w, x.shape, width)
    fit = maker.op("conv", "conv4", formal, out=width, kernel=(1, 1, 1))
    plain = maker.op("add", "add", d.output, formal)
    fitted = maker.op("add", "add", d.output, fit.output)
    join = maker.switch(
        "shortcut",
        "if",
        lift(int, same),
        ("else", "then"),
        (Region((fit, fitted), fitted.output), Region((plain,), plain.output)),
    )
    return CallNode(
        (path,),
        BlockInfo("block", "", ("x",), ("width", "kernel", "expand"), SPAN),
        {"width": width, "kernel": kernel, "expand": expand},
        {"inner": inner},
        (x,),
        (formal,),
        Region((a, b, c, d, join), join.output),
        Edge(join.output.shape, path),
        SPAN,
    )


KERNELS = ((1, 1, 1), (1, 3, 3), (3, 1, 1), (3, 3, 3))


def written(kernel: tuple[int, ...]) -> str:
    return "x".join(map(str, kernel))


def _weights(random: Random, size: int) -> tuple[float, ...] | None:
    return None if random.random() < 0.5 else tuple(random.randint(1, 5) for _ in range(size))


def random_space(seed: int, stages: int = 2, tight: bool = False) -> SpaceGraph:
    """A space of some thousand architectures at most."""
    random = Random(seed)
    maker = Maker()
    clip = Edge(constant((3, 2, 6, 6)), "clip")
    x, nodes = clip, list[Node]()
    values: list[tuple[Val, tuple[Guard, ...], str]] = []
    for s in range(stages):
        widths = random.sample((4, 6, 8, 12), random.choice((1, 2, 2, 3)))
        width = maker.decide(
            f"s{s}.width",
            "int",
            widths,
            default=random.randrange(len(widths)),
            weights=_weights(random, len(widths)),
        )
        values.append((width, (), f"s{s}.width"))
        depths = random.choice(((1, 2), (0, 1), (2,), (0, 1, 2)))
        depth = maker.decide(f"s{s}.depth", "int", depths, default=random.randrange(len(depths)))
        values.append((depth, (), f"s{s}.depth"))
        for b in range(max(depths)):
            runs = lift(lambda d, b=b: int(d > b), depth)
            inside = maker if runs.is_constant else maker.under(runs, 1)
            kernels = random.sample(KERNELS, random.choice((1, 2)))
            kernel = inside.decide(
                f"s{s}[{b}].kernel",
                "dims",
                kernels,
                [written(k) for k in kernels],
                weights=_weights(random, len(kernels)),
            )
            expand = constant(2)
            if random.random() < 0.4:
                expand = inside.decide(f"s{s}[{b}].expand", "ratio", (1.0, 2.25), default=1)
                values.append((expand, inside.guards, f"s{s}[{b}].expand"))
            body = block(inside, "block", x, width, kernel, expand)
            if runs.is_constant:
                nodes.append(body)
                x = body.output
            else:
                cases = (Region((), x), Region((body,), body.output))
                nodes.append(maker.switch(f"s{s}_{b}", "depth", runs, ("skip", "run"), cases))
                x = nodes[-1].output
            if random.random() < 0.6:
                x = Edge(maker.derive(f"shape s{s}[{b}]", x.shape))
                # The edge that carries the derived shape comes out of an operation of its own.
                passed = maker.op("identity", f"pass{s}_{b}", nodes[-1].output)
                nodes.append(
                    OpNode(passed.path, passed.op, passed.args, passed.inputs, x, passed.span)
                )
        if random.random() < 0.5:
            name = f"attend.s{s}"
            chosen = maker.decide(
                name, "op", (0, 1, 2), ("none", "se(4)", "mix()"), weights=_weights(random, 3)
            )
            inside = maker.under(lift(int, chosen), 2)
            mid = inside.decide(f"{name}.mid", "int", (2, 5))
            values.append((mid, inside.guards, f"{name}.mid"))
            pool = maker.op("global_avg_pool", "pool", x, keep=True)
            gate = maker.op("conv", "gate", pool.output, out=4, kernel=(1, 1, 1))
            channels = lift(lambda shape: shape[0], x.shape)
            back = maker.op("conv", "back", gate.output, out=channels, kernel=(1, 1, 1))
            scaled = maker.op("mul", "mul", x, back.output)
            mixed = inside.op("conv", "mix1", x, out=mid, kernel=(1, 1, 1))
            remixed = inside.op("conv", "mix2", mixed.output, out=channels, kernel=(1, 1, 1))
            cases = (
                Region((), x),
                Region((pool, gate, back, scaled), scaled.output),
                Region((mixed, remixed), remixed.output),
            )
            labels = ("none", "se(4)", "mix()")
            nodes.append(maker.switch(f"attend{s}", "option", lift(int, chosen), labels, cases))
            x = nodes[-1].output
    head = maker.op("global_avg_pool", "pool", x)
    last = maker.op("linear", "linear", head.output, out=5)
    nodes += [head, last]
    channels = lift(lambda shape: shape[0], x.shape)
    for _ in range(random.choice((0, 1, 2, 3)) if not tight else 4):
        (left, gl, a), (right, gr, b) = random.sample(values, 2) if len(values) > 1 else values * 2
        if random.random() < 0.3:
            left, gl, a = channels, (), "channels"
        bound = random.choice((1, 2, 3))
        condition = lift(lambda p, q, k=bound: p * k <= q * 3, left, right)
        maker.require(condition, f"{a} * {bound} <= {b} * 3", (*gl, *gr))
    return maker.space(clip, nodes, last.output)


def architectures(space: SpaceGraph) -> Iterator[list[int]]:
    """Every architecture by brute force: requirements hold, inactive decisions at their default."""
    ours = {d.variable.index: d for d in space.decisions}
    for picked in product(*(range(len(d.options)) for d in space.decisions)):
        options = dict(zip(ours, picked, strict=True))
        at: list[int] = []
        fresh = True
        for v in space.variables:
            if v.definition is not None:
                at.append(v.definition.at(at))
                continue
            d = ours[v.index]
            active = all(g.selector.at(at) == g.case for g in d.guards)
            fresh &= active or options[v.index] == d.default
            at.append(options[v.index])
        if fresh and all(holds(r, at) for r in space.requirements):
            yield at


#: Spaces with at most this many combinations are enumerated.
MAX_COMBINATIONS = 6000


@lru_cache(maxsize=64)
def enumerated(seed: int) -> tuple[SpaceGraph, list[list[int]]]:
    """A space small enough to enumerate, with all of its architectures as assignments."""
    for attempt in count():
        space = random_space(1000 * attempt + seed, tight=seed % 3 == 0)
        if prod(len(d.options) for d in space.decisions) <= MAX_COMBINATIONS:
            return space, list(architectures(space))
    raise AssertionError


def holds(requirement: Requirement, at: Sequence[int]) -> bool:
    asked = all(g.selector.at(at) == g.case for g in requirement.guards)
    return not asked or requirement.condition.at(at) is not False


def decisions_of(space: SpaceGraph, at: Sequence[int]) -> dict[str, Any]:
    """The mapping of an assignment: active decisions only."""
    return {
        d.path: d.options[at[d.variable.index]]
        for d in space.decisions
        if all(g.selector.at(at) == g.case for g in d.guards)
    }


def structure(network: Network) -> tuple[Any, ...]:
    """What a frozen network is: each operation as an expression of the clip, with the name of what
    it learns; all of them, and which is the result. Equal for one network."""
    known: dict[int, Any] = {id(network.clip): "clip"}
    every: list[str] = []
    short: dict[str, str] = {}

    def follow(body: Body, path: tuple[str, ...]) -> Any:
        for call in body.calls:
            if isinstance(call, OpCall):
                inputs = [known[id(t)] for t in call.inputs]
                if call.op.name == "identity":
                    known[id(call.output)] = inputs[0]
                    continue
                name = path + call.path if call.params else ()
                text = repr((call.op.name, name, call.module, call.params, inputs))
                every.append(text)
                # Expressions of deep networks would double with each shortcut.
                known[id(call.output)] = short.setdefault(text, sha256(text.encode()).hexdigest())
            elif isinstance(call, BlockCall):
                for formal, given in zip(call.formals, call.inputs, strict=True):
                    known[id(formal)] = known[id(given)]
                known[id(call.output)] = follow(call.body, path + call.path)
            else:
                known[id(call.output)] = follow(call.body, path)
        return known[id(body.result)]

    result = follow(network.body, ())
    return (*sorted(every), result)


def structures(space: SpaceGraph, found: Sequence[Architecture]) -> list[tuple[Any, ...]]:
    """The structure of each architecture, frozen."""
    return [structure(freeze(space, architecture)) for architecture in found]


def brute_cost(space: SpaceGraph, at: Sequence[int]) -> tuple[int, int]:
    """MACs and parameters, operation by operation."""
    macs = params = 0
    for placed in walk(space.root):
        if all(g.selector.at(at) == g.case for g in placed.guards):
            node = placed.node
            args = node.op.Args(**{k: v.at(at) for k, v in node.args.items()})
            shapes = [edge.shape.at(at) for edge in node.inputs]
            macs += node.op.macs(args, *shapes)
            for param in node.op.params(args, *shapes):
                size = 1
                for extent in param.shape:
                    size *= extent
                params += size
    return macs, params


def chain(blocks: int = 80, stages: int = 4, requirement: bool = True) -> SpaceGraph:
    """A long chain: width, kernel and expansion for each block, depth for each stage. The shape
    after each block is a derived variable, since depth decides whose width it has."""
    maker = Maker()
    clip = Edge(constant((3, 8, 64, 64)), "clip")
    x, nodes = clip, list[Node]()
    first: list[Val] = []
    per = blocks // stages
    for s in range(stages):
        depth = maker.decide(f"s{s}.depth", "int", tuple(range(per // 2, per + 1)))
        for b in range(per):
            runs = lift(lambda d, b=b: int(d > b), depth)
            inside = maker if runs.is_constant else maker.under(runs, 1)
            at = f"s{s}[{b}]"
            width = inside.decide(
                f"{at}.width", "int", tuple(16 * (s + 1) + 8 * k for k in range(5))
            )
            kernel = inside.decide(f"{at}.kernel", "dims", KERNELS, [written(k) for k in KERNELS])
            expand = inside.decide(f"{at}.expand", "ratio", (1.5, 2.25, 3.0))
            if b == 0:
                first.append(width)
            body = block(inside, f"b{b}", x, width, kernel, expand)
            if runs.is_constant:
                nodes.append(body)
                out = body.output
            else:
                cases = (Region((), x), Region((body,), body.output))
                nodes.append(maker.switch(at, "depth", runs, ("skip", "run"), cases))
                out = nodes[-1].output
            x = Edge(maker.derive(f"shape {at}", out.shape))
            passed = maker.op("identity", f"pass{s}_{b}", out)
            nodes.append(OpNode(passed.path, passed.op, passed.args, passed.inputs, x, passed.span))
    head = maker.op("global_avg_pool", "pool", x)
    last = maker.op("linear", "linear", head.output, out=400)
    nodes += [head, last]
    if requirement:
        for (k, low), high in zip(enumerate(first), first[1:], strict=False):
            maker.require(lift(lambda p, q: p <= q, low, high), f"widths grow {k}")
        channels = lift(lambda shape: shape[0], x.shape)
        maker.require(lift(lambda c: c >= 72, channels), "wide at the end")
    return maker.space(clip, nodes, last.output)


def made(space: SpaceGraph, seed: int) -> Distribution:
    """Random logits, some options impossible."""
    random = np.random.default_rng(seed)
    initial = Distribution.initial(space)
    flat = random.normal(size=initial.flat.shape)
    for row in initial.layout.split(flat):
        if len(row) > 1 and random.random() < 0.2:
            row[random.integers(len(row))] = -np.inf
    return Distribution(space, flat)
