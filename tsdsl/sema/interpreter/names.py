"""What names and members refer to, and a record of what was read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tsdsl.diagnostics import Span, did_you_mean
from tsdsl.ir.graph import BlockInfo, Edge, Guard
from tsdsl.ir.values import Val, constant
from tsdsl.ops import BY_NAME, UnusableOperation
from tsdsl.record import Record, factory
from tsdsl.sema import functions, signatures
from tsdsl.sema.context import POISON, Context, is_broken
from tsdsl.sema.functions import BUILTINS, DIMS_MEMBERS, TENSOR_MEMBERS, ValueFault
from tsdsl.sema.modules import LoadedModule
from tsdsl.sema.scope import IDENTITIES, BlockRef, Env, OpValue, Scope, Value
from tsdsl.sema.submodule_names import name_sites
from tsdsl.syntax import ast

#: Functions of plain values: their calls make no submodules.
NO_SUBMODULES = frozenset(BUILTINS)


class Reads(Record):
    """What expressions read from the space."""

    #: Conditions under which the parts that were named run, in the order of reading.
    guards: list[Guard] = factory(default_factory=list)
    #: Names: the path of the part that has it (None in a block), and the name.
    names: set[tuple[str | None, str]] = factory(default_factory=set)


class NameResolver:
    """Finds what names, members and positions refer to. It evaluates nothing."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._reads = Reads()
        self._blocks: dict[int, BlockRef] = {}

    @contextmanager
    def reads(self) -> Iterator[Reads]:
        """Collect what is read inside. An inner ``reads`` passes its names on to the outer one, and
        keeps its guards: what a name stands for has conditions of its own."""
        outer, self._reads = self._reads, Reads()
        try:
            yield self._reads
        finally:
            outer.names.update(self._reads.names)
            self._reads = outer

    def name(self, node: ast.Name, env: Env) -> Value:
        value: Value | None = env.scope.lookup(node.text)
        if value is not None:
            self._reads.names.add((env.scope.owner(node.text), node.text))
            self._reads.guards.extend(env.scope.conditions_of(node.text))
            return value
        if node.text in IDENTITIES:
            return constant(OpValue(None, node.text))
        definition = self._definition(node, env.module)
        if definition is not None:
            return definition
        return self._unknown(node.text, node.span, env)

    def _definition(self, node: ast.Name, module: LoadedModule) -> Value | None:
        """A block or import of the module, or a primitive operation."""
        name = node.text
        if name in module.blocks:
            return constant(OpValue(self.block(module.blocks[name], module), name))
        if name in module.imports:
            return module.imports[name] or POISON
        if name in BUILTINS or name not in BY_NAME:
            return None
        try:
            return constant(OpValue(BY_NAME[name], name))
        except UnusableOperation as error:
            return self.context.error("E0215", error.message, node.span, error.help)

    def block(self, tree: ast.Block, module: LoadedModule) -> BlockRef:
        """A block as something that can be applied. The same object each time, because emitted
        classes are told apart by it."""
        known = self._blocks.get(id(tree))
        if known is None:
            tensors = tuple(f.name.text for f in tree.formals if signatures.is_tensor(f))
            plain = tuple(p.name for p in signatures.of_block(tree))
            info = BlockInfo(tree.name.text, tree.doc, tensors, plain, tree.span)
            expressions = [s.value for s in tree.body if isinstance(s, ast.Let)]
            sites = name_sites([*expressions, tree.result], NO_SUBMODULES)
            known = self._blocks[id(tree)] = BlockRef(tree, module, info, sites)
        return known

    def _unknown(self, name: str, span: Span, env: Env) -> Val:
        if name in env.module.lost:
            return POISON
        for alias, module in env.module.imports.items():
            if module is not None and name in module.blocks:
                return self.context.error(
                    "E0201", f"'{name}' is not known here", span, f"did you mean '{alias}.{name}'?"
                )
        names = [*env.scope.visible(), *env.module.blocks, *env.module.imports, *BY_NAME, *BUILTINS]
        hint = did_you_mean(name, [*names, *IDENTITIES])
        if name in BUILTINS:
            return self.context.error(
                "E0203", f"'{name}' is a function of values: call it, as in {name}(...)", span
            )
        return self.context.error("E0201", f"'{name}' is not known here", span, hint)

    # -------------------------------------------------------------- members and positions

    def member(self, owner: Value, node: ast.Member) -> Value:
        """The member of a value that was evaluated already."""
        name = node.name.text
        if is_broken(owner):
            return POISON
        if isinstance(owner, LoadedModule):
            return self._module_member(owner, node)
        if isinstance(owner, Scope):
            self._reads.guards.extend(owner.guards)
            return self._scope_member(owner, node)
        if isinstance(owner, Edge):
            if name not in TENSOR_MEMBERS:
                return self.context.error(
                    "E0204",
                    f"a tensor has no '{name}'",
                    node.name.span,
                    did_you_mean(name, TENSOR_MEMBERS, "it has: " + ", ".join(TENSOR_MEMBERS)),
                )
            read = lambda shape: functions.tensor_member(name, shape)  # noqa: E731
            return self.context.lift(read, node.span, owner.shape)

        def extent(value: object) -> int:
            if type(value) is not tuple or name not in DIMS_MEMBERS:
                raise ValueFault(
                    "E0204",
                    f"{functions.show(value)} ({functions.type_name(value)}) has no '{name}'",
                    "a size has .t, .h and .w" if type(value) is tuple else None,
                )
            return int(value[DIMS_MEMBERS[name]])

        return self.context.lift(extent, node.span, owner)

    def _module_member(self, module: LoadedModule, node: ast.Member) -> Value:
        name = node.name.text
        if name in module.blocks:
            return constant(OpValue(self.block(module.blocks[name], module), name))
        if name in module.lost:
            return POISON
        hint = did_you_mean(name, module.blocks, "it has: " + ", ".join(sorted(module.blocks)))
        message = f"{module.tree.source.name} has no block '{name}'"
        return self.context.error("E0204", message, node.name.span, hint)

    def _scope_member(self, scope: Scope, node: ast.Member) -> Value:
        name = node.name.text
        if name == "out":
            if scope.output is not None:
                return scope.output
            return self.context.error("E0204", "this part has no output", node.name.span)
        # Nested repeats can begin with the same block: what each declares is under its path.
        part: Scope | None = scope
        names: list[str] = []
        while part is not None and part.path == scope.path:
            if name in part.names:
                self._reads.names.add((part.path, name))
                self._reads.guards.extend(part.conditions.get(name, ()))
                value: Value = part.names[name]
                return value
            names.extend(part.names)
            part = part.parent
        known = [*names, "out"]
        where = f"'{scope.path}'" if scope.path else "the space"
        hint = did_you_mean(name, known, "it has: " + ", ".join(known))
        return self.context.error("E0204", f"{where} has no '{name}'", node.name.span, hint)

    def stage_block(self, stage: Value, position: Val, node: ast.Index) -> Value:
        """The block of a stage at a position, both evaluated already."""
        if is_broken(stage) or is_broken(position):
            return POISON
        if not isinstance(stage, Scope) or not stage.items:
            return self.context.error("E0205", "only a stage has numbered blocks", node.object.span)
        if not position.is_constant or type(position.value) is not int:
            return self.context.error(
                "E0205", "a block's position is a whole number that is fixed", node.index.span
            )
        block = stage.items.get(position.value)
        if block is None:
            return self.context.error(
                "E0205",
                f"'{stage.path}' has no block [{position.value}]",
                node.span,
                f"it has [{min(stage.items)}] to [{max(stage.items)}]",
            )
        return block
