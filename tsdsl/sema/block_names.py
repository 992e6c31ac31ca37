"""Names in the blocks of a file: unknown or repeated ones, names of arguments and types, recursion.

Blocks that a space uses are elaborated with it. This pass looks at the text of all blocks, used or
not, so that a library without spaces can be checked by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from tsdsl.diagnostics import Collector, Diagnostic, Label, Span, did_you_mean
from tsdsl.ops import BY_NAME, UnusableOperation
from tsdsl.sema import signatures
from tsdsl.sema.functions import BUILTINS
from tsdsl.sema.modules import LoadedModule
from tsdsl.sema.scope import IDENTITIES
from tsdsl.syntax import ast


def check_block_names(module: LoadedModule, findings: Collector) -> bool:
    """Check the names in every block of a module. Returns False where blocks call each other in a
    circle: such blocks must not be elaborated."""
    acyclic = True
    done: set[int] = set()
    for block in module.tree.blocks:
        if findings.is_full:
            break
        _NameCheck(module, findings).block(block)
        cycle = _cycle(block, module, done)
        if cycle:
            acyclic = False
            findings.add(
                Diagnostic(
                    "E0207",
                    "blocks call each other in a circle: " + " -> ".join(cycle),
                    block.name.span,
                    help="a block is unrolled completely, so it cannot call itself",
                )
            )
    return acyclic


class _NameCheck:
    """Checks the names in one block."""

    def __init__(self, module: LoadedModule, findings: Collector) -> None:
        self.module = module
        self.findings = findings
        self.local: dict[str, Span] = {}
        self.wrong = False

    def error(
        self,
        code: str,
        message: str,
        span: Span,
        hint: str | None,
        labels: list[Label] | None = None,
    ) -> None:
        self.wrong = True
        self.findings.add(Diagnostic(code, message, span, tuple(labels or ()), hint))

    def declare(self, name: ast.Ident) -> None:
        if name.text in self.local:
            self.error(
                "E0202",
                f"'{name.text}' is declared twice",
                name.span,
                "give one of them another name",
                [Label(self.local[name.text], "declared here first")],
            )
        self.local.setdefault(name.text, name.span)

    def block(self, block: ast.Block) -> None:
        plain_seen = False
        for formal in block.formals:
            if formal.type is not None and formal.type.text not in signatures.TYPES:
                known = ", ".join(signatures.TYPES)
                self.error(
                    "E0310",
                    f"there is no type '{formal.type.text}'",
                    formal.type.span,
                    did_you_mean(formal.type.text, signatures.TYPES, f"types are: {known}"),
                )
            if not signatures.is_tensor(formal):
                plain_seen = True
            elif plain_seen:
                self.error(
                    "E0305",
                    f"tensor '{formal.name.text}' comes after a plain parameter",
                    formal.span,
                    "tensors come first; a plain parameter has a type, as in width: int",
                )
            if formal.default is not None:
                self.expression(formal.default)
            self.declare(formal.name)
        if not any(signatures.is_tensor(f) for f in block.formals):
            self.error(
                "E0311",
                f"block '{block.name.text}' takes no tensor",
                block.name.span,
                f"write: block {block.name.text}(x, ...) {{",
            )
        for statement in block.body:
            if self.findings.is_full:
                return
            if isinstance(statement, ast.Let):
                self.expression(statement.value)
                self.declare(statement.name)
            else:
                self.expression(statement.condition)
        self.expression(block.result)
        if self.module.clean and not self.wrong:
            self.unused(block)

    def unused(self, block: ast.Block) -> None:
        """Warn of lets that neither the result of the block nor a requirement depends on."""
        used = _read(block.result)
        idle: list[ast.Ident] = []
        for statement in reversed(block.body):
            if not isinstance(statement, ast.Let):
                used |= _read(statement.condition)
            elif statement.name.text in used:
                used |= _read(statement.value)
            else:
                idle.append(statement.name)
        for name in reversed(idle):
            self.findings.add(
                Diagnostic(
                    "W0909",
                    f"the result of block '{block.name.text}' does not depend on '{name.text}'",
                    name.span,
                    help="use it on the way to the result, or remove it",
                    severity="warning",
                )
            )

    def expression(self, node: ast.Expr) -> None:
        called: set[int] = set()
        for part in walk(node):
            if self.findings.is_full:
                return
            if isinstance(part, ast.Name):
                self.name(part, id(part) in called)
            elif isinstance(part, ast.Member):
                self.member(part)
            elif isinstance(part, ast.Call):
                called.add(id(part.function))
                self.call(part)

    def name(self, node: ast.Name, called: bool) -> None:
        name = node.text
        module = self.module
        if name in BUILTINS and not called and name not in (*self.local, *module.blocks):
            message = f"'{name}' is a function of values: call it, as in {name}(...)"
            self.error("E0203", message, node.span, None)
        places = (self.local, module.blocks, module.imports, BUILTINS, IDENTITIES)
        if any(name in place for place in places) or name in module.lost:
            return
        # Last: a name that is no built-in operation makes it search the installed packages.
        if name in BY_NAME:
            try:
                BY_NAME[name]
            except UnusableOperation as error:
                self.error("E0215", error.message, node.span, error.help)
            return
        for alias, imported in module.imports.items():
            if imported is not None and name in imported.blocks:
                self.error(
                    "E0201",
                    f"'{name}' is not known here",
                    node.span,
                    f"did you mean '{alias}.{name}'?",
                )
                return
        self.error(
            "E0201",
            f"'{name}' is not known here",
            node.span,
            did_you_mean(name, chain(*places, BY_NAME)),
        )

    def member(self, node: ast.Member) -> None:
        imported = self._import(node.object)
        if imported is None:
            return
        name = node.name.text
        if name not in imported.blocks and name not in imported.lost:
            self.error(
                "E0204",
                f"{imported.tree.source.name} has no block '{name}'",
                node.name.span,
                did_you_mean(name, imported.blocks, "it has: " + ", ".join(imported.blocks)),
            )

    def _import(self, node: ast.Expr) -> LoadedModule | None:
        if isinstance(node, ast.Name) and node.text not in self.local:
            return self.module.imports.get(node.text)
        return None

    def call(self, node: ast.Call) -> None:
        """Check the names of the arguments of a call, where the callee is known."""
        name, parameters, declared = self._signature(node.function)
        if parameters is None:
            return
        for argument in node.arguments:
            if isinstance(argument.value, ast.SetDomain | ast.RangeDomain):
                self.error(
                    "E0501",
                    "a block makes no decisions",
                    argument.span,
                    "decide in the space ('~' in use, stem, fuse or attend) and pass the value in",
                )
            elif argument.name is not None and argument.name.text not in parameters:
                self.error(
                    "E0306",
                    f"{name} has no argument '{argument.name.text}'",
                    argument.name.span.to(argument.span),
                    did_you_mean(
                        argument.name.text,
                        parameters,
                        "it has: " + (", ".join(parameters) or "none"),
                    ),
                    declared,
                )

    def _signature(self, node: ast.Expr) -> tuple[str, list[str] | None, list[Label]]:
        block: ast.Block | None = None
        name = ""
        if isinstance(node, ast.Name) and node.text not in self.local:
            name = node.text
            block = self.module.blocks.get(name)
            op = None if block is not None or name in BUILTINS else BY_NAME.find(name)
            if op is not None:
                return name, [p.name for p in signatures.of_op(op)], []
        elif isinstance(node, ast.Member):
            imported = self._import(node.object)
            name = node.name.text
            block = imported.blocks.get(name) if imported else None
        if block is None:
            return name, None, []
        names = [p.name for p in signatures.of_block(block)]
        return name, names, [Label(block.name.span, "declared here")]


def _read(node: ast.Expr) -> set[str]:
    """The names that an expression reads."""
    return {part.text for part in walk(node) if isinstance(part, ast.Name)}


def walk(node: ast.Expr) -> Iterator[ast.Expr]:
    """An expression and all expressions in it, except those in domains, ranges and records."""
    yield node
    match node:
        case ast.Member(owner, _):
            yield from walk(owner)
        case ast.Index(owner, index):
            yield from walk(owner)
            yield from walk(index)
        case ast.Call(function, arguments):
            yield from walk(function)
            for argument in arguments:
                value = argument.value
                if isinstance(value, ast.SetDomain | ast.RangeDomain):
                    continue
                if not isinstance(value, ast.ValueRange | ast.RecordValue):
                    yield from walk(value)
        case ast.Unary(_, operand):
            yield from walk(operand)
        case ast.Binary(_, left, right):
            yield from walk(left)
            yield from walk(right)
        case ast.Conditional(condition, then, otherwise):
            yield from walk(condition)
            yield from walk(then)
            yield from walk(otherwise)
        case ast.Pipe(value, function):
            yield from walk(value)
            yield from walk(function)
        case _:
            pass


def _calls(block: ast.Block, module: LoadedModule) -> Iterator[tuple[ast.Block, LoadedModule]]:
    """The blocks that a block mentions, each with its module."""
    local = {f.name.text for f in block.formals}
    local.update(s.name.text for s in block.body if isinstance(s, ast.Let))
    values = [s.value if isinstance(s, ast.Let) else s.condition for s in block.body]
    for value in (*values, block.result):
        for part in walk(value):
            if isinstance(part, ast.Name) and part.text not in local:
                if part.text in module.blocks:
                    yield module.blocks[part.text], module
            elif isinstance(part, ast.Member) and isinstance(part.object, ast.Name):
                imported = module.imports.get(part.object.text)
                if imported is not None and part.name.text in imported.blocks:
                    yield imported.blocks[part.name.text], imported


def _cycle(start: ast.Block, module: LoadedModule, done: set[int]) -> list[str] | None:
    """The names along a circle of calls that can be reached from a block; None without one.

    Depth-first search. ``done`` holds the blocks that were visited, so that each circle is found
    once.
    """
    if id(start) in done:
        return None
    done.add(id(start))
    names = {id(start): start.name.text}
    calls = [_calls(start, module)]
    while calls:
        for called, home in calls[-1]:
            if id(called) in names:
                circle = list(names.values())[list(names).index(id(called)) :]
                return [*circle, called.name.text]
            if id(called) not in done:
                done.add(id(called))
                names[id(called)] = called.name.text
                calls.append(_calls(called, home))
                break
        else:
            names.popitem()
            calls.pop()
    return None
