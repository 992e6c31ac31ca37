"""Which architectures of a space are the same network.

Two architectures are *the same network* if they freeze to the same one: the same operations run,
with the same arguments, on the same tensors, and their parameters have the same names and shapes.
Weights of one are then weights of the other, with the same results. The decisions that led there
do not matter: a decision that the chosen options ignore, or two options that are written
differently and give the same operation.

A network is described by a multiset of *facts*, each of which is a table over a few decisions:

- for an operation with parameters, under its name in the state dict: the operation (its torch
  module), and the tensor at each of its inputs;
- for any other operation: the operation and the tensors at its inputs, as one fact;
- the tensor that is the result.

A tensor is identified by the operation that computes it: by its name, if it has parameters; else by
the operation and its own inputs. It is followed through blocks, choices and `identity`.

The key of an architecture is a sum over its facts of pseudo-random numbers R (Zobrist hashing; for
multisets: D. Clarke et al., Incremental multiset hash functions, ASIACRYPT 2003):

    key = sum over all facts f of R(f)  modulo 2^128.

Equal networks have equal keys, and among n different ones some key is shared with a probability of
about n^2 / 2^129. As each fact is a table, keys are looked up like costs, millions a second, and no
architecture is frozen.

Non-goals: networks that compute the same function in another form are not recognised, such as an
addition with its terms exchanged, a pooling of one position, or blocks with other names for their
parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import cached_property, lru_cache
from math import prod
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from tsdsl.analysis.costs.factors import Array, Factor, expand
from tsdsl.analysis.costs.lookup import TableSum
from tsdsl.ir.graph import CallNode, Edge, OpNode, Path, Region, Switch
from tsdsl.ir.op import FunctionCall, ModuleCall, Op, OpArgs, ShapeError
from tsdsl.ir.ordering import TooCoupled
from tsdsl.ir.space import Decision, SpaceGraph
from tsdsl.ir.values import Fault, Val

#: What counts as distinct: networks, or architectures.
Distinct = Literal["networks", "architectures"]
#: Largest number of entries of the table of a fact.
MAX_CELLS = 1 << 18
#: Largest number of entries of the table that identifies a tensor. Beyond, a choice counts as an
#: operation with a name, in every architecture: then fewer are found to be the same network.
MAX_FOLLOWED = 1 << 14
#: The number that stands for no fact, because the operation does not run.
NOTHING = 0


@lru_cache(maxsize=8)
def network_keys(space: SpaceGraph) -> NetworkKeys:
    """The keys of the networks of a space: the same object for the last few spaces."""
    return NetworkKeys(space)


class NetworkKeys:
    """Computes keys of architectures of one space that are equal for the same network."""

    def __init__(self, space: SpaceGraph) -> None:
        self.space = space

    def keys(self, at: Array) -> Array:
        """Keys [architecture, 2], two 64-bit integers each, of assignments
        [architecture, variable], of which only the decisions are read. Nothing is validated."""
        halves = self._sums
        if halves is not None:
            return np.stack([sums.assigned(at).astype(np.uint64) for sums in halves], axis=1)
        return decision_keys(self.space, at)

    @cached_property
    def facts(self) -> NetworkFacts | None:
        """The facts of the space; None if an operation depends on too many decisions at once, so
        that each architecture counts as a network of its own."""
        try:
            return NetworkFacts(self.space)
        except TooCoupled:
            return None

    @cached_property
    def are_architectures(self) -> bool:
        """Whether each architecture is proven to be a network of its own; also True where `facts`
        is None, so that architectures are compared instead.

        The proof: for each decision there is a fact that alone determines its option wherever the
        decision is active. Of two architectures, take the first decision in which they differ. Its
        guards depend on earlier decisions, so that it is active in both, and its fact differs."""
        facts = self.facts
        return facts is None or all(map(facts.determines, self.space.decisions))

    @cached_property
    def _sums(self) -> tuple[TableSum, ...] | None:
        facts = self.facts
        if facts is None:
            return None
        numbers = _random(2 * facts.count).reshape(2, facts.count)
        numbers[:, NOTHING] = 0
        return tuple(TableSum(self.space, _added(facts.tables, row)) for row in numbers)


def decision_keys(space: SpaceGraph, at: Array) -> Array:
    """Keys [architecture, 2] that differ for different architectures. Inactive decisions have to be
    at their defaults."""
    decided = [d.variable.index for d in space.decisions]
    factors = _random(2 * len(decided)).reshape(len(decided), 2) | np.uint64(1)
    return np.asarray(at[:, decided].astype(np.uint64) @ factors)


def labels(space: SpaceGraph, at: Array, distinct: Distinct) -> list[bytes]:
    """16 bytes for each assignment, equal for the same network, or for the same architecture."""
    by_decision = distinct == "architectures" or network_keys(space).are_architectures
    keys = decision_keys(space, at) if by_decision else network_keys(space).keys(at)
    return [row.tobytes() for row in keys]


def first_of_each(keys: Array) -> Array:
    """The positions of the rows that differ from all earlier rows, ascending."""
    _, first = np.unique(keys, axis=0, return_index=True)
    return np.sort(first)


def _random(count: int) -> Array:
    """Pseudo-random 64-bit integers, always the same ones."""
    return np.random.Generator(np.random.PCG64(1)).integers(1 << 64, size=count, dtype=np.uint64)


def _added(tables: Sequence[Factor], numbers: Array) -> list[Factor]:
    """The tables of the random numbers of facts, summed where their scopes are equal."""
    sums: dict[tuple[int, ...], Array] = {}
    for factor in tables:
        values = numbers[factor.table]
        before = sums.get(factor.scope)
        sums[factor.scope] = values if before is None else before + values
    return [Factor(scope, table) for scope, table in sums.items()]


class NetworkFacts:
    """The facts of all networks of a space: each entry of ``tables`` is the number of a fact, below
    ``count``, and equal facts have equal numbers. Raises `TooCoupled`."""

    def __init__(self, space: SpaceGraph) -> None:
        self._space = space
        self._numbers: dict[Hashable, int] = {None: NOTHING}
        self._coded: dict[int, tuple[Val, list[Any], Factor]] = {}
        self._calls: dict[Hashable, int] = {}
        #: The fact that identifies the tensor of an edge.
        self._tensors: dict[Edge, Factor] = {}
        #: Operations with parameters by their path, each with a table of where it runs.
        self._learning: dict[Path, list[tuple[OpNode, Factor]]] = {}
        self.tables: list[Factor] = []
        #: The tables of named facts, by name: several where operations that exclude each other have
        #: the same name.
        self._named: dict[Hashable, list[Factor]] = {}
        always = Factor((), np.ones((), np.bool_))
        self._find(space.root, (), always)
        #: Paths at which more than one operation can run, so that they are no names.
        self._shared = {path for path, ops in self._learning.items() if not _exclusive(ops)}
        self._tensors[space.clip] = self._constant("clip")
        self._region(space.root, (), always)
        self._add(always, self._tensor(space.root.result), "result")
        self.count = len(self._numbers)

    def determines(self, decision: Decision) -> bool:
        """Whether some named fact alone determines the option of a decision wherever it is active:
        no two options have a value in common, whatever the other decisions are."""
        own = decision.variable.index
        relevant = (fact for fact in self._named.values() if any(own in f.scope for f in fact))
        return any(self._determines(decision, fact) for fact in relevant)

    def _determines(self, decision: Decision, tables: Sequence[Factor]) -> bool:
        """Whether the fact with these tables alone determines a decision."""
        scope = _union(tables)
        if self._size(scope) > MAX_CELLS:
            return False
        # At most one of several tables has a value in a cell: the others are `NOTHING`, which is 0.
        table: Array = np.zeros((), np.int64)
        for factor in tables:
            table = table + expand(factor, scope)
        values = self._whole(table, scope)
        active: Array = np.ones((), np.bool_)
        for guard in decision.guards:
            holds = _holds(guard.selector, guard.case)
            if set(holds.scope) <= set(scope):
                active = active & expand(holds, scope)
        at = scope.index(decision.variable.index)
        rows = np.moveaxis(values, at, 0).reshape(values.shape[at], -1)
        alive = np.moveaxis(self._whole(active, scope), at, 0).reshape(values.shape[at], -1)
        each = [np.unique(row[mask]) for row, mask in zip(rows, alive, strict=True)]
        return len(np.unique(np.concatenate(each))) == sum(map(len, each))

    # ------------------------------------------------------------ the graph

    def _find(self, region: Region, path: Path, runs: Factor) -> None:
        """Collect the operations with parameters in a region."""
        for node in region.nodes:
            if isinstance(node, OpNode):
                if _learns(node.op):
                    self._learning.setdefault(path + node.path, []).append((node, runs))
            elif isinstance(node, CallNode):
                self._find(node.body, path + node.path, runs)
            else:
                for case, within in self._cases(node, runs):
                    self._find(node.cases[case], path, within)

    def _region(self, region: Region, path: Path, runs: Factor) -> None:
        """Collect the facts of a region, in order of execution; ``runs`` is where it runs."""
        for node in region.nodes:
            if isinstance(node, OpNode):
                self._operation(node, path + node.path, runs)
            elif isinstance(node, CallNode):
                for formal, given in zip(node.formals, node.inputs, strict=True):
                    self._tensors[formal] = self._tensor(given)
                self._region(node.body, path + node.path, runs)
                self._tensors[node.output] = self._tensor(node.body.result)
            else:
                cases = self._cases(node, runs)
                for case, within in cases:
                    self._region(node.cases[case], path, within)
                self._choice(node, [case for case, _ in cases], runs)

    def _cases(self, node: Switch, runs: Factor) -> list[tuple[int, Factor]]:
        """The cases that a choice can take, each with a table of where it is taken."""
        if node.selector.is_constant:
            return [(int(node.selector.value), runs)]
        taken = {e for e in node.selector.entries if e is not None and not isinstance(e, Fault)}
        return [(int(e), self._both(runs, _holds(node.selector, e))) for e in sorted(taken)]

    def _choice(self, node: Switch, cases: Sequence[int], runs: Factor) -> None:
        """Identify the tensor of a choice by that of the case taken, while the table is small; else
        treat the choice as an operation with a name of its own."""
        given = [self._tensor(node.cases[case].result) for case in cases]
        if node.selector.is_constant:
            self._tensors[node.output] = given[0]
            return
        masks = [_holds(node.selector, case) for case in cases]
        scope = _union([*masks, *given])
        if self._size(scope) <= MAX_FOLLOWED:
            table: Array = np.zeros((), np.int64)
            for mask, tensor in zip(masks, given, strict=True):
                table = table + expand(mask, scope) * expand(tensor, scope)
            self._tensors[node.output] = Factor(scope, self._whole(table, scope))
            return
        name = ("choice", len(self._numbers))
        for mask, tensor in zip(masks, given, strict=True):
            self._add(self._both(runs, mask), tensor, name)
        self._tensors[node.output] = self._constant(name)

    def _operation(self, node: OpNode, path: Path, runs: Factor) -> None:
        """Add the facts of an operation, and identify the tensor that it computes."""
        inputs = [self._tensor(edge) for edge in node.inputs]
        if node.op.name == "identity":
            self._tensors[node.output] = inputs[0]
            return
        call = self._call(node)
        if _learns(node.op) and path not in self._shared:
            self._add(runs, call, ("is", path))
            for place, tensor in enumerate(inputs):
                self._add(runs, tensor, ("reads", path, place))
            self._tensors[node.output] = self._constant(("of", path))
            return
        name: tuple[Hashable, ...] = path if _learns(node.op) else ()
        scope = _union([call, *inputs])
        if self._size(scope) <= MAX_FOLLOWED:
            fact = self._combined([call, *inputs], scope, lambda parts: ("op", name, *parts))
            self._add(runs, fact, "runs")
            self._tensors[node.output] = fact
            return
        # The table would be too large: a fact for each input, under a name of its own.
        name = ("op", len(self._numbers))
        for place, tensor in enumerate([call, *inputs]):
            self._add(runs, tensor, (name, place))
        self._tensors[node.output] = self._constant(name)

    def _tensor(self, edge: Edge) -> Factor:
        """The fact that identifies the tensor of an edge. In the graph of a phase, the tensors of
        an absent stream are zeros, which no operation computes."""
        tensor = self._tensors.get(edge)
        return self._constant("absent") if tensor is None else tensor

    # ------------------------------------------------------------ operations

    def _call(self, node: OpNode) -> Factor:
        """The number that identifies an operation with its arguments and input shapes."""
        vals = [*node.args.values(), *(edge.shape for edge in node.inputs)]
        coded = [self._code(val) for val in vals]
        names = tuple(node.args)
        scope = _union([codes for _, codes in coded])
        self._check(scope)

        def describe(codes: tuple[int, ...]) -> Hashable:
            values = [entries[code - 1] for code, (entries, _) in zip(codes, coded, strict=True)]
            return self._description(node.op, names, values)

        return self._combined([codes for _, codes in coded], scope, describe)

    def _description(self, op: type[Op], names: tuple[str, ...], values: list[Any]) -> Hashable:
        """The number of an operation with these arguments and shapes; None for an invalid one,
        which no architecture has."""
        key = (op, names, *((type(v), v) for v in values))
        if key not in self._calls:
            self._calls[key] = NOTHING
            shapes = values[len(names) :]
            args = _valid_args(op, dict(zip(names, values, strict=False)), shapes)
            if args is not None:
                call = (op.name, _module(op.module(args, *shapes)), op.params(args, *shapes))
                self._calls[key] = self._number(("call", repr(call)))
        number = self._calls[key]
        return number if number != NOTHING else None

    def _code(self, val: Val) -> tuple[list[Any], Factor]:
        """The distinct entries of a value, and its table of their numbers, from 1 on; `NOTHING` for
        a fault."""
        if id(val) not in self._coded:
            at: dict[Any, int] = {}
            codes = [
                NOTHING if isinstance(e, Fault) else at.setdefault((type(e), e), len(at) + 1)
                for e in val.entries
            ]
            table = np.array(codes, np.int64).reshape([len(v) for v in val.variables])
            scope = tuple(v.index for v in val.variables)
            self._coded[id(val)] = (val, [entry for _, entry in at], Factor(scope, table))
        return self._coded[id(val)][1:]

    # ------------------------------------------------------------ tables

    def _number(self, fact: Hashable) -> int:
        """The number of a fact, a new one for a new fact."""
        return self._numbers.setdefault(fact, len(self._numbers))

    def _constant(self, fact: Hashable) -> Factor:
        return Factor((), np.asarray(self._number(fact)))

    def _add(self, runs: Factor, given: Factor, name: Hashable) -> None:
        """Add the fact that ``given`` has some value, under a name, where the operation runs."""
        if not runs.scope and not given.scope:
            # The same for all architectures.
            return
        scope = _union([runs, given])
        self._check(scope)
        named = self._combined([given], given.scope, lambda parts: (name, *parts))
        table = self._whole(expand(runs, scope) * expand(named, scope), scope)
        fact = Factor(scope, table)
        self.tables.append(fact)
        if name != "runs":
            self._named.setdefault(name, []).append(fact)

    def _combined(
        self,
        parts: Sequence[Factor],
        scope: tuple[int, ...],
        describe: Callable[[tuple[int, ...]], Hashable],
    ) -> Factor:
        """The number of the fact that each combination of parts describes; `NOTHING` where a part
        is `NOTHING`."""
        rows = [self._whole(expand(part, scope), scope).reshape(-1).tolist() for part in parts]
        known: dict[tuple[int, ...], int] = {}
        numbers: list[int] = []
        for row in zip(*rows, strict=True):
            if row not in known:
                known[row] = NOTHING if NOTHING in row else self._number(describe(row))
            numbers.append(known[row])
        table = np.array(numbers, np.int64)
        return Factor(scope, table.reshape([self._extent(v) for v in scope]))

    def _both(self, one: Factor, other: Factor) -> Factor:
        """Where both of two conditions hold."""
        scope = _union([one, other])
        self._check(scope)
        return Factor(scope, self._whole(expand(one, scope) & expand(other, scope), scope))

    def _whole(self, table: Array, scope: tuple[int, ...]) -> Array:
        return np.broadcast_to(table, [self._extent(v) for v in scope])

    def _extent(self, variable: int) -> int:
        return len(self._space.variables[variable])

    def _size(self, scope: tuple[int, ...]) -> int:
        return prod(map(self._extent, scope))

    def _check(self, scope: tuple[int, ...]) -> None:
        if self._size(scope) > MAX_CELLS:
            names = [self._space.variables[v].name for v in scope]
            raise TooCoupled(names, self._size(scope), MAX_CELLS, "telling networks apart")


def _learns(op: type[Op]) -> bool:
    """Whether an operation can have parameters."""
    return op.params is not Op.params


def _valid_args(op: type[Op], values: dict[str, Any], shapes: Sequence[Any]) -> OpArgs | None:
    """The arguments of an operation; None if they, or the shapes, are invalid."""
    try:
        args = op.Args(**values)
        op.infer(args, *shapes)
    except (ShapeError, ValidationError):
        return None
    return args


def _module(call: ModuleCall | FunctionCall) -> Hashable:
    """The torch module or function of an operation, in a canonical form."""
    if isinstance(call, FunctionCall):
        return call.expression, tuple(sorted(call.args.items()))
    return (
        call.target,
        call.args,
        tuple(sorted({**call.defaults, **call.kwargs}.items())),
        tuple(sorted(call.init.items())),
        call.apply,
    )


def _union(parts: Sequence[Factor]) -> tuple[int, ...]:
    return tuple(sorted({v for part in parts for v in part.scope}))


def _holds(selector: Val, case: int) -> Factor:
    """Where a selector has a value."""
    cells = [not isinstance(e, Fault) and e == case for e in selector.entries]
    table = np.array(cells, np.bool_).reshape([len(v) for v in selector.variables])
    return Factor(tuple(v.index for v in selector.variables), table)


def _exclusive(ops: Sequence[tuple[OpNode, Factor]]) -> bool:
    """Whether at most one of some operations runs, so that their path identifies it."""
    if len(ops) < 2:
        return True
    for k, (_, one) in enumerate(ops):
        for _, other in ops[k + 1 :]:
            scope = _union([one, other])
            if bool((expand(one, scope) & expand(other, scope)).any()):
                return False
    return True
