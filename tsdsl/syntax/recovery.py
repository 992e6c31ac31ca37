"""Recovery from syntax errors: report what does not fit, and go on with the next statement.

This is panic mode at statements: tokens are skipped up to one with which a statement can begin, and
the stack is cut back to where it fits. Two mistakes are repaired instead, so that less of the tree
is lost: a missing ``}``, and a word of the language where a name belongs.
"""

from __future__ import annotations

import re
from typing import Any

from tsdsl.diagnostics import Collector, Diagnostic, Label, Source, Span
from tsdsl.syntax.lexer import Token
from tsdsl.syntax.parser_stack import ParserStack, Splice
from tsdsl.syntax.tables import Tables


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Words with which a construct begins; messages name constructs by them.
_CONSTRUCTS = _words(
    "import space block param input stream stage stem repeat use fuse attend head require moved "
    "search train evaluate budget phase streams learn let return if"
)
#: Those that are followed by a name of their own.
_NAMED = _words("space block param input stream stage search evaluate phase let")
#: Terminals with which a statement begins.
_STATEMENTS = frozenset(word.upper() for word in _CONSTRUCTS - {"if"})
#: Terminals that can only stand at the top of a file.
_TOP = frozenset({"SPACE", "BLOCK", "IMPORT", "$END"})


class Recovery:
    """Recovers a parse from its errors. ``doubtful`` are starts of tokens that a lexical error
    concerns, which was reported: that these do not fit is no second finding."""

    def __init__(
        self,
        source: Source,
        tokens: list[Token],
        doubtful: set[int],
        stack: ParserStack,
        findings: Collector,
    ) -> None:
        self.source = source
        self.tokens = tokens
        self.doubtful = doubtful
        self.stack = stack
        self.findings = findings
        #: Names in the parts of the text that were thrown away.
        self.lost: set[str] = set()
        self.tables: Tables = stack.tables
        self._kind = {name: at for at, name in enumerate(self.tables.terminals)}
        self._left, self._right = self._kind["LBRACE"], self._kind["RBRACE"]

    def recover(self, at: int, before: list[int]) -> int | None:
        """Report the token at position ``at``, which does not fit in the states ``before``. Returns
        the position at which parsing goes on, or None to give up."""
        token, stack = self.tokens[at], self.stack
        as_name = self._is_meant_as_name(at)
        if not as_name and stack.follows(stack.states, self._right) and self._ends_a_body(token):
            self._report_unclosed(token)
            while not stack.follows(stack.states, token.kind) and stack.close(self._right):
                pass
            return at
        if token.start not in self.doubtful:
            self._report(token, before, as_name)
        if as_name:
            stack.feed(Token(self._kind["NAME"], token.text, token.start, token.end))
            return at + 1
        return self._resume(at)

    def _name(self, token: Token) -> str:
        """The name of a token's terminal."""
        return self.tables.terminals[token.kind]

    # -------------------------------------------------------------- repairs

    def _is_meant_as_name(self, at: int) -> bool:
        """Whether a word of the language stands where a name, and then the next token, would
        fit."""
        if self.tokens[at].text not in self.tables.keywords:
            return False
        after = self.stack.advance(self.stack.states, self._kind["NAME"])
        return after is not None and self.stack.follows(after, self.tokens[at + 1].kind)

    def _ends_a_body(self, token: Token) -> bool:
        """Whether a ``}`` seems to be missing before a token."""
        return self._name(token) in _TOP or (
            self._has_open_braces() and self._fits_after_braces(token.kind)
        )

    def _has_open_braces(self) -> bool:
        """Whether the file has more ``{`` than ``}``."""
        kinds = [token.kind for token in self.tokens]
        return kinds.count(self._left) > kinds.count(self._right)

    def _fits_after_braces(self, kind: int) -> bool:
        """Whether a statement would fit after one or several ``}``."""
        if self.tables.terminals[kind] not in _STATEMENTS:
            return False
        states = self.stack.advance(self.stack.states, self._right)
        while states is not None:
            if self.stack.follows(states, kind):
                return True
            states = self.stack.advance(states, self._right)
        return False

    # -------------------------------------------------------------- reports

    def _report_unclosed(self, token: Token) -> None:
        """Report the innermost ``{`` without its ``}``, which is missing before a token."""
        values = self.stack.values
        closed = 0
        for at in range(len(values) - 1, -1, -1):
            brace = values[at]
            name = self._name(brace) if isinstance(brace, Token) else ""
            closed += name == "RBRACE"
            if name == "LBRACE":
                if not closed:
                    break
                closed -= 1
        label = Label(Span(self.source, token.start, token.end), "a } is missing before this")
        self.findings.add(
            Diagnostic(
                "E0105",
                f"the {{ of {self._construct(at) or 'this part'} is not closed",
                Span(self.source, brace.start, brace.end),
                labels=(label,) if token.text else (),
                help="add a }",
            )
        )

    def _report(self, token: Token, before: list[int], as_name: bool) -> None:
        # Imported here: most files have no syntax error.
        from tsdsl.syntax.expectation import describe

        expected = self.stack.expected(before)
        message, hint = describe(
            self._name(token), token.text, expected, self._construct(), as_name
        )
        span = Span(self.source, token.start, max(token.end, token.start))
        self.findings.add(Diagnostic("E0106", message, span, help=hint))

    def _construct(self, end: int | None = None) -> str | None:
        """The innermost construct that is not complete, as a message names it: by the last keyword
        on the stack (or among its first ``end`` values) whose construct is not closed."""
        values = self.stack.values[:end]
        closed = 0
        for at in range(len(values) - 1, -1, -1):
            value = values[at]
            if not isinstance(value, Token):
                continue
            name = self._name(value)
            if name == "RBRACE":
                closed += 1
            elif closed and name.lower() == value.text and value.text in _CONSTRUCTS:
                closed -= 1
            elif value.text in _CONSTRUCTS:
                after = values[at + 1] if at + 1 < len(values) else None
                if (
                    value.text in _NAMED
                    and isinstance(after, Token)
                    and self._name(after) == "NAME"
                ):
                    return f"{value.text} '{after.text}'"
                return f"this {value.text}"
        return None

    # -------------------------------------------------------------- going on

    def _resume(self, at: int) -> int | None:
        """Skip to a token with which a statement can begin, and cut the stack back to where it
        fits. Returns its position."""
        stack = self.stack
        depth = 0
        given_up = 0
        for position in range(at, len(self.tokens)):
            token = self.tokens[position]
            name = self._name(token)
            if name == "LBRACE":
                depth += 1
            elif name == "RBRACE" and depth:
                depth -= 1
            elif name == "RBRACE" and given_up < self._open_after(self._fitting_length(token)):
                # It belongs to a brace in the part that is cut off.
                given_up += 1
            elif name == "$END" or (depth == 0 and self._may_begin(position, at)):
                length = self._fitting_length(token)
                if length is not None:
                    for value in (*stack.cut(length), *self.tokens[at:position]):
                        self._lose(value)
                    if name == "$END" and not stack.follows(stack.states, token.kind):
                        while stack.close(self._right):
                            pass
                    return position
        return None

    def _may_begin(self, position: int, error_at: int) -> bool:
        """Whether a statement may begin, or a body end, at a token."""
        token = self.tokens[position]
        name = self._name(token)
        if name in _STATEMENTS or name == "RBRACE":
            return True
        if name == "NAME" and position > error_at:
            # ``width = 8`` or ``width ~ {8, 16}`` at the start of a line.
            is_first = "\n" in self.source.text[self.tokens[position - 1].end : token.start]
            return is_first and self._name(self.tokens[position + 1]) in ("TILDE", "EQUAL")
        return False

    def _fitting_length(self, token: Token) -> int | None:
        """The length of the longest part of the stack after which a token fits."""
        at_end = self._name(token) == "$END"
        for length in range(len(self.stack.states), 0, -1):
            states = self.stack.states[:length]
            if self.stack.follows(states, token.kind):
                return length
            if at_end and self.stack.follows(states, self._right):
                return length
        return None

    def _open_after(self, length: int | None) -> int:
        """The number of open braces in the part of the stack that a cut to ``length`` takes off."""
        if length is None:
            return 0
        kinds = [v.kind for v in self.stack.values[length - 1 :] if isinstance(v, Token)]
        return kinds.count(self._left) - kinds.count(self._right)

    def _lose(self, value: Any) -> None:
        """Remember the names in a value that is thrown away: they are not unknown later on."""
        if isinstance(value, Token):
            if value.text.isidentifier():
                self.lost.add(value.text)
        elif isinstance(value, Splice):
            for child in value:
                self._lose(child)
        elif hasattr(value, "span"):
            self.lost.update(re.findall(r"[A-Za-z_]\w*", value.span.text))
