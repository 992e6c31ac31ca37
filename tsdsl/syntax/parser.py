"""Tokens to a syntax tree. Where a file is wrong, parsing goes on with the next statement."""

from __future__ import annotations

from typing import cast

from tsdsl.diagnostics import Collector, Diagnostic, Source, Span
from tsdsl.record import Record
from tsdsl.syntax import ast
from tsdsl.syntax.lexer import Token, lex
from tsdsl.syntax.parser_stack import ParserStack
from tsdsl.syntax.recovery import Recovery
from tsdsl.syntax.tables import load
from tsdsl.syntax.tree_builder import TreeBuilder

#: Deepest nesting of brackets and braces.
MAX_BRACKETS = 200
#: Most symbols on the stack of the parser.
MAX_STACK = 3000
#: After this many syntax errors the rest of a file is not looked at.
MAX_ERRORS = 50


class Parsed(Record):
    """The syntax tree of a text. It has holes where the text has syntax errors."""

    module: ast.Module
    #: Names in the parts that error recovery threw away: they are not unknown in later passes.
    lost: frozenset[str]
    #: Whether the text has no syntax errors.
    clean: bool


def parse(source: Source, findings: Collector) -> Parsed:
    """Parse a text. All syntax errors go to ``findings``; what could be read is returned."""
    before = len(findings)
    lexed = lex(source, findings)
    tables = load()
    end = len(source.text.rstrip())
    tokens = [*lexed.items, Token(tables.terminals.index("$END"), "", end, end)]
    stack = ParserStack(tables, TreeBuilder(source, lexed.docs, findings))
    recovery = Recovery(source, tokens, lexed.doubtful, stack, findings)
    parser = _Parser(source, tokens, stack, recovery, findings)
    readable = lexed.complete and parser.brackets_are_shallow()
    module = parser.run() if readable else None
    if module is None:
        module = ast.Module(source, 1, (), (), ())
    module = ast.Module(
        source, module.version, module.imports, module.spaces, module.blocks, tuple(lexed.comments)
    )
    return Parsed(module, frozenset(recovery.lost), len(findings) == before)


class _Parser(Record):
    """The loop over the tokens of one text."""

    source: Source
    tokens: list[Token]
    stack: ParserStack
    recovery: Recovery
    findings: Collector

    def run(self) -> ast.Module | None:
        """The module; None where there are too many errors, or one from which there is no way
        on."""
        tokens, stack = self.tokens, self.stack
        at = errors = 0
        while at < len(tokens):
            token = tokens[at]
            # A token that does not fit may have caused reductions before that is noticed.
            before = list(stack.states)
            if len(before) > MAX_STACK:
                self._report_depth(token, "this nests too deep to be read")
                return None
            if stack.feed(token):
                at += 1
                if stack.is_accepted:
                    return cast(ast.Module, stack.values[-1])
                continue
            errors += 1
            resumed = self.recovery.recover(at, before) if errors <= MAX_ERRORS else None
            if resumed is None:
                return None
            at = resumed
        return None

    def brackets_are_shallow(self) -> bool:
        """Whether brackets nest at most `MAX_BRACKETS` deep."""
        terminals = self.stack.tables.terminals
        opening = {terminals.index(n) for n in ("LPAR", "LBRACE", "LSQB")}
        closing = {terminals.index(n) for n in ("RPAR", "RBRACE", "RSQB")}
        depth = 0
        for token in self.tokens:
            if token.kind in opening:
                depth += 1
                if depth > MAX_BRACKETS:
                    self._report_depth(token, f"brackets nest more than {MAX_BRACKETS} deep")
                    return False
            elif token.kind in closing:
                depth -= 1
        return True

    def _report_depth(self, token: Token, message: str) -> None:
        span = Span(self.source, token.start, token.end)
        self.findings.add(
            Diagnostic("E0108", message, span, help="name a part with let, or use a block")
        )
