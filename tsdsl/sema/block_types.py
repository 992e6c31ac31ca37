"""Types in the blocks of a file, inferred from their text: in every branch, for every use.

A value is a tensor, an operation, or plain and of one of the language's types; None is an unknown
type, which depends on the use of the block. A mistake is reported only if every use of the block
would have it. So mistakes are found in libraries, and in branches that no space takes. Elaboration
may report the same mistake: codes and spans are the same as there, so that it is shown once.
"""

from __future__ import annotations

from tsdsl.diagnostics import Collector, Diagnostic, Span, did_you_mean
from tsdsl.ops import BY_NAME
from tsdsl.record import Record
from tsdsl.sema import signatures
from tsdsl.sema.functions import BUILTINS, DIMS_MEMBERS, TENSOR_MEMBERS
from tsdsl.sema.modules import LoadedModule
from tsdsl.sema.scope import IDENTITIES
from tsdsl.sema.signatures import Parameter
from tsdsl.syntax import ast

#: "tensor", "op", or a plain type; None where the type is not known.
Kind = str | None

NUMBERS = ("int", "ratio")


class _Callee(Record):
    """A block or operation that is called."""

    name: str
    parameters: tuple[Parameter, ...]
    #: Number of tensors that it takes; None for any number.
    tensors: int | None


def check_block_types(module: LoadedModule, findings: Collector) -> None:
    """Check the types in all blocks of a module."""
    for block in module.tree.blocks:
        if findings.is_full:
            return
        names = [f.name.text for f in block.formals]
        names += [s.name.text for s in block.body if isinstance(s, ast.Let)]
        if len(names) > len(set(names)) or not any(map(signatures.is_tensor, block.formals)):
            # `block_names` has reported this, and types that follow from it are guesswork.
            continue
        _TypeCheck(module, findings).block(block)


class _TypeCheck:
    """Infers the types in one block."""

    def __init__(self, module: LoadedModule, findings: Collector) -> None:
        self.module = module
        self.findings = findings
        self.local: dict[str, Kind] = {}

    def error(self, code: str, message: str, span: Span, hint: str | None = None) -> None:
        self.findings.add(Diagnostic(code, message, span, help=hint))

    def block(self, block: ast.Block) -> None:
        for formal in block.formals:
            if signatures.is_tensor(formal):
                kind: Kind = "tensor"
            else:
                kind = formal.type.text if formal.type else None
            if formal.default is not None:
                given = self.kind(formal.default)
                if kind is not None and given is not None and not _fits(given, kind):
                    self.error(
                        "E0303",
                        f"{block.name.text}: {formal.name.text} is of type {kind}, not {given}",
                        formal.default.span,
                    )
            self.local[formal.name.text] = kind
        for statement in block.body:
            if isinstance(statement, ast.Let):
                self.local[statement.name.text] = self.kind(statement.value)
            else:
                self.expect(statement.condition, "bool", "require takes true or false")
        result = self.kind(block.result)
        if result not in (None, "tensor"):
            self.error("E0302", "a tensor is expected here", block.result.span)

    def expect(self, node: ast.Expr, wanted: str, message: str) -> None:
        kind = self.kind(node)
        if kind is not None and kind != wanted:
            self.error("E0303", f"{message}, not the {kind}", node.span)

    def kind(self, node: ast.Expr) -> Kind:
        """The type of an expression. Mistakes in it are reported."""
        if self.findings.is_full:
            return None
        match node:
            case ast.Number(value):
                return "int" if type(value) is int else "ratio"
            case ast.DimsLiteral():
                return "dims"
            case ast.Text():
                return "string"
            case ast.Bool():
                return "bool"
            case ast.Name(text):
                if text in self.local:
                    return self.local[text]
                if text in self.module.blocks:
                    return "op"
                # Other names first: one that is no operation makes it search installed packages.
                known = text in BUILTINS or text in self.module.imports or text in IDENTITIES
                return "op" if not known and text in BY_NAME else None
            case ast.Member():
                return self.member(node)
            case ast.Call():
                return self.call(node, 0, node.span)
            case ast.Pipe(value, function):
                given = self.kind(value)
                if given not in (None, "tensor"):
                    self.error("E0302", "a tensor is expected before '->'", value.span)
                if isinstance(function, ast.Call):
                    self.call(function, 1, function.span)
                else:
                    applied = self.kind(function)
                    if applied not in (None, "op"):
                        message = f"{applied} is no operation and cannot be applied to a tensor"
                        self.error("E0301", message, function.span)
                    self.applied(self.callee(function), {}, 0, 1, function.span)
                return "tensor"
            case ast.Unary("-", operand):
                self.number("-", operand, node.span)
                return self.kind(operand) if isinstance(operand, ast.Number) else None
            case ast.Unary(_, operand):
                given = self.kind(operand)
                if given not in (None, "bool"):
                    self.error("E0303", f"'not' takes true or false, not the {given}", node.span)
                return "bool"
            case ast.Binary():
                return self.binary(node)
            case ast.Conditional(condition, then, otherwise):
                self.expect(condition, "bool", "'if' takes true or false")
                kinds = self.kind(then), self.kind(otherwise)
                if "tensor" in kinds and None not in kinds and kinds[0] != kinds[1]:
                    odd = then if kinds[1] == "tensor" else otherwise
                    message = "this branch is no tensor, and the other one is"
                    self.error("E0302", message, odd.span)
                return kinds[0] if kinds[0] == kinds[1] else None
            case _:
                return None

    def number(self, operator: str, node: ast.Expr, span: Span) -> None:
        kind = self.kind(node)
        if kind is not None and kind not in NUMBERS:
            self.error("E0303", f"'{operator}' takes numbers, not {kind}", span)

    def member(self, node: ast.Member) -> Kind:
        if isinstance(node.object, ast.Name) and node.object.text not in self.local:
            return "op" if node.object.text in self.module.imports else None
        owner, name = self.kind(node.object), node.name.text
        if owner is None:
            return None
        members = {"tensor": tuple(TENSOR_MEMBERS), "dims": tuple(DIMS_MEMBERS)}
        known = members.get(owner, ())
        if name in known:
            return "int"
        hint = did_you_mean(name, known, "it has: " + ", ".join(known)) if known else None
        article = "an" if owner[0] in "io" else "a"
        where = node.name.span if owner == "tensor" else node.span
        self.error("E0204", f"{article} {owner} has no '{name}'", where, hint)
        return None

    def binary(self, node: ast.Binary) -> Kind:
        operator = node.operator
        if operator in ("and", "or"):
            for side in (node.left, node.right):
                self.expect(side, "bool", f"'{operator}' takes true or false")
            return "bool"
        left, right = self.kind(node.left), self.kind(node.right)
        compared = operator in ("==", "!=", "<", "<=", ">", ">=")
        if "tensor" in (left, right):
            if operator not in ("+", "*"):
                message = f"'{operator}' between tensors is not defined"
                self.error("E0302", message, node.span, "tensors have + (sum) and * (product)")
            elif None not in (left, right) and left != right:
                message = f"'{operator}' takes two tensors or two numbers, not one of each"
                self.error("E0302", message, node.span, "tensors have + (sum) and * (product)")
            return "bool" if compared else "tensor"
        if operator in ("==", "!="):
            numbers = left in NUMBERS and right in NUMBERS
            if None not in (left, right) and left != right and not numbers:
                self.error("E0303", f"{left} and {right} cannot be compared", node.span)
            return "bool"
        wrong = [kind for kind in (left, right) if kind is not None and kind not in NUMBERS]
        if wrong:
            self.error("E0303", f"'{operator}' takes numbers, not {wrong[0]}", node.span)
        if compared:
            return "bool"
        if left == right == "int":
            return "int"
        return "ratio" if "ratio" in (left, right) and None not in (left, right) else None

    # -------------------------------------------------------------- calls

    def callee(self, node: ast.Expr) -> _Callee | None:
        """The block or operation that is called; None where it depends on the use of the block."""
        block: ast.Block | None = None
        if isinstance(node, ast.Name) and node.text not in self.local:
            block = self.module.blocks.get(node.text)
            if block is None and node.text not in (*BUILTINS, *IDENTITIES):
                op = BY_NAME.find(node.text)
                if op is not None:
                    return _Callee(node.text, signatures.of_op(op), op.inputs)
        elif (
            isinstance(node, ast.Member)
            and isinstance(node.object, ast.Name)
            and node.object.text not in self.local
        ):
            imported = self.module.imports.get(node.object.text)
            block = imported.blocks.get(node.name.text) if imported else None
        if block is None:
            return None
        tensors = sum(map(signatures.is_tensor, block.formals))
        return _Callee(block.name.text, signatures.of_block(block), tensors)

    def call(self, node: ast.Call, piped: int, span: Span) -> Kind:
        """The type of a call that gets ``piped`` tensors from a pipe, besides its arguments."""
        plain: list[tuple[Kind, Span]] = []
        named: dict[str, tuple[Kind, Span]] = {}
        tensors, sure = piped, True
        for argument in node.arguments:
            value = argument.value
            if isinstance(
                value, ast.SetDomain | ast.RangeDomain | ast.ValueRange | ast.RecordValue
            ):
                return None
            kind = self.kind(value)
            if argument.name is not None:
                place = argument.name.span.to(argument.span)
                named[argument.name.text] = (kind, place)
            elif kind == "tensor":
                tensors += 1
            else:
                sure = sure and kind is not None
                plain.append((kind, argument.span))
        name = node.function.text if isinstance(node.function, ast.Name) else ""
        if name in BUILTINS and name not in self.local and name not in self.module.blocks:
            return self.builtin(name, node, plain)
        callee = self.callee(node.function)
        called = self.kind(node.function)
        if callee is None and called not in (None, "op"):
            self.error("E0301", f"{called} cannot be called", node.span)
            return None
        if callee is not None and sure:
            self.arguments(callee, plain, named)
            if tensors:
                self.applied(callee, named, len(plain), tensors, span)
        return "tensor" if tensors else "op" if sure else None

    def arguments(
        self,
        callee: _Callee,
        plain: list[tuple[Kind, Span]],
        named: dict[str, tuple[Kind, Span]],
    ) -> None:
        """Check the number of arguments by position, and the type of each argument."""
        parameters = callee.parameters
        if len(plain) > len(parameters):
            takes = ", ".join(p.name for p in parameters)
            self.error(
                "E0304",
                f"{callee.name} takes {len(parameters)} argument"
                f"{'s' if len(parameters) != 1 else ''} by position, not {len(plain)}",
                plain[len(parameters)][1],
                f"its arguments are: {takes}" if takes else "leave out the parentheses",
            )
        given = [(p, *value) for p, value in zip(parameters, plain, strict=False)]
        given += [(p, *named[p.name]) for p in parameters if p.name in named]
        for parameter, kind, span in given:
            if kind == "tensor":
                self.error("E0305", "tensors come first, by position", span)
            elif kind is not None and not _fits(kind, parameter.type):
                self.error(
                    "E0303",
                    f"{callee.name}: {parameter.name} is of type {parameter.type}, not {kind}",
                    span,
                )

    def applied(
        self,
        callee: _Callee | None,
        named: dict[str, tuple[Kind, Span]],
        positional: int,
        tensors: int,
        span: Span,
    ) -> None:
        """Check an operation that is applied: the number of tensors, and that it has all required
        arguments."""
        if callee is None:
            return
        if callee.tensors is not None and tensors != callee.tensors:
            wanted = f"{callee.tensors} tensor{'s' if callee.tensors != 1 else ''}"
            self.error("E0308", f"{callee.name} takes {wanted}, not {tensors}", span)
        left = callee.parameters[positional:]
        missing = [f"'{p.name}'" for p in left if p.required and p.name not in named]
        if missing:
            self.error("E0307", f"{callee.name} needs {', '.join(missing)}", span)

    def builtin(self, name: str, node: ast.Call, plain: list[tuple[Kind, Span]]) -> Kind:
        low, high, _, _ = BUILTINS[name]
        count = len(node.arguments)
        if not low <= count <= high:
            takes = str(low) if low == high else f"{low} to {high}"
            self.error("E0304", f"{name} takes {takes} arguments, not {count}", node.span)
        for kind, _ in plain:
            if kind is not None and kind not in NUMBERS:
                self.error("E0303", f"{name} takes numbers, not the {kind}", node.span)
        if name == "dims":
            return "dims"
        return None if name in ("abs", "min", "max") else "int"


def _fits(kind: str, wanted: str | None) -> bool:
    if wanted is None or wanted not in signatures.TYPES:
        return True
    return kind == wanted or (wanted == "ratio" and kind == "int")
