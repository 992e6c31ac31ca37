"""Tokens to a syntax tree, and on with the next statement where a file is wrong.

Lark compiles the grammar (`tsdsl.syntax.tables`); this loop drives its LALR tables. Owning the loop
buys three things: the tokens that may come next are read from the state *before* the offending
token; panic-mode recovery at statements; and speed.
"""

from __future__ import annotations

from typing import Any, cast

from tsdsl.diagnostics import Collector, Diagnostic, Label, Source, Span
from tsdsl.syntax import ast
from tsdsl.syntax.lexer import Token, lex
from tsdsl.syntax.tables import Tables, load
from tsdsl.syntax.tree_builder import TreeBuilder

#: Brackets and braces may nest this deep.
MAX_BRACKETS = 200
#: Symbols that may wait on the stack of the parser.
MAX_STACK = 3000
#: After this many syntax errors the rest of a file is not looked at.
MAX_ERRORS = 50


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


class Splice(list[Any]):
    """Children of a rule that is spliced into its parent."""


class Parsed:
    """A module, the names that error recovery threw away (they are not unknown later on), and
    whether there was nothing wrong: the tree of a text with errors has holes."""

    def __init__(self, module: ast.Module, lost: frozenset[str], clean: bool) -> None:
        self.module = module
        self.lost = lost
        self.clean = clean


def parse(source: Source, findings: Collector) -> Parsed:
    """Parse a text. All syntax errors go to ``findings``; what could be read is returned."""
    before = len(findings)
    tokens = lex(source, findings)
    run = _Run(
        source, load(), TreeBuilder(source, tokens.docs, findings), findings, tokens.doubtful
    )
    readable = tokens.complete and run.shallow(tokens.items)
    module = run.parse(tokens.items) if readable else None
    if module is None:
        module = ast.Module(source, 1, (), (), ())
    module = ast.Module(
        source, module.version, module.imports, module.spaces, module.blocks, tuple(tokens.comments)
    )
    return Parsed(module, frozenset(run.lost), len(findings) == before)


class _Run:
    def __init__(
        self,
        source: Source,
        tables: Tables,
        builder: TreeBuilder,
        findings: Collector,
        doubtful: set[int],
    ) -> None:
        self.source = source
        self.doubtful = doubtful
        self.tables = tables
        self.builder = builder
        self.findings = findings
        self.lost: set[str] = set()
        self.errors = 0
        self.kind = {name: at for at, name in enumerate(tables.terminals)}
        self.callbacks = [
            builder.callback(rule.callback) if rule.callback else None for rule in tables.rules
        ]
        self.states = [tables.start]
        self.values: list[Any] = []
        self.starts: list[int] = []
        self.last_end = 0

    # -------------------------------------------------------------- the loop

    def parse(self, tokens: list[Token]) -> ast.Module | None:
        end = len(self.source.text.rstrip())
        stream = [*tokens, Token(self.kind["$END"], "", end, end)]
        at = 0
        while at < len(stream):
            token = stream[at]
            before = list(self.states)
            if len(before) > MAX_STACK:
                self.too_deep(token, "this nests too deep to be read")
                return None
            if self.feed(token):
                at += 1
                if self.states[-1] == self.tables.accept:
                    return cast(ast.Module, self.values[-1])
                continue
            self.errors += 1
            if self.errors > MAX_ERRORS:
                return None
            resumed = self.recover(stream, at, before)
            if resumed is None:
                return None
            at = resumed
        return None

    def feed(self, token: Token) -> bool:
        """Shift one token, after the reductions that it triggers. False where it does not fit."""
        actions, gotos, rules = self.tables.actions, self.tables.gotos, self.tables.rules
        states, values, starts = self.states, self.values, self.starts
        kind = token.kind
        while True:
            action = actions[states[-1]].get(kind)
            if action is None:
                return False
            if action >= 0:
                states.append(action)
                values.append(token)
                starts.append(token.start)
                self.last_end = token.end
                return True
            rule_number = -action - 1
            rule = rules[rule_number]
            length = rule.length
            if length:
                right = values[-length:]
                start = starts[-length]
                del states[-length:], values[-length:], starts[-length:]
            else:
                right = []
                start = token.start
            values.append(self.reduce(rule_number, rule.keep, right, start))
            starts.append(start)
            states.append(gotos[states[-1]][rule.origin])
            if states[-1] == self.tables.accept:
                return True

    def reduce(self, number: int, keep: tuple[int, ...], right: list[Any], start: int) -> Any:
        callback = self.callbacks[number]
        if callback is None and len(keep) == 1:
            return right[keep[0]]
        if callback is None and keep and type(right[keep[0]]) is Splice:
            # A list that grows by one: long ones are not to be copied each time.
            children = right[keep[0]]
            keep = keep[1:]
        else:
            children = Splice()
        for position in keep:
            child = right[position]
            if type(child) is Splice:
                children.extend(child)
            else:
                children.append(child)
        return children if callback is None else callback(children, start, self.last_end)

    # -------------------------------------------------------------- what may come next

    def follows(self, states: list[int], kind: int) -> bool:
        """Whether a terminal can be shifted in a state, reductions included."""
        return self.advance(states, kind) is not None

    def advance(self, states: list[int], kind: int) -> list[int] | None:
        """The states after a terminal; None where it does not fit."""
        stack = list(states)
        actions, gotos, rules = self.tables.actions, self.tables.gotos, self.tables.rules
        while True:
            action = actions[stack[-1]].get(kind)
            if action is None:
                return None
            if action >= 0:
                return [*stack, action]
            rule = rules[-action - 1]
            if rule.length:
                del stack[-rule.length :]
            stack.append(gotos[stack[-1]][rule.origin])
            if stack[-1] == self.tables.accept:
                return stack

    def expected(self, states: list[int]) -> list[str]:
        return [n for n, kind in self.kind.items() if self.follows(states, kind)]

    # -------------------------------------------------------------- errors

    def recover(self, stream: list[Token], at: int, before: list[int]) -> int | None:
        """Report the token at ``at`` and find where to go on; None to give up."""
        token = stream[at]
        closing = self.kind["RBRACE"]
        top = {"SPACE", "BLOCK", "IMPORT", "$END"}
        name = self.tables.terminals[token.kind]
        as_name = self.is_meant_as_name(stream, at)
        if (
            not as_name
            and self.follows(self.states, closing)
            and (name in top or (self.open_braces(stream) and self.closes(token.kind)))
        ):
            self.unclosed(token)
            while not self.follows(self.states, token.kind) and self.follows(self.states, closing):
                self.feed(Token(closing, "}", self.last_end, self.last_end))
            return at
        if token.start not in self.doubtful:
            self.report(token, before, as_name)
        if as_name:
            self.feed(Token(self.kind["NAME"], token.text, token.start, token.end))
            return at + 1
        return self.resume(stream, at)

    def is_meant_as_name(self, stream: list[Token], at: int) -> bool:
        """Whether a word of the language stands where a name, and then what follows, would fit."""
        if stream[at].text not in self.tables.keywords:
            return False
        after = self.advance(self.states, self.kind["NAME"])
        return after is not None and self.follows(after, stream[at + 1].kind)

    def open_braces(self, stream: list[Token]) -> bool:
        """Whether the file has more { than }."""
        kinds = [token.kind for token in stream]
        return kinds.count(self.kind["LBRACE"]) > kinds.count(self.kind["RBRACE"])

    def closes(self, kind: int) -> bool:
        """Whether a statement would fit after one } more, or several."""
        if self.tables.terminals[kind] not in _STATEMENTS:
            return False
        states = self.advance(self.states, self.kind["RBRACE"])
        while states is not None:
            if self.follows(states, kind):
                return True
            states = self.advance(states, self.kind["RBRACE"])
        return False

    def unclosed(self, token: Token) -> None:
        closed = 0
        for at in range(len(self.values) - 1, -1, -1):
            brace = self.values[at]
            name = self.tables.terminals[brace.kind] if isinstance(brace, Token) else ""
            closed += name == "RBRACE"
            if name == "LBRACE":
                if not closed:
                    break
                closed -= 1
        owner = self.context(at)
        self.findings.add(
            Diagnostic(
                "E0105",
                f"the {{ of {owner or 'this part'} is not closed",
                Span(self.source, brace.start, brace.end),
                labels=(
                    Label(Span(self.source, token.start, token.end), "a } is missing before this"),
                )
                if token.text
                else (),
                help="add a }",
            )
        )

    def report(self, token: Token, before: list[int], as_name: bool) -> None:
        from tsdsl.syntax.expectation import describe

        span = Span(self.source, token.start, max(token.end, token.start))
        message, help_line = describe(
            self.tables.terminals[token.kind],
            token.text,
            self.expected(before),
            self.context(),
            as_name,
        )
        self.findings.add(Diagnostic("E0106", message, span, help=help_line))

    def context(self, end: int | None = None) -> str | None:
        """What was being written: the construct whose keyword is innermost on the stack (or among
        its first ``end`` values), apart from those that are closed."""
        values = self.values[:end]
        closed = 0
        for at in range(len(values) - 1, -1, -1):
            value = values[at]
            if not isinstance(value, Token):
                continue
            name = self.tables.terminals[value.kind]
            if name == "RBRACE":
                closed += 1
            elif closed and name.lower() == value.text and value.text in _CONSTRUCTS:
                closed -= 1
            elif value.text in _CONSTRUCTS:
                after = values[at + 1] if at + 1 < len(values) else None
                if (
                    value.text in _NAMED
                    and isinstance(after, Token)
                    and self.tables.terminals[after.kind] == "NAME"
                ):
                    return f"{value.text} '{after.text}'"
                return f"this {value.text}"
        return None

    def resume(self, stream: list[Token], at: int) -> int | None:
        """Skip to a token with which a statement can begin, and cut the stack back to where it
        can."""
        depth = 0
        given_up = 0
        position = at
        while position < len(stream):
            token = stream[position]
            name = self.tables.terminals[token.kind]
            if name == "LBRACE":
                depth += 1
            elif name == "RBRACE" and depth:
                depth -= 1
            elif name == "RBRACE" and given_up < self.open_after(self.cut(token)):
                # It belongs to a brace of what is cut off.
                given_up += 1
            elif name == "$END" or (depth == 0 and self.begins(stream, position, at)):
                cut = self.cut(token)
                if cut is not None:
                    self.lose(cut, stream[at:position])
                    if name == "$END" and not self.follows(self.states, token.kind):
                        while self.follows(self.states, self.kind["RBRACE"]):
                            end = self.last_end
                            self.feed(Token(self.kind["RBRACE"], "}", end, end))
                    return position
            position += 1
        return None

    def begins(self, stream: list[Token], position: int, error_at: int) -> bool:
        """Whether a statement may begin (or a body end) at a token."""
        token = stream[position]
        name = self.tables.terminals[token.kind]
        if name in _STATEMENTS:
            return True
        if name == "RBRACE":
            return True
        if name == "NAME" and position > error_at:
            first = "\n" in self.source.text[stream[position - 1].end : token.start]
            following = self.tables.terminals[stream[position + 1].kind]
            return first and following in ("TILDE", "EQUAL")
        return False

    def cut(self, token: Token) -> int | None:
        """The longest part of the stack that a token fits."""
        closing = self.kind["RBRACE"]
        at_end = self.tables.terminals[token.kind] == "$END"
        for length in range(len(self.states), 0, -1):
            states = self.states[:length]
            if self.follows(states, token.kind) or (at_end and self.follows(states, closing)):
                return length
        return None

    def open_after(self, length: int | None) -> int:
        """How many braces are open in the part of the stack that a cut takes off."""
        if length is None:
            return 0
        kinds = [v.kind for v in self.values[length - 1 :] if isinstance(v, Token)]
        return kinds.count(self.kind["LBRACE"]) - kinds.count(self.kind["RBRACE"])

    def lose(self, length: int, skipped: list[Token]) -> None:
        for value in (*self.values[length - 1 :], *skipped):
            self._note(value)
        del self.states[length:], self.values[length - 1 :], self.starts[length - 1 :]

    def _note(self, value: Any) -> None:
        if isinstance(value, Token):
            if value.text.isidentifier():
                self.lost.add(value.text)
        elif isinstance(value, Splice):
            for child in value:
                self._note(child)
        elif hasattr(value, "span"):
            import re

            self.lost.update(re.findall(r"[A-Za-z_]\w*", value.span.text))

    def too_deep(self, token: Token, message: str) -> None:
        span = Span(self.source, token.start, token.end)
        self.findings.add(
            Diagnostic("E0108", message, span, help="name a part with let, or use a block")
        )

    def shallow(self, tokens: list[Token]) -> bool:
        """Whether brackets nest no deeper than is allowed."""
        opening = {self.kind[n] for n in ("LPAR", "LBRACE", "LSQB")}
        closing = {self.kind[n] for n in ("RPAR", "RBRACE", "RSQB")}
        depth = 0
        for token in tokens:
            if token.kind in opening:
                depth += 1
                if depth > MAX_BRACKETS:
                    self.too_deep(token, f"brackets nest more than {MAX_BRACKETS} deep")
                    return False
            elif token.kind in closing:
                depth -= 1
        return True


#: Words with which a construct begins, as a message names it.
_CONSTRUCTS = _words(
    "import space block param input stream stage stem repeat use fuse attend head require moved "
    "search train evaluate budget phase streams learn let return if"
)
#: Those that are followed by a name of their own.
_NAMED = _words("space block param input stream stage search evaluate phase let")
#: Terminals at which a statement begins.
_STATEMENTS = frozenset(word.upper() for word in _CONSTRUCTS - {"if"})
