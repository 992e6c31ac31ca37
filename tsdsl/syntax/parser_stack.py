"""The stack of the LALR(1) automaton: shifts and reductions, and what may come next.

Lark computes the tables (`tsdsl.syntax.tables`), and this drives them. It is a driver of our own
because an error message needs the tokens that may come next in the state *before* the offending
token, because recovery cuts the stack, and because it is faster.
"""

from __future__ import annotations

from typing import Any

from tsdsl.syntax.lexer import Token
from tsdsl.syntax.tables import Tables
from tsdsl.syntax.tree_builder import TreeBuilder


class Splice(list[Any]):
    """Children of a rule that is spliced into its parent."""


class ParserStack:
    """The states of the automaton, and beside each but the first the value that led to it."""

    def __init__(self, tables: Tables, builder: TreeBuilder) -> None:
        self.tables = tables
        self.states = [tables.start]
        #: Tokens, nodes and splices. ``values[i]`` led from ``states[i]`` to ``states[i + 1]``.
        self.values: list[Any] = []
        #: Where each value starts in the text.
        self.starts: list[int] = []
        #: The end of the last token that was shifted.
        self.last_end = 0
        self._callbacks = [
            builder.callback(rule.callback) if rule.callback else None for rule in tables.rules
        ]

    @property
    def is_accepted(self) -> bool:
        """Whether a whole file was read: its module is the last value."""
        return self.states[-1] == self.tables.accept

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
            values.append(self._reduce(rule_number, rule.keep, right, start))
            starts.append(start)
            states.append(gotos[states[-1]][rule.origin])
            if states[-1] == self.tables.accept:
                return True

    def _reduce(self, number: int, keep: tuple[int, ...], right: list[Any], start: int) -> Any:
        callback = self._callbacks[number]
        if callback is None and len(keep) == 1:
            return right[keep[0]]
        if callback is None and keep and type(right[keep[0]]) is Splice:
            # A list that grows by one element: copying it each time would be quadratic.
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
        """The names of the terminals that fit in a state."""
        return [n for kind, n in enumerate(self.tables.terminals) if self.follows(states, kind)]

    # -------------------------------------------------------------- cutting

    def close(self, kind: int) -> bool:
        """Shift a ``}`` that is missing in the text. False where it does not fit."""
        brace = Token(kind, "}", self.last_end, self.last_end)
        return self.follows(self.states, kind) and self.feed(brace)

    def cut(self, length: int) -> list[Any]:
        """Take off everything above ``length`` states. Returns the values that are lost."""
        lost = self.values[length - 1 :]
        del self.states[length:], self.values[length - 1 :], self.starts[length - 1 :]
        return lost
