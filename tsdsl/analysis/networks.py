"""Which architectures of a space are one network.

Two architectures are *one network* if what they freeze to is: the same operations run, with the
same arguments, on the same tensors, and what they learn has the same names and shapes. Weights of
one are then weights of the other, and give the same results. Which decisions led there does not
count: a decision that the chosen options ignore, or two options that are spelt differently and are
the same operation.

A network is written as a multiset of *facts*, each of which is a table over a few decisions:

- of an operation that learns: what it is (its torch module), under its name in the state dict, and
  which tensor each of its inputs is;
- of any other operation: what it is, and which tensors its inputs are;
- which tensor the result is.

A tensor is known by the operation that made it: by name, if that learns; else by what it is and
its own inputs. Where a tensor comes from is followed through blocks, choices and `identity`.

The key of an architecture is the sum, modulo 2^128, of a pseudo-random number for each of its facts
(Zobrist hashing; as multisets: Clarke et al., ASIACRYPT 2003): equal networks have equal keys, and
different ones do but for a chance of about n^2 / 2^129 among n of them. As each fact is a table,
keys are looked up like costs, millions a second; no architecture is frozen for it.

Not found to be one network, although they compute the same: operations in another arrangement (an
addition with its terms exchanged, a pooling of one position), and blocks with other names for what
they learn.
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
from tsdsl.ir.op import FunctionCall, ModuleCall, Op, ShapeError
from tsdsl.ir.ordering import TooCoupled
from tsdsl.ir.space import Decision, SpaceGraph
from tsdsl.ir.values import Fault, Val

#: What architectures have in common that count as one: their network, or all of their decisions.
Distinct = Literal["networks", "architectures"]
#: Entries of the largest table of a fact.
MAX_CELLS = 1 << 18
#: Entries up to which it is followed which tensor it is that a choice gives. Beyond, the choice
#: counts as an operation, which is true of all architectures alike.
MAX_FOLLOWED = 1 << 14
#: The number of no fact: the operation does not run.
NOTHING = 0


@lru_cache(maxsize=8)
def network_keys(space: SpaceGraph) -> NetworkKeys:
    """The networks of a space."""
    return NetworkKeys(space)


class NetworkKeys:
    """Keys of the networks of one space."""

    def __init__(self, space: SpaceGraph) -> None:
        self.space = space

    def keys(self, at: Array) -> Array:
        """Keys [architecture, 2] of assignments [architecture, variable], of which only the
        decisions count: 64-bit integers, equal for one network. Nothing is validated."""
        made = self._sums
        if made is not None:
            return np.stack([sums.assigned(at).astype(np.uint64) for sums in made], axis=1)
        return decision_keys(self.space, at)

    @cached_property
    def facts(self) -> NetworkFacts | None:
        """None if an operation depends on too many decisions at once: each architecture then counts
        as a network of its own."""
        try:
            return NetworkFacts(self.space)
        except TooCoupled:
            return None

    @cached_property
    def are_architectures(self) -> bool:
        """Whether each architecture is proven to be a network of its own; also True where networks
        cannot be told apart, so that architectures are compared instead.

        The proof: for each decision there is a fact that tells its option, by itself, wherever the
        decision is active. Of two architectures, take the first decision in which they differ.
        What makes it active is decided before, so it is active in both, and its fact differs."""
        facts = self.facts
        return facts is None or all(map(facts.tell, self.space.decisions))

    @cached_property
    def _sums(self) -> tuple[TableSum, ...] | None:
        facts = self.facts
        if facts is None:
            return None
        numbers = _random(2 * facts.count).reshape(2, facts.count)
        numbers[:, NOTHING] = 0
        return tuple(TableSum(self.space, _added(facts.tables, row)) for row in numbers)


def decision_keys(space: SpaceGraph, at: Array) -> Array:
    """Keys [architecture, 2] that are equal for one architecture only. Decisions that are not
    active stand at their defaults."""
    decided = [d.variable.index for d in space.decisions]
    factors = _random(2 * len(decided)).reshape(len(decided), 2) | np.uint64(1)
    return np.asarray(at[:, decided].astype(np.uint64) @ factors)


def labels(space: SpaceGraph, at: Array, distinct: Distinct) -> list[bytes]:
    """16 bytes for each assignment, equal for those that are one network, or one architecture."""
    by_decision = distinct == "architectures" or network_keys(space).are_architectures
    found = decision_keys(space, at) if by_decision else network_keys(space).keys(at)
    return [row.tobytes() for row in found]


def first_of_each(keys: Array) -> Array:
    """Positions of the rows that no earlier row equals."""
    _, first = np.unique(keys, axis=0, return_index=True)
    return np.sort(first)


def _random(count: int) -> Array:
    return np.random.Generator(np.random.PCG64(1)).integers(1 << 64, size=count, dtype=np.uint64)


def _added(tables: Sequence[Factor], numbers: Array) -> list[Factor]:
    """A random number for each fact, summed over tables of one scope."""
    found: dict[tuple[int, ...], Array] = {}
    for factor in tables:
        values = numbers[factor.table]
        have = found.get(factor.scope)
        found[factor.scope] = values if have is None else have + values
    return [Factor(scope, table) for scope, table in found.items()]


class NetworkFacts:
    """The facts of all networks of a space: ``tables`` have the number of a fact in each entry,
    below ``count``; equal facts have equal numbers. Raises `TooCoupled`."""

    def __init__(self, space: SpaceGraph) -> None:
        self._space = space
        self._numbers: dict[Hashable, int] = {None: NOTHING}
        self._coded: dict[int, tuple[Val, list[Any], Factor]] = {}
        self._calls: dict[Hashable, int] = {}
        #: Which tensor an edge is.
        self._tensors: dict[Edge, Factor] = {}
        #: Operations that learn, by their path, each with when it runs.
        self._learning: dict[Path, list[tuple[OpNode, Factor]]] = {}
        self.tables: list[Factor] = []
        #: The tables of facts that have a name of their own, by name: several where operations that
        #: exclude each other have one name.
        self._named: dict[Hashable, list[Factor]] = {}
        always = Factor((), np.ones((), np.bool_))
        self._find(space.root, (), always)
        self._shared = {path for path, held in self._learning.items() if not _exclusive(held)}
        self._tensors[space.clip] = self._constant("clip")
        self._region(space.root, (), always)
        self._add(always, self._tensor(space.root.result), "result")
        self.count = len(self._numbers)

    def tell(self, decision: Decision) -> bool:
        """Whether a fact with a name of its own has, wherever the decision is active, other values
        for each of its options, whatever the other decisions are."""
        own = decision.variable.index
        told = (held for held in self._named.values() if any(own in f.scope for f in held))
        return any(self._tells(decision, held) for held in told)

    def _tells(self, decision: Decision, held: Sequence[Factor]) -> bool:
        scope = _union(held)
        if self._size(scope) > MAX_CELLS:
            return False
        # At most one of several has a value: the others are `NOTHING`, which is 0.
        table: Array = np.zeros((), np.int64)
        for factor in held:
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
        """All operations that learn."""
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
        """The cases that a choice can take, each with when it is taken."""
        if node.selector.is_constant:
            return [(int(node.selector.value), runs)]
        taken = {e for e in node.selector.entries if e is not None and not isinstance(e, Fault)}
        return [(int(e), self._both(runs, _holds(node.selector, e))) for e in sorted(taken)]

    def _choice(self, node: Switch, cases: Sequence[int], runs: Factor) -> None:
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
            made = self._combined([call, *inputs], scope, lambda found: ("op", name, *found))
            self._add(runs, made, "runs")
            self._tensors[node.output] = made
            return
        # As if it had a name.
        name = ("op", len(self._numbers))
        for place, tensor in enumerate([call, *inputs]):
            self._add(runs, tensor, (name, place))
        self._tensors[node.output] = self._constant(name)

    def _tensor(self, edge: Edge) -> Factor:
        """Which tensor an edge is. In the graph of a phase, the tensors of an absent stream have no
        operation that makes them: they are zeros."""
        found = self._tensors.get(edge)
        return self._constant("absent") if found is None else found

    # ------------------------------------------------------------ operations

    def _call(self, node: OpNode) -> Factor:
        """What an operation is."""
        vals = [*node.args.values(), *(edge.shape for edge in node.inputs)]
        coded = [self._code(val) for val in vals]
        names = tuple(node.args)
        scope = _union([codes for _, codes in coded])
        self._check(scope)

        def describe(found: tuple[int, ...]) -> Hashable:
            values = [distinct[at - 1] for at, (distinct, _) in zip(found, coded, strict=True)]
            return self._description(node.op, names, values)

        return self._combined([codes for _, codes in coded], scope, describe)

    def _description(self, op: type[Op], names: tuple[str, ...], values: list[Any]) -> Hashable:
        key = (op, names, *((type(v), v) for v in values))
        if key not in self._calls:
            try:
                args = op.Args(**dict(zip(names, values, strict=False)))
                shapes = values[len(names) :]
                op.infer(args, *shapes)
                made = (op.name, _module(op.module(args, *shapes)), op.params(args, *shapes))
                self._calls[key] = self._number(("call", repr(made)))
            except (ShapeError, ValidationError):
                # No architecture has it.
                self._calls[key] = NOTHING
        number = self._calls[key]
        return number if number != NOTHING else None

    def _code(self, val: Val) -> tuple[list[Any], Factor]:
        """A value's distinct entries, and which it is, from 1 on; `NOTHING` for a fault."""
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
        return self._numbers.setdefault(fact, len(self._numbers))

    def _constant(self, fact: Hashable) -> Factor:
        return Factor((), np.asarray(self._number(fact)))

    def _add(self, runs: Factor, given: Factor, name: Hashable) -> None:
        """A fact about what is ``given``, where the operation runs."""
        if not runs.scope and not given.scope:
            # True of all architectures.
            return
        scope = _union([runs, given])
        self._check(scope)
        named = self._combined([given], given.scope, lambda found: (name, *found))
        table = self._whole(expand(runs, scope) * expand(named, scope), scope)
        made = Factor(scope, table)
        self.tables.append(made)
        if name != "runs":
            self._named.setdefault(name, []).append(made)

    def _combined(
        self,
        parts: Sequence[Factor],
        scope: tuple[int, ...],
        describe: Callable[[tuple[int, ...]], Hashable],
    ) -> Factor:
        """The number of what each combination describes; `NOTHING` where a part is."""
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
    return op.params is not Op.params


def _module(made: ModuleCall | FunctionCall) -> Hashable:
    """How torch computes an operation, in one way of writing."""
    if isinstance(made, FunctionCall):
        return made.expression, tuple(sorted(made.args.items()))
    return (
        made.target,
        made.args,
        tuple(sorted({**made.defaults, **made.kwargs}.items())),
        tuple(sorted(made.init.items())),
        made.apply,
    )


def _union(parts: Sequence[Factor]) -> tuple[int, ...]:
    return tuple(sorted({v for part in parts for v in part.scope}))


def _holds(selector: Val, case: int) -> Factor:
    cells = [not isinstance(e, Fault) and e == case for e in selector.entries]
    table = np.array(cells, np.bool_).reshape([len(v) for v in selector.variables])
    return Factor(tuple(v.index for v in selector.variables), table)


def _exclusive(held: Sequence[tuple[OpNode, Factor]]) -> bool:
    """Whether one of some operations runs at most, so that its path is a name."""
    if len(held) < 2:
        return True
    for k, (_, one) in enumerate(held):
        for _, other in held[k + 1 :]:
            scope = _union([one, other])
            if bool((expand(one, scope) & expand(other, scope)).any()):
                return False
    return True
