"""A space some of whose decisions are made jointly.

A *group* of decisions is replaced by one joint decision, whose options are all combinations of
theirs; each member becomes a derived variable of the joint one. A distribution with one categorical
for each decision of the new graph is then a joint distribution within each group, and every query
works on it as on any other graph. No network is built from the new graph: its architectures are
those of the space, with the paths and options of the decisions in `SpaceGraph.members`.

Each table is rewritten over the joint decision wherever this does not enlarge it beyond the number
of combinations. The exception are *coupled* members: those that occur in a table together with
members of another group, such as the width of a block, which its successor reads. A table over two
joint decisions would have the product of their sizes, so coupled members remain variables of their
own, unless a member that is not coupled brings the joint decision into the table anyway:

    variables of a rewritten table = joint decisions of its uncoupled members
                                     + coupled members of all other groups + ungrouped variables

The decisions of a group must be active under the same guards, so that the joint decision is active
as a whole or not at all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any

from tsdsl.ir.graph import CallNode, Edge, Guard, Node, OpNode, Region, Switch, walk
from tsdsl.ir.space import Decision, SpaceGraph
from tsdsl.ir.values import Val, Variable, reduce
from tsdsl.record import Record, replace

#: Indices of the group's members in `SpaceGraph.decisions`, sorted.
DecisionGroup = tuple[int, ...]
#: Combinations: groups with more are not joined.
MAX_COMBINED = 4096


class DecisionGroups(Record):
    """The groups of a space that can be joined, and those that have too many combinations."""

    joined: tuple[DecisionGroup, ...]
    #: Groups with more than `MAX_COMBINED` combinations.
    too_large: tuple[DecisionGroup, ...]


class InvalidGroups(ValueError):
    """Some decisions cannot be joined. The message says which, and why."""


def block_groups(space: SpaceGraph, among: Collection[str] | None = None) -> DecisionGroups:
    """The groups of a space: the decisions of one block that are active under the same guards.

    A block is a block of a stage (``sparse.s1[0]``), a stem, a fusion, an attention or the head. A
    decision that a stage binds belongs to its block if the stage has only one. Decisions that
    several blocks share, and decisions with one option, are in no group. ``among`` has the paths of
    the decisions to consider; None for all.
    """
    found: dict[Any, list[int]] = {}
    single = _single_block_stages(space)
    for k, d in enumerate(space.decisions):
        block = _block_of(space, single, d.path)
        if block and len(d.options) > 1 and (among is None or d.path in among):
            found.setdefault((block, _guards_key(d.guards)), []).append(k)
    several = [tuple(group) for group in found.values() if len(group) > 1]
    large = {g for g in several if combination_count(space, g) > MAX_COMBINED}
    return DecisionGroups(tuple(g for g in several if g not in large), tuple(sorted(large)))


def _single_block_stages(space: SpaceGraph) -> set[str]:
    """Paths of the stages that have exactly one block."""
    counted: dict[str, set[str]] = {}
    for node in space.root.nodes:
        if len(node.path) > 2 and node.path[0] in space.streams:
            counted.setdefault(".".join(node.path[:2]), set()).add(node.path[2])
    return {stage for stage, own in counted.items() if len(own) == 1}


def _block_of(space: SpaceGraph, single: Collection[str], path: str) -> str:
    """The path of the block that a decision belongs to; empty if several blocks share it."""
    if "[" in path:
        return path[: path.index("]") + 1]
    names = path.split(".")
    if names[0] in ("fuse", "attend"):
        return ".".join(names[:3])
    if names[0] == "head":
        return names[0]
    place = ".".join(names[:2])
    if len(names) > 2 and names[0] in space.streams:
        if names[1] == "stem":
            return place
        # A path without a block's number is bound by the stage, for all of its blocks.
        return f"{place}[0]" if place in single else ""
    return ""


def combination_count(space: SpaceGraph, group: DecisionGroup) -> int:
    """Number of options of the joint decision of a group."""
    return prod(len(space.decisions[k].options) for k in group)


def group_problem(space: SpaceGraph, groups: Sequence[DecisionGroup]) -> str | None:
    """The reason why ``groups`` cannot be joined, as a message; None if they can."""
    taken: set[int] = set()
    for group in groups:
        if len(group) < 2 or list(group) != sorted(set(group)) or not taken.isdisjoint(group):
            return (
                f"decisions {group} cannot be a group: it needs two or more different ones in"
                " order, none of them in another group"
            )
        taken.update(group)
        first, *others = (space.decisions[k] for k in group)
        for other in others:
            if _guards_key(other.guards) != _guards_key(first.guards):
                return f"'{first.path}' and '{other.path}' are not active together"
        if combination_count(space, group) > MAX_COMBINED:
            return (
                f"'{first.path}' and {len(others)} more have {combination_count(space, group):,}"
                f" combinations; the limit is {MAX_COMBINED:,}"
            )
    return None


def partition(space: SpaceGraph, groups: Sequence[DecisionGroup]) -> tuple[DecisionGroup, ...]:
    """For each decision of the joined graph, its members in the space (one for a decision that is
    in no group). Raises `InvalidGroups`."""
    problem = group_problem(space, groups)
    if problem is not None:
        raise InvalidGroups(problem)
    taken = {k for group in groups for k in group}
    alone = ((k,) for k in range(len(space.decisions)) if k not in taken)
    return tuple(sorted((*map(tuple, groups), *alone)))


def group_name(paths: Sequence[str]) -> str:
    """The path of a joint decision: ``sparse.s1[0].{kernel, expand}``."""
    if len(paths) == 1:
        return paths[0]
    split = [path.split(".") for path in paths]
    shared = 0
    while all(len(s) > shared + 1 and s[shared] == split[0][shared] for s in split):
        shared += 1
    rests = ", ".join(".".join(s[shared:]) for s in split)
    return ".".join([*split[0][:shared], "{" + rests + "}"])


@lru_cache(maxsize=8)
def join_decisions(space: SpaceGraph, groups: tuple[DecisionGroup, ...]) -> SpaceGraph:
    """The space with some groups joined, each at the place of its first decision; the space itself
    if there are no groups. Raises `InvalidGroups`."""
    if not groups:
        return space
    made = partition(space, groups)
    heads = {space.decisions[g[0]].variable.index: g for g in made if len(g) > 1}
    coupled = _coupled_members(
        space, {space.decisions[k].variable.index: g for g in groups for k in g}
    )
    variables: list[Variable] = []
    combined: dict[int, Variable] = {}
    definitions: dict[int, Val] = {}
    rewriter = _Rewriter()
    for variable in space.variables:
        if variable.index in heads:
            group = heads[variable.index]
            ours = [space.decisions[k] for k in group]
            name = group_name([d.path for d in ours])
            each = tuple(product(*(range(len(d.options)) for d in ours)))
            head = Variable(len(variables), name, each)
            variables.append(head)
            combined[group[0]] = head
            for place, d in enumerate(ours):
                at = tuple(options[place] for options in each)
                definitions[d.variable.index] = Val((head,), at)
                if d.variable.index not in coupled:
                    rewriter.joint[d.variable.index] = head
        definition = definitions.get(variable.index)
        if definition is None and variable.definition is not None:
            definition = rewriter.val(variable.definition)
        mine = Variable(len(variables), variable.name, variable.domain, definition)
        variables.append(mine)
        rewriter.variables[variable.index] = mine
    members = tuple(
        replace(d, variable=rewriter.variables[d.variable.index], guards=rewriter.guards(d.guards))
        for d in space.decisions
    )
    decisions = tuple(
        members[group[0]]
        if len(group) == 1
        else _decision([members[k] for k in group], combined[group[0]])
        for group in made
    )
    requirements = tuple(
        replace(r, condition=rewriter.val(r.condition), guards=rewriter.guards(r.guards))
        for r in space.requirements
    )
    return replace(
        space,
        clip=rewriter.edge(space.clip),
        decisions=decisions,
        variables=tuple(variables),
        requirements=requirements,
        root=rewriter.region(space.root),
        stated_hash=space.hash,
        members=members,
    )


def _decision(members: Sequence[Decision], variable: Variable) -> Decision:
    default = 0
    for d in members:
        default = default * len(d.options) + d.default
    first = members[0]
    options = tuple(
        ", ".join(str(d.options[k]) for d, k in zip(members, at, strict=True))
        for at in variable.domain
    )
    return Decision(
        variable.name, "string", variable, options, None, default, first.guards, first.span
    )


def _guards_key(guards: Sequence[Guard]) -> tuple[Any, ...]:
    """A key that is equal for guards over the same variables that hold in the same cases."""
    return tuple(
        (tuple(v.index for v in val.variables), val.entries, guard.case)
        for guard in guards
        for val in (reduce(guard.selector),)
    )


def _coupled_members(space: SpaceGraph, grouped: Mapping[int, DecisionGroup]) -> set[int]:
    """The coupled members: variables of a group that occur in a table together with a variable of
    another group. ``grouped`` maps each member's variable index to its group."""
    found: set[int] = set()
    for scope in _table_scopes(space):
        groups = {grouped[v] for v in scope if v in grouped}
        if len(groups) > 1:
            found.update(v for v in scope if v in grouped)
    return found


def _table_scopes(space: SpaceGraph) -> Iterator[set[int]]:
    """The variables of each table that queries build for a space: operations (arguments, shapes and
    guards), requirements, definitions of derived variables, and guards of decisions."""
    for placed in walk(space.root):
        node = placed.node
        shapes = [edge.shape for edge in (*node.inputs, node.output)]
        yield _variables([*node.args.values(), *shapes], placed.guards)
    for requirement in space.requirements:
        yield _variables([requirement.condition], requirement.guards)
    for variable in space.variables:
        if variable.definition is not None:
            yield _variables([variable.definition])
    for d in space.decisions:
        yield {d.variable.index} | _variables([], d.guards)


def _variables(vals: Sequence[Val], guards: Sequence[Guard] = ()) -> set[int]:
    every = [*vals, *(guard.selector for guard in guards)]
    return {v.index for val in every for v in val.variables}


class _Rewriter:
    """Rewrites the parts of a graph over new variables. Values and edges that were one object in
    the graph are one object in the result."""

    def __init__(self) -> None:
        #: Index of a variable in the space -> the new variable.
        self.variables: dict[int, Variable] = {}
        #: Index of an uncoupled member's variable -> the joint variable that replaces it.
        self.joint: dict[int, Variable] = {}
        self._known: dict[int, Any] = {}

    def val(self, val: Val) -> Val:
        if not val.variables:
            return val
        if id(val) not in self._known:
            self._known[id(val)] = self._over(val)
        found: Val = self._known[id(val)]
        return found

    def _over(self, val: Val) -> Val:
        heads = {self.joint[v.index].index for v in val.variables if v.index in self.joint}
        if not heads:
            return Val(tuple(self.variables[v.index] for v in val.variables), val.entries)
        #: For each new variable: the offset that each of its values adds in the old entries.
        steps: dict[int, tuple[Variable, list[int]]] = {}
        size = 1
        for old in reversed(val.variables):
            new, at = self.variables[old.index], tuple(range(len(old)))
            if old.definition is None and new.definition is not None:
                # A coupled member of a group whose joint variable is in this table anyway.
                definition = new.definition
                (head,) = definition.variables
                if head.index in heads:
                    new, at = head, definition.entries
            _, far = steps.setdefault(new.index, (new, [0] * len(new)))
            for k, option in enumerate(at):
                far[k] += size * option
            size *= len(old)
        ordered = [steps[index] for index in sorted(steps)]
        offsets = [0]
        for _, far in ordered:
            offsets = [offset + step for offset in offsets for step in far]
        entries = val.entries
        return Val(tuple(v for v, _ in ordered), tuple(entries[offset] for offset in offsets))

    def vals(self, named: Mapping[str, Val]) -> dict[str, Val]:
        return {name: self.val(val) for name, val in named.items()}

    def guards(self, guards: Sequence[Guard]) -> tuple[Guard, ...]:
        return tuple(Guard(self.val(guard.selector), guard.case) for guard in guards)

    def edge(self, edge: Edge) -> Edge:
        if id(edge) not in self._known:
            self._known[id(edge)] = Edge(self.val(edge.shape), edge.hint)
        found: Edge = self._known[id(edge)]
        return found

    def edges(self, edges: Sequence[Edge]) -> tuple[Edge, ...]:
        return tuple(map(self.edge, edges))

    def region(self, region: Region) -> Region:
        return Region(tuple(map(self._node, region.nodes)), self.edge(region.result))

    def _node(self, node: Node) -> Node:
        inputs = () if isinstance(node, Switch) else self.edges(node.inputs)
        output = self.edge(node.output)
        match node:
            case OpNode():
                return replace(node, args=self.vals(node.args), inputs=inputs, output=output)
            case CallNode():
                return replace(
                    node,
                    args=self.vals(node.args),
                    locals=self.vals(node.locals),
                    inputs=inputs,
                    formals=self.edges(node.formals),
                    body=self.region(node.body),
                    output=output,
                )
            case Switch():
                return replace(
                    node,
                    selector=self.val(node.selector),
                    cases=tuple(map(self.region, node.cases)),
                    output=output,
                )
